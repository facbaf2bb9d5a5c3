"""Who calls: API keys for agents, tokens for people.

A key reads `pv_<tenant>_<secret>`. Only its SHA-256 is stored. A slow hash would buy nothing: the
secret is 256 random bits, not a word that somebody chose. Nor is there a comparison to time: the
hash is the name under which the table is asked.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.access import ROLE_SCOPES, Role
from voice_gateway.domain.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voice_gateway.domain.access import ApiKey
    from voice_gateway.ports import (
        ApiKeyRepository,
        AuthorizationObserver,
        Clock,
        TokenVerifier,
    )

TENANT_PATTERN: Final = r"[a-z0-9-]{1,40}"
USE_NOTED_EVERY: Final = timedelta(hours=1)
"""A write a request would cost more than the date is worth."""
_KEY: Final = re.compile(rf"pv_(?P<tenant>{TENANT_PATTERN})_[A-Za-z0-9_-]{{16,128}}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SECRET_BYTES: Final = 32
_CALLER_ID_CHARACTERS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who calls, and what they may do."""

    tenant_id: str
    scopes: frozenset[str]
    key_id: str
    """Names the caller in logs: the start of the key's hash, or of the person's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleClaims:
    """Which claims of a token say whose person it is, and what."""

    tenant: str = "tenant"
    role: str = "role"
    """One role, or a list; of several the highest counts."""


class AuthorizationService:
    """Tells who calls.

    Args:
        keys: The API keys.
        clock: Tells what has expired.
        observer: Hears what went wrong beside the answer.
        tokens: Checks people's tokens; None where people cannot sign in.
        claims: Where a token says whose person it is.
    """

    def __init__(
        self,
        keys: ApiKeyRepository,
        clock: Clock,
        observer: AuthorizationObserver,
        *,
        tokens: TokenVerifier | None = None,
        claims: PeopleClaims | None = None,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._observer = observer
        self._tokens = tokens
        self._claims = claims or PeopleClaims()

    def identify(self, authorization: str | None) -> Identity | None:
        """Reads an `Authorization` header.

        Returns:
            The identity, or None when the header holds no good key and no good token.

        Raises:
            KeySetUnavailableError: Nobody could say whose token it is.
            StorageUnavailableError: The table did not answer.
        """
        scheme, _, credential = (authorization or "").strip().partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer":
            return None
        if tenant_id := tenant_of(credential):
            return self._agent(tenant_id, hash_key(credential))
        if self._tokens is not None and _TOKEN.fullmatch(credential):
            claims = self._tokens.verify(credential)
            return None if claims is None else self._person(claims)
        return None

    def _agent(self, tenant_id: str, key_hash: str) -> Identity | None:
        key = self._keys.find(tenant_id, key_hash)
        if key is None or not key.is_good(self._clock.now()):
            return None
        self._note_use(key)
        return Identity(tenant_id=tenant_id, scopes=key.scopes, key_id=key.id)

    def _note_use(self, key: ApiKey) -> None:
        now = self._clock.now()
        if key.last_used_at is not None and now - key.last_used_at < USE_NOTED_EVERY:
            return
        try:
            self._keys.note_use(key, now)
        except StorageUnavailableError as error:
            # The key is good all the same.
            self._observer.use_not_noted(key.id, error)

    def _person(self, claims: Mapping[str, object]) -> Identity | None:
        tenant_id = claims.get(self._claims.tenant)
        if not isinstance(tenant_id, str) or not re.fullmatch(TENANT_PATTERN, tenant_id):
            return None
        role = _highest(claims.get(self._claims.role))
        person = hashlib.sha256(f"{claims['iss']}\0{claims['sub']}".encode()).hexdigest()
        return Identity(
            tenant_id=tenant_id,
            scopes=frozenset() if role is None else ROLE_SCOPES[role],
            key_id=person[:_CALLER_ID_CHARACTERS],
        )


def mint_key(tenant_id: str) -> str:
    """Makes a new key; whoever asked shows it once and stores its hash.

    Raises:
        ValueError: No key can name this tenant.
    """
    if not re.fullmatch(TENANT_PATTERN, tenant_id):
        raise ValueError("a tenant is 1 to 40 lower-case letters, digits and hyphens")
    return f"pv_{tenant_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def hash_key(key: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def tenant_of(key: str) -> str | None:
    """Whose the key says it is; None when it is no key of ours."""
    match = _KEY.fullmatch(key)
    return match["tenant"] if match else None


def _highest(claim: object) -> Role | None:
    named = claim if isinstance(claim, list) else [claim]
    return next((role for role in reversed(Role) if role in named), None)
