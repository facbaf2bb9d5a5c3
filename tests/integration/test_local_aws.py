"""The template's storage in the local AWS."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

import aws
import template
from layout import TOOLS, Port
from processes import Part, Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

PARAMETERS = {"TritonUrl": "127.0.0.1:8001", "DeletionProtection": "false"}


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Port:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("TEST_PORT", str(probe.getsockname()[1]))
    return Port("TEST_PORT", 1)


@pytest.fixture
def local_aws(tmp_path: Path, port: Port) -> Iterator[tuple[Supervisor, Part, str]]:
    endpoint = f"http://127.0.0.1:{port.number}"
    part = Part(
        name="aws",
        command=[aws.install(TOOLS)],
        environment={"PATH": os.defpath, **aws.environment(port.number, tmp_path)},
        cwd=tmp_path,
        ports=(port,),
        ready=lambda: aws.ready(endpoint),
    )
    supervisor = Supervisor(tmp_path / "run", tmp_path / "log")
    supervisor.start(part)
    yield supervisor, part, endpoint
    supervisor.stop("aws")


def test_storage_is_made_once_changed_in_place_and_kept(
    local_aws: tuple[Supervisor, Part, str],
) -> None:
    supervisor, part, endpoint = local_aws
    storage = template.storage(template.translate())
    with contextlib.ExitStack() as closing:
        cloudformation, dynamodb, sqs = (
            closing.enter_context(contextlib.closing(aws.client(name, endpoint)))
            for name in ("cloudformation", "dynamodb", "sqs")
        )
        made = aws.deploy(cloudformation, storage, PARAMETERS)
        assert set(made) == set(storage["Resources"])
        item = {"PK": {"S": "TENANT#demo"}, "SK": {"S": "x"}}
        dynamodb.put_item(TableName=made["Table"], Item=item)
        queue = sqs.get_queue_attributes(
            QueueUrl=made["SpeechJobsQueue"], AttributeNames=["RedrivePolicy"]
        )
        assert "maxReceiveCount" in queue["Attributes"]["RedrivePolicy"]

        assert aws.deploy(cloudformation, storage, PARAMETERS) == made
        storage["Resources"]["More"] = {"Type": "AWS::SQS::Queue", "Properties": {}}
        assert set(aws.deploy(cloudformation, storage, PARAMETERS)) == {*made, "More"}
        assert dynamodb.get_item(TableName=made["Table"], Key=item)["Item"] == item

        supervisor.stop("aws")
        supervisor.start(part)
        assert dynamodb.get_item(TableName=made["Table"], Key=item)["Item"] == item
        assert aws.deploy(cloudformation, storage, PARAMETERS)["Table"] == made["Table"]
