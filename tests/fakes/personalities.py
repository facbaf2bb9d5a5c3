"""Personalities in memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from voice_gateway.adapters.cursor import decode_cursor, encode_cursor
from voice_gateway.domain.errors import ConflictError, NotFoundError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_gateway.domain.personality import Personality


class FakePersonalities:
    """Implements `ports.PersonalityRepository`.

    Attributes:
        broken: While true, every call fails as an unreachable table does.
    """

    def __init__(self, *personalities: Personality) -> None:
        self.broken = False
        self._lock = threading.Lock()
        self._stored: dict[tuple[str, str], Personality] = {}
        for personality in personalities:
            self.create(personality)

    def create(self, personality: Personality) -> None:
        """Stores a new one."""
        self._check()
        with self._lock:
            key = (personality.tenant_id, personality.id)
            if key in self._stored:
                raise ConflictError("There is a personality with this id already.", field="id")
            self._stored[key] = personality

    def get(self, tenant_id: str, personality_id: str) -> Personality:
        """Fetches one."""
        self._check()
        try:
            return self._stored[tenant_id, personality_id]
        except KeyError:
            raise NotFoundError("There is no personality with this id.") from None

    def list(
        self, tenant_id: str, *, limit: int, cursor: str | None = None
    ) -> tuple[Sequence[Personality], str | None]:
        """Lists by id, a page at a time."""
        after = "" if cursor is None else decode_cursor(tenant_id, cursor)
        self._check()
        found = [
            personality
            for (tenant, personality_id), personality in sorted(self._stored.items())
            if tenant == tenant_id and personality_id > after
        ]
        page = found[:limit]
        return page, encode_cursor(tenant_id, page[-1].id) if len(found) > limit else None

    def _check(self) -> None:
        if self.broken:
            raise StorageUnavailableError("broken on purpose")
