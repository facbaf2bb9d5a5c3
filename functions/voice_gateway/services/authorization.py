"""API keys: how they are made, and whose a key is.

A key reads `pv_<tenant>_<secret>`. Only its SHA-256 is stored. A slow hash would buy nothing: the
secret is 256 random bits, not a word that somebody chose. Nor is there a comparison to time: the
hash is the name under which the table is asked.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voice_gateway.ports import ApiKeyRepository

TENANT_PATTERN: Final = r"[a-z0-9-]{1,40}"
_KEY: Final = re.compile(rf"pv_(?P<tenant>{TENANT_PATTERN})_[A-Za-z0-9_-]{{16,128}}")
_SECRET_BYTES: Final = 32
_KEY_ID_CHARACTERS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who calls, and what they may do."""

    tenant_id: str
    scopes: frozenset[str]
    key_id: str
    """The start of the key's hash: names the key in logs, without giving it away."""


class AuthorizationService:
    """Tells whose a key is."""

    def __init__(self, keys: ApiKeyRepository) -> None:
        self._keys = keys

    def identify(self, authorization: str | None) -> Identity | None:
        """Reads an `Authorization` header.

        Returns:
            The identity, or None when the header holds no good key.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        scheme, _, key = (authorization or "").strip().partition(" ")
        key = key.strip()
        tenant_id = tenant_of(key)
        if scheme.lower() != "bearer" or tenant_id is None:
            return None
        key_hash = hash_key(key)
        scopes = self._keys.find(tenant_id, key_hash)
        if scopes is None:
            return None
        return Identity(tenant_id=tenant_id, scopes=scopes, key_id=key_hash[:_KEY_ID_CHARACTERS])


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
