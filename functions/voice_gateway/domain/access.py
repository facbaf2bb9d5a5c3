"""Who may do what: scopes, the roles that hold them, and the keys that are given some."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, StringConstraints

if TYPE_CHECKING:
    from collections.abc import Mapping

GRACE_DEFAULT: Final = timedelta(hours=24)
GRACE_MAX: Final = timedelta(days=7)
"""How long a key may still be used after it was replaced."""
KEY_NAME_MAX: Final = 80


class Scope(StrEnum):
    """A right; every route asks for one."""

    PERSONALITIES_READ = "personalities:read"
    PERSONALITIES_WRITE = "personalities:write"
    SPEECH_READ = "speech:read"
    SPEECH_WRITE = "speech:write"
    COSTS_READ = "costs:read"
    COSTS_WRITE = "costs:write"
    CACHE_PURGE = "cache:purge"
    CONSENT_REVOKE = "consent:revoke"
    USAGE_READ = "usage:read"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"


class Role(StrEnum):
    """What a person is, from the least to the most."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"


_VIEWER: Final = frozenset({Scope.PERSONALITIES_READ, Scope.SPEECH_READ})
_EDITOR: Final = _VIEWER | {Scope.PERSONALITIES_WRITE, Scope.SPEECH_WRITE}
ROLE_SCOPES: Final[Mapping[Role, frozenset[Scope]]] = MappingProxyType(
    {Role.VIEWER: _VIEWER, Role.EDITOR: _EDITOR, Role.ADMIN: frozenset(Scope)}
)

KeyName = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=KEY_NAME_MAX, pattern=r"^[^\x00-\x1f\x7f]*$"
    ),
]


class ApiKey(BaseModel):
    """A key as it is stored: everything but the key itself."""

    model_config = ConfigDict(frozen=True)

    tenant_id: str
    key_hash: str
    """SHA-256 of the whole key, in hex."""
    name: str = ""
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None = None
    """From then on it opens nothing; None for never."""
    last_used_at: datetime | None = None
    """To the hour."""
    revoked_at: datetime | None = None
    replaced_by: str | None = None
    """The id of the key that came with a rotation."""

    @property
    def id(self) -> str:
        """Names the key without giving it away."""
        return key_id(self.key_hash)

    def is_good(self, now: datetime) -> bool:
        """Whether it opens anything."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def key_id(key_hash: str) -> str:
    """The start of a key's hash."""
    return key_hash[:12]
