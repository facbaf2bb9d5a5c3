"""The local AWS of the contract tests: one ministack a session, one table a test."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

import aws

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBServiceResource
    from mypy_boto3_dynamodb.service_resource import Table

_TOOLS = Path(__file__).parents[2] / ".local" / "tools"


@pytest.fixture(scope="session")
def aws_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where ministack answers."""
    program = aws.install(_TOOLS)
    port = _free_port()
    endpoint = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("ministack") / "log"
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **aws.environment(port, log.parent),
    }
    with (
        log.open("wb") as sink,
        subprocess.Popen(
            [str(program)],
            env=environment,
            cwd=log.parent,
            stdout=sink,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            _await(endpoint, process, log)
            yield endpoint
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def dynamodb(aws_endpoint: str) -> Iterator[DynamoDBServiceResource]:
    resource = _dynamodb(aws_endpoint)
    yield resource
    resource.meta.client.close()


@pytest.fixture
def table(dynamodb: DynamoDBServiceResource) -> Iterator[Table]:
    """The one table, empty, with the keys that template.yaml gives it."""
    made = dynamodb.create_table(
        TableName=f"voices-{uuid.uuid4().hex[:8]}",
        KeySchema=[
            {"AttributeName": "PK", "KeyType": "HASH"},
            {"AttributeName": "SK", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "PK", "AttributeType": "S"},
            {"AttributeName": "SK", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    yield made
    made.delete()


@pytest.fixture
def absent_table(dynamodb: DynamoDBServiceResource) -> Table:
    """A table that nobody made."""
    return dynamodb.Table("nobody-made-this")


@pytest.fixture
def unreachable_table() -> Iterator[Table]:
    """A table at an address where nothing listens."""
    resource = _dynamodb(f"http://127.0.0.1:{_free_port()}", total_max_attempts=1)
    yield resource.Table("voices")
    resource.meta.client.close()


def _dynamodb(endpoint: str, **retries: Any) -> DynamoDBServiceResource:
    return boto3.resource(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(connect_timeout=2, read_timeout=10, retries=retries or None),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        if aws.ready(endpoint):
            return
        time.sleep(0.1)
    pytest.fail(f"ministack did not start:\n{log.read_text()[-2000:]}")
