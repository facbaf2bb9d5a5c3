"""The functions as Lambda starts them: wired from the environment, on a real table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fakes.clock import FakeClock
from fakes.events import authorizer_event, lambda_context, rest_event
from voice_gateway import bootstrap
from voice_gateway.handlers import authorizer, personalities
from voice_gateway.seed import seed
from voice_gateway.services.authorization import mint_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb.service_resource import Table

_CACHES = (
    bootstrap.personality_service,
    bootstrap.authorization_service,
    bootstrap._table,
    personalities._app,
    authorizer._service,
)


@pytest.fixture(autouse=True)
def environment(aws_endpoint: str, table: Table, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {
        "TABLE_NAME": table.name,
        "AWS_ENDPOINT_URL": aws_endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield
    bootstrap._table(table.name).meta.client.close()
    for cached in _CACHES:
        cached.cache_clear()


def test_a_key_opens_the_personalities_of_its_tenant(table: Table) -> None:
    key = mint_key("demo")
    seed(table, tenant_id="demo", api_key=key, clock=FakeClock())

    answer = authorizer.lambda_handler(
        authorizer_event({"authorization": f"Bearer {key}"}), lambda_context()
    )
    event = rest_event("GET", "/api/personalities?limit=1", authorizer=answer["context"])
    listed = personalities.lambda_handler(event, lambda_context())
    assert listed["statusCode"] == 200
    assert [p["id"] for p in json.loads(listed["body"])["personalities"]] == ["marcel"]

    body = json.dumps({"name": "Zoë"})
    event = rest_event("POST", "/api/personalities", body=body, authorizer=answer["context"])
    assert personalities.lambda_handler(event, lambda_context())["statusCode"] == 201
    event = rest_event("POST", "/api/personalities", body=body, authorizer=answer["context"])
    assert personalities.lambda_handler(event, lambda_context())["statusCode"] == 409


def test_a_key_that_nobody_stored_opens_nothing() -> None:
    event = authorizer_event({"authorization": f"Bearer {mint_key('demo')}"})
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        authorizer.lambda_handler(event, lambda_context())


def test_waits_seconds_for_a_table_not_minutes(table: Table) -> None:
    config = bootstrap._table(table.name).meta.client.meta.config
    assert config.connect_timeout + config.read_timeout <= 3
    assert config.retries["total_max_attempts"] <= 3
