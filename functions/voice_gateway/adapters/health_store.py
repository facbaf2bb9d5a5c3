"""Where the providers' doors and counts are kept: shared in Redis, or in this process alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

from voice_gateway.domain.errors import SharedStateUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from redis.asyncio import Redis

    from voice_gateway.adapters.redis_connection import RedisConnection

EVERYBODY: Final = ""
"""Whose the doors are that are shut to all tenants."""
MINUTES_KEPT: Final = 12
_DOORS_KEPT_SECONDS: Final = 32 * 24 * 3600

# Writes a door unless somebody else did meanwhile; an empty text is a door that nobody wrote.
_SWAP: Final = """
local present = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if present ~= ARGV[2] then return {0, present} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return {1, ARGV[3]}
"""


class HealthStore(Protocol):
    """Doors by owner and field, counts by provider and minute.

    An owner is a tenant, or `EVERYBODY`. Every method may raise SharedStateUnavailableError.
    """

    async def doors(self, *owners: str) -> list[dict[str, str]]:
        """Returns each owner's doors, field → text."""
        ...

    async def swap(self, owner: str, field: str, old: str, new: str) -> str | None:
        """Writes a door, if it still is `old` (empty: was never written).

        Returns:
            None when it is written, else what it is instead.
        """
        ...

    async def count(
        self, provider: str, minute: int, counts: Sequence[str], recent: Sequence[str]
    ) -> list[int]:
        """Adds one to each of `counts`; returns `recent`, summed over this minute and the last."""
        ...

    async def counts(
        self, providers: Iterable[str], minutes: range
    ) -> dict[str, Mapping[str, int]]:
        """Returns all counts of those minutes, by provider."""
        ...


class MemoryHealthStore:
    """Implements `HealthStore` for one process."""

    def __init__(self) -> None:
        self._doors: dict[str, dict[str, str]] = {}
        self._counts: dict[int, dict[str, Counter[str]]] = {}

    def learn(self, owner: str, doors: Mapping[str, str]) -> None:
        """Takes over all that the shared store says of an owner."""
        if doors:
            self._doors[owner] = dict(doors)
        else:
            self._doors.pop(owner, None)

    def learn_one(self, owner: str, field: str, text: str) -> None:
        """Takes over what the shared store says of a door."""
        self._doors.setdefault(owner, {})[field] = text

    async def doors(self, *owners: str) -> list[dict[str, str]]:
        """Returns each owner's doors."""
        return [dict(self._doors.get(owner, {})) for owner in owners]

    async def swap(self, owner: str, field: str, old: str, new: str) -> str | None:
        """Writes a door, if it still is `old`."""
        doors = self._doors.setdefault(owner, {})
        if (present := doors.get(field, "")) != old:
            return present
        doors[field] = new
        return None

    async def count(
        self, provider: str, minute: int, counts: Sequence[str], recent: Sequence[str]
    ) -> list[int]:
        """Adds one to each; forgets what nobody reads any more."""
        if minute not in self._counts:
            self._counts = {
                m: each for m, each in self._counts.items() if m > minute - MINUTES_KEPT
            }
        self._counts.setdefault(minute, {}).setdefault(provider, Counter()).update(counts)
        both = [self._counts.get(m, {}).get(provider, Counter()) for m in (minute - 1, minute)]
        return [sum(each[field] for each in both) for field in recent]

    async def counts(
        self, providers: Iterable[str], minutes: range
    ) -> dict[str, Mapping[str, int]]:
        """Sums up."""
        return {
            name: sum((self._counts.get(m, {}).get(name, Counter()) for m in minutes), Counter())
            for name in providers
        }


class RedisHealthStore:
    """Implements `HealthStore` for all processes: a round trip a call."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def doors(self, *owners: str) -> list[dict[str, str]]:
        """Reads small hashes, which are empty while all is well."""

        async def read(redis: Redis) -> list[dict[bytes, bytes]]:
            async with redis.pipeline(transaction=False) as pipe:
                for owner in owners:
                    pipe.hgetall(_doors_key(owner))
                found: list[dict[bytes, bytes]] = await pipe.execute()
                return found

        return [
            {field.decode(): text.decode() for field, text in doors.items()}
            for doors in await self._connection.call(read)
        ]

    async def swap(self, owner: str, field: str, old: str, new: str) -> str | None:
        """Compares and writes in one step."""

        async def write(redis: Redis) -> tuple[int, bytes]:
            script = redis.register_script(_SWAP)
            written, present = await script(
                keys=[_doors_key(owner)], args=[field, old, new, _DOORS_KEPT_SECONDS]
            )
            return written, present

        written, present = await self._connection.call(write)
        return None if written else present.decode()

    async def count(
        self, provider: str, minute: int, counts: Sequence[str], recent: Sequence[str]
    ) -> list[int]:
        """Adds, and reads what was there before it in the same round trip."""

        async def add(redis: Redis) -> list[list[bytes | None]]:
            async with redis.pipeline(transaction=False) as pipe:
                here = _counts_key(provider, minute)
                for field in counts:
                    pipe.hincrby(here, field, 1)
                pipe.expire(here, MINUTES_KEPT * 60)
                pipe.hmget(_counts_key(provider, minute - 1), recent)
                pipe.hmget(here, recent)
                answers = await pipe.execute()
                both: list[list[bytes | None]] = answers[-2:]
                return both

        return [
            int(before or 0) + int(now or 0)
            for before, now in zip(*await self._connection.call(add), strict=True)
        ]

    async def counts(
        self, providers: Iterable[str], minutes: range
    ) -> dict[str, Mapping[str, int]]:
        """Reads a hash a minute and provider, in one round trip."""
        names = list(providers)

        async def read(redis: Redis) -> list[dict[bytes, bytes]]:
            async with redis.pipeline(transaction=False) as pipe:
                for name in names:
                    for minute in minutes:
                        pipe.hgetall(_counts_key(name, minute))
                found: list[dict[bytes, bytes]] = await pipe.execute()
                return found

        found = iter(await self._connection.call(read))
        totals: dict[str, Mapping[str, int]] = {}
        for name in names:
            total: Counter[str] = Counter()
            for _ in minutes:
                total.update({field.decode(): int(n) for field, n in next(found).items()})
            totals[name] = total
        return totals


class EitherHealthStore:
    """Implements `HealthStore`: the shared one, and while that is away this process's own.

    What is read or written there is learnt here, so that a Redis that goes away does not reopen the
    doors that it had shut.
    """

    def __init__(self, shared: HealthStore, own: MemoryHealthStore) -> None:
        self._shared = shared
        self._own = own

    async def doors(self, *owners: str) -> list[dict[str, str]]:
        """Reads from whichever is there."""
        try:
            found = await self._shared.doors(*owners)
        except SharedStateUnavailableError:
            return await self._own.doors(*owners)
        for owner, doors in zip(owners, found, strict=True):
            self._own.learn(owner, doors)
        return found

    async def swap(self, owner: str, field: str, old: str, new: str) -> str | None:
        """Writes to whichever is there."""
        try:
            present = await self._shared.swap(owner, field, old, new)
        except SharedStateUnavailableError:
            return await self._own.swap(owner, field, old, new)
        self._own.learn_one(owner, field, new if present is None else present)
        return present

    async def count(
        self, provider: str, minute: int, counts: Sequence[str], recent: Sequence[str]
    ) -> list[int]:
        """Counts in whichever is there."""
        try:
            return await self._shared.count(provider, minute, counts, recent)
        except SharedStateUnavailableError:
            return await self._own.count(provider, minute, counts, recent)

    async def counts(
        self, providers: Iterable[str], minutes: range
    ) -> dict[str, Mapping[str, int]]:
        """Reads whichever is there."""
        names = tuple(providers)
        try:
            return await self._shared.counts(names, minutes)
        except SharedStateUnavailableError:
            return await self._own.counts(names, minutes)


def _doors_key(owner: str) -> str:
    return f"health:doors:{owner}"


def _counts_key(provider: str, minute: int) -> str:
    return f"health:counts:{provider}:{minute}"
