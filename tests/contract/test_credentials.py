"""Credentials come from the stores of the local AWS, as they do on AWS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3
import pytest

from voice_gateway.adapters.credentials import SecretCredentials
from voice_gateway.domain.errors import FailureReason, ProviderError

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = {"key": "very secret", "region": "westeurope"}


@pytest.fixture(autouse=True)
def environment(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {
        "AWS_ENDPOINT_URL": aws_endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield


def secret(name: str, value: str) -> str:
    return str(boto3.client("secretsmanager").create_secret(Name=name, SecretString=value)["ARN"])


async def test_from_secrets_manager() -> None:
    credentials = SecretCredentials("azure", secret("azure", json.dumps(FIELDS)))
    assert await credentials.read() == FIELDS


async def test_from_the_parameter_store() -> None:
    store = boto3.client("ssm")
    store.put_parameter(Name="/voices/azure", Value=json.dumps(FIELDS), Type="SecureString")
    arn = store.get_parameter(Name="/voices/azure")["Parameter"]["ARN"]
    assert await SecretCredentials("azure", arn).read() == FIELDS


async def test_as_they_stand() -> None:
    assert await SecretCredentials("azure", json.dumps(FIELDS)).read() == FIELDS


async def test_they_are_kept_for_a_while() -> None:
    credentials = SecretCredentials("azure", secret("kept", json.dumps(FIELDS)))
    await credentials.read()
    boto3.client("secretsmanager").delete_secret(SecretId="kept", ForceDeleteWithoutRecovery=True)
    assert await credentials.read() == FIELDS


async def test_a_secret_that_is_not_there() -> None:
    missing = "arn:aws:secretsmanager:us-east-1:000000000000:secret:nobody-AAAAAA"
    with pytest.raises(ProviderError) as failed:
        await SecretCredentials("azure", missing).read()
    assert failed.value.reason is FailureReason.AUTH
    assert "nobody" not in str(failed.value)


@pytest.mark.parametrize("value", ["very secret", '["very secret"]', '{"key": "very secret"'])
async def test_a_secret_that_is_no_object(value: str) -> None:
    reference = value if value.startswith("{") else secret(f"bad{len(value)}", value)
    with pytest.raises(ProviderError) as failed:
        await SecretCredentials("azure", reference).read()
    assert failed.value.reason is FailureReason.AUTH
    assert "very secret" not in str(failed.value)
    assert failed.value.__cause__ is None
