"""API keys' hashes in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voice_gateway.domain.errors import NotFoundError, StorageUnavailableError

if TYPE_CHECKING:
    from datetime import datetime


class FakeApiKeys:
    """Implements `ports.ApiKeyRepository`, and the writing that only operators do.

    Attributes:
        broken: While true, every call fails as an unreachable table does.
    """

    def __init__(self) -> None:
        self.broken = False
        self._scopes: dict[tuple[str, str], frozenset[str]] = {}
        self._revoked: set[tuple[str, str]] = set()

    def find(self, tenant_id: str, key_hash: str) -> frozenset[str] | None:
        """Returns the key's scopes, or None when there is no such key or it was revoked."""
        self._check()
        if (tenant_id, key_hash) in self._revoked:
            return None
        return self._scopes.get((tenant_id, key_hash))

    def put(self, tenant_id: str, key_hash: str, scopes: frozenset[str], now: datetime) -> None:
        """Stores a key, or gives a stored one these scopes; a revoked one stays revoked."""
        self._check()
        self._scopes[tenant_id, key_hash] = scopes

    def revoke(self, tenant_id: str, key_hash: str, now: datetime) -> None:
        """Makes a key useless."""
        self._check()
        if (tenant_id, key_hash) not in self._scopes:
            raise NotFoundError("There is no such API key.")
        self._revoked.add((tenant_id, key_hash))

    def _check(self) -> None:
        if self.broken:
            raise StorageUnavailableError("broken on purpose")
