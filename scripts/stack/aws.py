"""The local AWS: ministack, and in it the tables, buckets and queues of template.yaml."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.request
from typing import TYPE_CHECKING, Any, Final

from layout import REGION, ROOT
from tools import install_tool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STACK: Final = "personality-voices"
REQUIREMENTS: Final = ROOT / "infrastructure" / "requirements" / "ministack.txt"
_FINGERPRINT_TAG: Final = "template"
_SETTLED: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
_PATIENCE_SECONDS: Final = 30.0


class DeployError(RuntimeError):
    """The local CloudFormation did not do what the template says."""


def install(tools_dir: Path) -> Path:
    """Installs ministack, unless it is there; returns the program to run.

    Raises:
        InstallError: It could not be fetched.
    """
    return install_tool("ministack", REQUIREMENTS, tools_dir) / "bin" / "ministack"


def environment(port: int, state: Path) -> dict[str, str]:
    """What ministack is told: to stay on this machine, and to remember."""
    return {
        "BIND_HOST": "127.0.0.1",  # its default is every interface
        "GATEWAY_PORT": str(port),
        "PERSIST_STATE": "1",
        "S3_PERSIST": "1",
        "STATE_DIR": str(state / "ministack"),
        "S3_DATA_DIR": str(state / "s3"),
    }


def ready(endpoint: str) -> bool:
    """Whether it answers."""
    try:
        with urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=2.0) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def client(service: str, endpoint: str) -> Any:
    """A client of the local AWS, whatever profile the developer has."""
    import boto3

    return boto3.client(  # type: ignore[call-overload]
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


def deploy(
    cloudformation: Any, storage: Mapping[str, Any], parameters: Mapping[str, str]
) -> dict[str, str]:
    """Creates or updates what the template stores, unless it stands there just so.

    Args:
        cloudformation: The local AWS's CloudFormation.
        storage: A plain CloudFormation template; see `template.storage`.
        parameters: Values of its parameters.

    Returns:
        Logical id → physical id.

    Raises:
        DeployError: It could not be done.
    """
    body = json.dumps(storage, sort_keys=True, default=str)
    told = json.dumps(dict(parameters), sort_keys=True)
    fingerprint = hashlib.sha256((body + told).encode()).hexdigest()[:32]
    arguments = {
        "StackName": STACK,
        "TemplateBody": body,
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value}
            for key, value in parameters.items()
            if key in storage["Parameters"]
        ],
        "Tags": [{"Key": _FINGERPRINT_TAG, "Value": fingerprint}],
    }
    stack = _stack(cloudformation)
    if stack is not None and stack["StackStatus"] not in _SETTLED:
        cloudformation.delete_stack(StackName=STACK)
        stack = None
    if stack is None:
        cloudformation.create_stack(**arguments)
    elif fingerprint not in (tag["Value"] for tag in stack["Tags"]):
        cloudformation.update_stack(**arguments)
    _await_settled(cloudformation)
    found = cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
    return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found}


def _await_settled(cloudformation: Any) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        stack = _stack(cloudformation)
        status = stack["StackStatus"] if stack else "gone"
        if status in _SETTLED:
            return
        if not status.endswith("IN_PROGRESS") or time.monotonic() > deadline:
            events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
            reasons = [e["ResourceStatusReason"] for e in events if e.get("ResourceStatusReason")]
            raise DeployError(f"the local CloudFormation says {status}: {'; '.join(reasons)}")
        time.sleep(0.05)


def _stack(cloudformation: Any) -> Any:
    """The stack, or None; asking for an unknown one by name is an error, listing is not."""
    stacks = cloudformation.describe_stacks()["Stacks"]
    return next((s for s in stacks if s["StackName"] == STACK), None)
