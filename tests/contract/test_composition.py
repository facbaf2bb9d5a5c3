"""The functions as Lambda starts them: wired from the environment, on a real table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from fakes.clock import FakeClock
from fakes.events import authorizer_event, lambda_context, rest_event
from fakes.issuer import token
from voice_gateway import bootstrap
from voice_gateway.domain.errors import KeySetUnavailableError
from voice_gateway.handlers import account, authorizer, personalities
from voice_gateway.seed import seed
from voice_gateway.services.authorization import mint_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb.service_resource import Table

_CACHES = (
    bootstrap.personality_service,
    bootstrap.account_services,
    bootstrap.authorization_service,
    bootstrap._table,
    personalities._app,
    account._app,
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


def test_a_key_makes_another_which_is_revoked(table: Table) -> None:
    key = mint_key("demo")
    seed(table, tenant_id="demo", api_key=key, clock=FakeClock())

    def ask(credential: str) -> dict[str, Any]:
        event = authorizer_event({"authorization": f"Bearer {credential}"})
        found: dict[str, Any] = authorizer.lambda_handler(event, lambda_context())["context"]
        return found

    def send(method: str, path: str, body: str | None = None) -> Any:
        event = rest_event(method, path, body=body, authorizer=ask(key))
        answer = account.lambda_handler(event, lambda_context())
        return json.loads(answer["body"])

    body = json.dumps({"name": "till", "scopes": ["speech:write"]})
    made = send("POST", "/api/keys", body)
    assert ask(made["key"])["scopes"] == "speech:write"
    successor = send("POST", f"/api/keys/{made['id']}/rotate")
    assert ask(made["key"])["tenant"] == ask(successor["key"])["tenant"] == "demo"
    send("DELETE", f"/api/keys/{made['id']}")
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        ask(made["key"])
    used = {k["id"]: k["last_used_at"] for k in send("GET", "/api/keys")["keys"]}
    assert all(used.values())
    # The seeded ones take none of the tier's places.
    assert send("GET", "/api/usage")["personalities"] == {"limit": 3, "usage": 0}


def test_people_get_in_where_their_issuer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "JWT_ISSUER": "https://people.example",
        "JWT_AUDIENCE": "voices",
        "JWT_JWKS_URL": "http://127.0.0.1:9/keys",
    }.items():
        monkeypatch.setenv(name, value)
    event = authorizer_event({"authorization": f"Bearer {token()}"})
    with pytest.raises(KeySetUnavailableError):
        authorizer.lambda_handler(event, lambda_context())


@pytest.mark.parametrize("name", ["JWT_ISSUER", "JWT_AUDIENCE", "JWT_JWKS_URL"])
def test_an_issuer_is_named_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "https://people.example/keys")
    with pytest.raises(ValidationError, match="or none of them"):
        bootstrap.authorization_service()


@pytest.mark.parametrize("url", ["http://people.example/keys", "file:///keys", "ftp://x/keys"])
def test_keys_come_over_a_road_that_nobody_else_is_on(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("JWT_JWKS_URL", url)
    with pytest.raises(ValidationError):
        bootstrap.authorization_service()


def test_a_key_that_nobody_stored_opens_nothing() -> None:
    event = authorizer_event({"authorization": f"Bearer {mint_key('demo')}"})
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        authorizer.lambda_handler(event, lambda_context())


def test_waits_seconds_for_a_table_not_minutes(table: Table) -> None:
    config = bootstrap._table(table.name).meta.client.meta.config
    assert config.connect_timeout + config.read_timeout <= 3
    assert config.retries["total_max_attempts"] <= 3
