"""The providers' health: doors of `domain/health`, kept in a store that all functions share."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from voice_gateway.adapters.health_store import EVERYBODY
from voice_gateway.domain.health import (
    KIND_OF,
    Door,
    DoorKind,
    Failure,
    Heard,
    ProviderReport,
    Recently,
    after_failure,
    after_success,
    begin_trial,
    end_trial,
    load_door,
    standing,
)
from voice_gateway.domain.histogram import bin_of
from voice_gateway.domain.statistics import percentiles_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from voice_gateway.adapters.health_store import HealthStore
    from voice_gateway.domain.health import Standing
    from voice_gateway.ports import Clock

VIEW_SECONDS: Final = 0.25
"""How old what a process knows of the doors may be: a request then asks nobody."""
_VIEWS_KEPT: Final = 512
_TRIES: Final = 20
"""Writers of one door at one moment; after so many, somebody else's news is good enough."""
_LATENCY_MINUTES: Final = 10

_KINDS: Final = frozenset(kind.value for kind in DoorKind)
_Doors = dict[tuple[str, DoorKind], Door]


class StoredHealth:
    """Implements `ports.ProviderHealth`."""

    def __init__(self, store: HealthStore, clock: Clock) -> None:
        """Reads nothing yet.

        Args:
            store: Never lets anybody wait, and never fails; see `EitherHealthStore`.
            clock: Its wall time is the other functions' too.
        """
        self._store = store
        self._clock = clock
        self._views: OrderedDict[str, tuple[float, asyncio.Task[_Doors]]] = OrderedDict()

    async def standings(self, tenant_id: str) -> Mapping[str, Standing]:
        """Returns the providers that are not open to every request of this tenant."""
        by_provider: dict[str, list[Door]] = {}
        for (provider, _), door in (await self._doors(tenant_id)).items():
            by_provider.setdefault(provider, []).append(door)
        now = self._now()
        return {
            provider: found
            for provider, doors in by_provider.items()
            if (found := standing(doors, now)) is not None
        }

    async def claim(self, provider: str, tenant_id: str) -> bool:
        """Takes the place at each of its doors that is ajar."""
        taken: list[DoorKind] = []
        for kind in DoorKind:
            door = (await self._doors(tenant_id)).get((provider, kind), Door())
            if door.is_open():
                continue
            changed = None
            if door.is_ajar(now := self._now()):
                changed = begin_trial(door, now)
            if changed is None or not await self._swap(provider, tenant_id, kind, door, changed):
                for one in taken:
                    await self._change(provider, tenant_id, one, end_trial)
                return False
            taken.append(kind)
        return True

    async def report(
        self, provider: str, tenant_id: str, result: Heard | Failure | None, *, trial: bool
    ) -> None:
        """Counts the turn, and moves the doors that it concerns."""
        if result is None:
            if trial:
                for kind in DoorKind:
                    await self._change(provider, tenant_id, kind, end_trial)
            return
        # What a view that is not new says would let old failures count on.
        recently, _ = await asyncio.gather(
            self._count(provider, tenant_id, result), self._doors(tenant_id, fresh=True)
        )
        if isinstance(result, Heard):
            for kind in DoorKind:
                await self._change(
                    provider, tenant_id, kind, lambda door: after_success(door, trial=trial)
                )
            return
        failed = KIND_OF.get(result.reason)
        for kind in DoorKind:
            if kind is failed:
                await self._change(
                    provider,
                    tenant_id,
                    kind,
                    lambda door, kind=kind, failure=result: after_failure(  # type: ignore[misc]
                        door, kind, failure, self._now(), trial=trial, recently=recently
                    ),
                )
            elif trial:
                await self._change(provider, tenant_id, kind, end_trial)

    async def overview(
        self, providers: Iterable[str], tenant_id: str
    ) -> Mapping[str, ProviderReport]:
        """Sums up the last ten minutes."""
        names = tuple(providers)
        standings = await self.standings(tenant_id)
        minute = self._minute()
        counts = await self._store.counts(names, range(minute - _LATENCY_MINUTES, minute + 1))
        return {
            name: ProviderReport(
                standing=standings.get(name),
                good=_sum(counts[name], "good"),
                bad=_sum(counts[name], "bad"),
                first_audio=percentiles_of(_bins(counts[name], "first")),
                total=percentiles_of(_bins(counts[name], "total")),
            )
            for name in names
        }

    async def _doors(self, tenant_id: str, *, fresh: bool = False) -> _Doors:
        """What this process knows, read anew when it is too old; readers share one reading."""
        now = self._clock.monotonic()
        read_at, reading = self._views.get(tenant_id, (0.0, None))
        if fresh or reading is None or now - read_at > VIEW_SECONDS or _failed(reading):
            reading = asyncio.get_running_loop().create_task(self._read(tenant_id))
            self._views[tenant_id] = (now, reading)
            self._views.move_to_end(tenant_id)
            if len(self._views) > _VIEWS_KEPT:
                self._views.popitem(last=False)
        # One reader's end must not be the others'.
        return await asyncio.shield(reading)

    async def _read(self, tenant_id: str) -> _Doors:
        doors: _Doors = {}
        for texts in await self._store.doors(EVERYBODY, tenant_id):
            for field, text in texts.items():
                provider, _, kind = field.rpartition(":")
                if kind in _KINDS:
                    doors[provider, DoorKind(kind)] = load_door(text)
        return doors

    async def _change(
        self, provider: str, tenant_id: str, kind: DoorKind, change: Callable[[Door], Door]
    ) -> None:
        door = (await self._doors(tenant_id)).get((provider, kind), Door())
        for _ in range(_TRIES):
            changed = change(door)
            if changed == door or await self._swap(provider, tenant_id, kind, door, changed):
                return
            door = (await self._doors(tenant_id)).get((provider, kind), Door())

    async def _swap(
        self, provider: str, tenant_id: str, kind: DoorKind, door: Door, changed: Door
    ) -> bool:
        owner = tenant_id if kind is DoorKind.AUTH else EVERYBODY
        field = f"{provider}:{kind}"
        present = await self._store.swap(owner, field, door.dump(), changed.dump())
        # Written or not: what this process knew is out of date.
        self._views.clear()
        return present is None

    async def _count(self, provider: str, tenant_id: str, result: Heard | Failure) -> Recently:
        # Counted since the door last opened: what closed it then must not close it again.
        door = (await self._doors(tenant_id)).get((provider, DoorKind.FAILURES), Door())
        good, bad = f"good.{door.opened}", f"bad.{door.opened}"
        if isinstance(result, Failure):
            counted = [bad]
        else:
            told = (("first", result.first_audio_ms), ("total", result.total_ms))
            counted = [f"{name}.{bin_of(ms)}" for name, ms in told if ms is not None]
            if result.total_ms is not None:
                counted.append(good)
        totals = await self._store.count(provider, self._minute(), counted, (good, bad))
        return Recently(*totals)

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _minute(self) -> int:
        return int(self._now() // 60)


def _failed(reading: asyncio.Task[_Doors]) -> bool:
    return reading.done() and (reading.cancelled() or reading.exception() is not None)


def _sum(counts: Mapping[str, int], name: str) -> int:
    return sum(n for field, n in counts.items() if field.partition(".")[0] == name)


def _bins(counts: Mapping[str, int], name: str) -> dict[int, int]:
    split = ((field.partition("."), n) for field, n in counts.items())
    return {int(index): n for (kind, _, index), n in split if kind == name}
