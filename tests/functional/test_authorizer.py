"""The authorizer, from API Gateway's question to its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fakes.api_keys import FakeApiKeys
from fakes.authorizations import RecordingAuthorizations
from fakes.clock import FakeClock
from fakes.events import METHOD_ARN, authorizer_event
from voice_gateway.domain.errors import StorageUnavailableError
from voice_gateway.handlers.authorizer import authorize
from voice_gateway.services.authorization import AuthorizationService, hash_key, mint_key

if TYPE_CHECKING:
    from collections.abc import Mapping

SCOPES = frozenset({"speech:write", "personalities:read"})
NOW = FakeClock().now()


@pytest.fixture
def keys() -> FakeApiKeys:
    return FakeApiKeys()


@pytest.fixture
def key(keys: FakeApiKeys) -> str:
    made = mint_key("shop")
    keys.put("shop", hash_key(made), SCOPES, NOW)
    return made


def ask(keys: FakeApiKeys, headers: Mapping[str, str] | None, **kwargs: Any) -> dict[str, Any]:
    return authorize(
        AuthorizationService(keys, FakeClock(), RecordingAuthorizations()),
        authorizer_event(headers, **kwargs),
    )


def test_lets_a_good_key_in_and_says_whose_it_is(keys: FakeApiKeys, key: str) -> None:
    answer = ask(keys, {"Authorization": f"Bearer {key}"})
    assert answer["principalId"] == "shop"
    assert answer["context"] == {
        "tenant": "shop",
        "scopes": "personalities:read speech:write",
        "key_id": hash_key(key)[:12],
    }
    assert key not in str(answer)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("POST", "/api/personalities"), ("GET", "/api/personalities/a/b:c")],
)
def test_allows_the_whole_stage_because_the_answer_is_cached(
    keys: FakeApiKeys, key: str, method: str, path: str
) -> None:
    answer = ask(keys, {"Authorization": f"Bearer {key}"}, method=method, path=path)
    [statement] = answer["policyDocument"]["Statement"]
    assert statement == {
        "Action": "execute-api:Invoke",
        "Effect": "Allow",
        "Resource": f"{METHOD_ARN}/prod/*/*",
    }


@pytest.mark.parametrize("header", ["Authorization", "authorization", "AUTHORIZATION"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", " Bearer ", "BEARER  "])
def test_spelling_does_not_matter(keys: FakeApiKeys, key: str, header: str, scheme: str) -> None:
    assert ask(keys, {header: f"{scheme} {key} "})["principalId"] == "shop"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: None,
        lambda key: {},
        lambda key: {"X-Api-Key": key},
        lambda key: {"Authorization": ""},
        lambda key: {"Authorization": key},
        lambda key: {"Authorization": "Bearer"},
        lambda key: {"Authorization": "Bearer "},
        lambda key: {"Authorization": f"Basic {key}"},
        lambda key: {"Authorization": f"Bearer {key} {key}"},
        lambda key: {"Authorization": f"Bearer {key[:-1]}"},
        lambda key: {"Authorization": f"Bearer {key}A"},
        lambda key: {"Authorization": f"Bearer {key.replace('shop', 'shop2')}"},
        lambda key: {"Authorization": f"Bearer {key.replace('shop', 'SHOP')}"},
        lambda key: {"Authorization": f"Bearer {hash_key(key)}"},
        lambda key: {"Authorization": f"Bearer pv_shop_{hash_key(key)}"},
        lambda key: {"Authorization": "Bearer pv_shop_"},
        lambda key: {"Authorization": "Bearer pv__secretsecretsecret"},
        lambda key: {"Authorization": f"Bearer pv_shop_{'x' * 100_000}"},
        lambda key: {"Authorization": "Bearer pv_shop_\ud800ecretsecretsecret"},
        lambda key: {"Authorization": f"Bearer {key}\n"[::-1]},
        lambda key: {"Authorization": "Bearer pv_a#b_secretsecretsecret"},
    ],
)
def test_anything_else_is_unauthorized_in_api_gateways_own_word(
    keys: FakeApiKeys, key: str, spoil: Any
) -> None:
    with pytest.raises(Exception, match=r"^Unauthorized$") as caught:
        ask(keys, spoil(key))
    assert type(caught.value) is Exception


def test_a_revoked_key_is_unauthorized(keys: FakeApiKeys, key: str) -> None:
    keys.revoke(keys.get("shop", hash_key(key)[:12]), NOW)
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        ask(keys, {"Authorization": f"Bearer {key}"})


def test_a_silent_table_is_no_answer_at_all(keys: FakeApiKeys, key: str) -> None:
    keys.broken = True
    with pytest.raises(StorageUnavailableError):
        ask(keys, {"Authorization": f"Bearer {key}"})


def test_a_key_is_never_logged(
    keys: FakeApiKeys, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(keys, {"Authorization": f"Bearer {key}"})
    with pytest.raises(Exception, match="Unauthorized"):
        ask(keys, {"Authorization": f"Bearer {key}x"})
    captured = capsys.readouterr()
    assert key not in captured.out + captured.err
