from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.api_keys import FakeApiKeys
from fakes.authorizations import RecordingAuthorizations
from fakes.clock import FakeClock
from voice_gateway.domain.access import ROLE_SCOPES, Role
from voice_gateway.services.authorization import (
    AuthorizationService,
    PeopleClaims,
    hash_key,
    mint_key,
    tenant_of,
)

NOW = FakeClock().now()


def service(keys: FakeApiKeys, **more: Any) -> AuthorizationService:
    return AuthorizationService(keys, FakeClock(), RecordingAuthorizations(), **more)


@settings(deadline=None)
@given(st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True))
def test_a_minted_key_says_whose_it_is(tenant_id: str) -> None:
    assert tenant_of(mint_key(tenant_id)) == tenant_id


def test_every_key_is_new_and_long() -> None:
    keys = {mint_key("shop") for _ in range(50)}
    assert len(keys) == 50
    assert all(len(key.removeprefix("pv_shop_")) >= 43 for key in keys)


@pytest.mark.parametrize("tenant_id", ["", "Shop", "a_b", "a" * 41, "shop\n", "é", "a#b"])
def test_mints_for_no_impossible_tenant(tenant_id: str) -> None:
    with pytest.raises(ValueError, match="tenant"):
        mint_key(tenant_id)


def test_only_the_hash_is_looked_for() -> None:
    key = mint_key("shop")
    assert re.fullmatch("[0-9a-f]{64}", hash_key(key))
    keys = FakeApiKeys()
    keys.put("shop", hash_key(key), frozenset({"speech:read"}), NOW)
    identity = service(keys).identify(f"Bearer {key}")
    assert identity is not None
    assert (identity.tenant_id, identity.scopes) == ("shop", {"speech:read"})
    assert identity.key_id == hash_key(key)[:12]
    assert key not in repr(identity)


def test_a_key_counts_for_its_own_tenant_only() -> None:
    key = mint_key("shop")
    keys = FakeApiKeys()
    keys.put("other", hash_key(key), frozenset({"speech:read"}), NOW)
    assert service(keys).identify(f"Bearer {key}") is None


@settings(deadline=None)
@given(st.none() | st.text())
def test_nothing_else_opens(header: str | None) -> None:
    keys = FakeApiKeys()
    keys.broken = True  # asking the table would already be too much
    assert service(keys).identify(header) is None


class Tokens:
    """Takes one token's word, and says what it claims."""

    def __init__(self, **claims: object) -> None:
        self._claims = {"iss": "https://people.example", "sub": "ida", **claims}

    def verify(self, token: str) -> dict[str, object] | None:
        return self._claims if token == "a.b.c" else None


@pytest.mark.parametrize(
    ("claim", "role"),
    [
        ("viewer", Role.VIEWER),
        ("admin", Role.ADMIN),
        (["viewer", "editor"], Role.EDITOR),
        (["staff", "admin", "viewer"], Role.ADMIN),
        ("Admin", None),
        ("admin viewer", None),
        ([], None),
        ([["admin"]], None),
        ({"admin": True}, None),
        (None, None),
        (True, None),
    ],
)
def test_a_role_is_its_scopes(claim: object, role: Role | None) -> None:
    keys = FakeApiKeys()
    identity = service(keys, tokens=Tokens(tenant="shop", role=claim)).identify("Bearer a.b.c")
    assert identity is not None
    assert identity.tenant_id == "shop"
    assert identity.scopes == (frozenset() if role is None else ROLE_SCOPES[role])
    assert "ida" not in identity.key_id


def test_claims_have_the_names_that_the_issuer_gives_them() -> None:
    tokens = Tokens(**{"https://voices.example/shop": "shop", "groups": ["editor"]})
    claims = PeopleClaims(tenant="https://voices.example/shop", role="groups")
    identity = service(FakeApiKeys(), tokens=tokens, claims=claims).identify("bearer  a.b.c ")
    assert identity is not None
    assert identity.scopes == ROLE_SCOPES[Role.EDITOR]


def test_where_nobody_signs_tokens_none_is_good() -> None:
    assert service(FakeApiKeys()).identify("Bearer a.b.c") is None
