"""Personalities in memory."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fakes.clock import FakeClock
from fakes.stock import FakeStock
from voice_gateway.adapters.cursor import decode_cursor, encode_cursor
from voice_gateway.domain.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    StaleWriteError,
    StorageUnavailableError,
)
from voice_gateway.domain.listing import PersonalityFilter, cut_page
from voice_gateway.domain.tiers import Stock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_gateway.domain.idempotency import OnceOnly
    from voice_gateway.domain.personality import Personality
    from voice_gateway.domain.tiers import Ceiling
    from voice_gateway.ports import Clock

_EVERY = PersonalityFilter()
_NEVER = datetime.max.replace(tzinfo=UTC)


class FakePersonalities:
    """Implements `ports.PersonalityRepository`.

    Attributes:
        broken: While true, every call fails as an unreachable table does.
        overtaken: How many more times `replace` finds that somebody was faster.
        stock: How many of those that are counted each tenant has.
    """

    def __init__(self, *personalities: Personality, clock: Clock | None = None) -> None:
        self.broken = False
        self.overtaken = 0
        self._clock = clock or FakeClock()
        self._lock = threading.Lock()
        self._stored: dict[tuple[str, str], Personality] = {}
        self._history: dict[tuple[str, str, datetime], dict[int, tuple[Personality, datetime]]] = {}
        self._once: dict[tuple[str, str], tuple[str, Personality, datetime]] = {}
        self.stock = FakeStock()
        for personality in personalities:
            self.create(personality)

    def create(
        self,
        personality: Personality,
        once: OnceOnly | None = None,
        *,
        ceiling: Ceiling | None = None,
    ) -> Personality | None:
        """Stores a new one."""
        self._check()
        now = personality.created_at
        with self._lock:
            if once is not None:
                fingerprint, first, expires = self._once.get(
                    (personality.tenant_id, once.key), ("", personality, now)
                )
                if expires > now:
                    if fingerprint != once.fingerprint:
                        raise InvalidRequestError("Another body.", field="idempotency-key")
                    return first
            present = self._stored.get((personality.tenant_id, personality.id))
            if present is not None and not present.is_gone(now):
                raise ConflictError(
                    "A deleted one has this id; it can be restored."
                    if present.deleted_at
                    else "There is a personality with this id already.",
                    field="id",
                )
            if personality.takes_a_place:
                self.stock.count_up(personality.tenant_id, Stock.PERSONALITIES, ceiling)
            self._keep(personality)
            if once is not None:
                expires = (now + timedelta(hours=24)).replace(microsecond=0)
                self._once[personality.tenant_id, once.key] = (
                    once.fingerprint,
                    personality,
                    expires,
                )
        return None

    def get(
        self, tenant_id: str, personality_id: str, *, with_deleted: bool = False
    ) -> Personality:
        """Fetches one."""
        self._check()
        found = self._stored.get((tenant_id, personality_id))
        if (
            found is None
            or found.is_gone(self._clock.now())
            or (found.deleted_at is not None and not with_deleted)
        ):
            raise NotFoundError("There is no personality with this id.")
        return found

    def replace(
        self, previous: Personality, changed: Personality, *, ceiling: Ceiling | None = None
    ) -> None:
        """Puts a version in the place of the one before."""
        self._check()
        with self._lock:
            if self.overtaken:
                self.overtaken -= 1
                raise StaleWriteError
            present = self._stored.get((previous.tenant_id, previous.id))
            if present is None or present.version != previous.version:
                raise StaleWriteError
            if changed.takes_a_place and not previous.takes_a_place:
                self.stock.count_up(changed.tenant_id, Stock.PERSONALITIES, ceiling)
            elif previous.takes_a_place and not changed.takes_a_place:
                self.stock.count_down(changed.tenant_id, Stock.PERSONALITIES)
            self._keep(changed)
            forgotten = (changed.updated_at + timedelta(days=90)).replace(microsecond=0)
            self._history[_life(previous)][previous.version] = (previous, forgotten)

    def list(
        self,
        tenant_id: str,
        *,
        limit: int,
        cursor: str | None = None,
        wanted: PersonalityFilter = _EVERY,
    ) -> tuple[Sequence[Personality], str | None]:
        """Lists by id, a page at a time."""
        after = "" if cursor is None else decode_cursor(tenant_id, cursor)
        self._check()
        now = self._clock.now()
        found = (
            personality
            for (tenant, personality_id), personality in sorted(self._stored.items())
            if tenant == tenant_id and personality_id > after and wanted.takes(personality, now)
        )
        page, more = cut_page(found, limit)
        return page, encode_cursor(tenant_id, page[-1].id) if more else None

    def versions(
        self, personality: Personality, *, limit: int, cursor: str | None = None
    ) -> tuple[Sequence[Personality], str | None]:
        """Lists its versions, the newest first."""
        scope = "/".join(map(str, _life(personality)))
        before = None if cursor is None else int(decode_cursor(scope, cursor))
        self._check()
        now = self._clock.now()
        kept = self._history.get(_life(personality), {})
        found = (
            version
            for number, (version, forgotten) in sorted(kept.items(), reverse=True)
            if forgotten > now and (before is None or number < before)
        )
        page, more = cut_page(found, limit)
        return page, encode_cursor(scope, str(page[-1].version)) if more else None

    def _keep(self, personality: Personality) -> None:
        self._stored[personality.tenant_id, personality.id] = personality
        history = self._history.setdefault(_life(personality), {})
        history[personality.version] = (personality, personality.restorable_until or _NEVER)

    def _check(self) -> None:
        if self.broken:
            raise StorageUnavailableError("broken on purpose")


def _life(personality: Personality) -> tuple[str, str, datetime]:
    return personality.tenant_id, personality.id, personality.created_at
