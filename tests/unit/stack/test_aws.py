from __future__ import annotations

from typing import Any

import pytest

import aws

STORAGE = {
    "Parameters": {"DeletionProtection": {}},
    "Resources": {"Table": {"Type": "AWS::DynamoDB::Table"}},
}
PARAMETERS = {"DeletionProtection": "false", "TritonUrl": "a:1"}


class FakeCloudFormation:
    """One stack, which becomes what `outcome` says."""

    def __init__(self) -> None:
        self.stack: dict[str, Any] | None = None
        self.calls: list[str] = []
        self.outcome = "COMPLETE"

    def describe_stacks(self) -> dict[str, Any]:
        return {"Stacks": [{"StackName": "another"}, *([self.stack] if self.stack else [])]}

    def create_stack(self, **arguments: Any) -> None:
        assert self.stack is None
        self._become("CREATE", arguments)

    def update_stack(self, **arguments: Any) -> None:
        assert self.stack is not None
        self._become("UPDATE", arguments)

    def delete_stack(self, **_: Any) -> None:
        self.calls.append("DELETE")
        self.stack = None

    def describe_stack_resources(self, **_: Any) -> dict[str, Any]:
        return {"StackResources": [{"LogicalResourceId": "Table", "PhysicalResourceId": "table-1"}]}

    def describe_stack_events(self, **_: Any) -> dict[str, Any]:
        return {"StackEvents": [{"ResourceStatusReason": "no such property"}, {}]}

    def _become(self, kind: str, arguments: dict[str, Any]) -> None:
        assert arguments["Parameters"] == [
            {"ParameterKey": "DeletionProtection", "ParameterValue": "false"}
        ]
        self.calls.append(kind)
        self.stack = {**arguments, "StackStatus": f"{kind}_{self.outcome}"}


def test_creates_once_and_updates_on_change() -> None:
    fake = FakeCloudFormation()
    for _ in range(2):
        assert aws.deploy(fake, STORAGE, PARAMETERS) == {"Table": "table-1"}
    assert fake.calls == ["CREATE"]
    aws.deploy(fake, {**STORAGE, "Resources": {}}, PARAMETERS)
    assert fake.calls == ["CREATE", "UPDATE"]


def test_says_why_it_failed_and_begins_anew() -> None:
    fake = FakeCloudFormation()
    fake.outcome = "FAILED"
    with pytest.raises(aws.DeployError, match="CREATE_FAILED: no such property"):
        aws.deploy(fake, STORAGE, PARAMETERS)
    fake.outcome = "COMPLETE"
    assert aws.deploy(fake, STORAGE, PARAMETERS) == {"Table": "table-1"}
    assert fake.calls == ["CREATE", "DELETE", "CREATE"]


def test_stays_on_this_machine(tmp_path: Any) -> None:
    told = aws.environment(4566, tmp_path)
    assert (told["BIND_HOST"], told["GATEWAY_PORT"]) == ("127.0.0.1", "4566")
