"""API keys' hashes in memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from voice_gateway.adapters.cursor import decode_cursor, encode_cursor
from voice_gateway.domain.access import ApiKey
from voice_gateway.domain.errors import ConflictError, NotFoundError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class FakeApiKeys:
    """Implements `ports.ApiKeyRepository`, and the writing that only operators do.

    Attributes:
        broken: While true, every call fails as an unreachable table does.
    """

    def __init__(self) -> None:
        self.broken = False
        self._lock = threading.Lock()
        self._stored: dict[tuple[str, str], ApiKey] = {}

    def find(self, tenant_id: str, key_hash: str) -> ApiKey | None:
        """Finds a key by its hash, be it good or not."""
        self._check()
        return self._stored.get((tenant_id, key_hash))

    def get(self, tenant_id: str, wanted: str) -> ApiKey:
        """Fetches a key by its id."""
        self._check()
        for (tenant, _), api_key in self._stored.items():
            if tenant == tenant_id and api_key.id == wanted:
                return api_key
        raise NotFoundError("There is no API key with this id.")

    def list(
        self, tenant_id: str, *, limit: int, cursor: str | None = None
    ) -> tuple[Sequence[ApiKey], str | None]:
        """Lists by id, a page at a time."""
        scope = f"{tenant_id}/KEY#"
        after = "" if cursor is None else decode_cursor(scope, cursor)
        self._check()
        found = [
            api_key
            for (tenant, key_hash), api_key in sorted(self._stored.items())
            if tenant == tenant_id and key_hash > after
        ]
        page = found[:limit]
        return page, encode_cursor(scope, page[-1].key_hash) if len(found) > limit else None

    def create(self, api_key: ApiKey) -> None:
        """Stores a new one."""
        self._check()
        self._stored[api_key.tenant_id, api_key.key_hash] = api_key

    def rotate(self, old: ApiKey, new: ApiKey, *, until: datetime) -> None:
        """Stores a new one and lets the old one end."""
        self._check()
        with self._lock:
            present = self._stored.get((old.tenant_id, old.key_hash))
            if present is None or present.revoked_at or present.replaced_by:
                raise ConflictError("This key was revoked or replaced already.")
            self._change(old, expires_at=until, replaced_by=new.id)
            self._stored[new.tenant_id, new.key_hash] = new

    def revoke(self, api_key: ApiKey, now: datetime) -> None:
        """Makes a key useless."""
        self._check()
        present = self._stored.get((api_key.tenant_id, api_key.key_hash))
        if present is None:
            raise NotFoundError("There is no API key with this id.")
        self._change(api_key, revoked_at=present.revoked_at or now)

    def note_use(self, api_key: ApiKey, now: datetime) -> None:
        """Remembers that it was used."""
        self._check()
        self._change(api_key, last_used_at=now)

    def put(self, tenant_id: str, key_hash: str, scopes: frozenset[str], now: datetime) -> None:
        """Stores a key, or gives a stored one these scopes; a dead one stays dead."""
        self._check()
        made = ApiKey(tenant_id=tenant_id, key_hash=key_hash, scopes=scopes, created_at=now)
        present = self._stored.setdefault((tenant_id, key_hash), made)
        self._change(present, scopes=scopes)

    def _change(self, api_key: ApiKey, **changes: object) -> None:
        place = (api_key.tenant_id, api_key.key_hash)
        self._stored[place] = self._stored[place].model_copy(update=changes)

    def _check(self) -> None:
        if self.broken:
            raise StorageUnavailableError("broken on purpose")
