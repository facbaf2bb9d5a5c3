"""How loud each voice is, known to all functions alike."""

from __future__ import annotations

import hashlib
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.errors import SharedStateUnavailableError

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from voice_gateway.adapters.redis_connection import RedisConnection

_KEPT_SECONDS: Final = 30 * 24 * 3600
_MOST_VOICES: Final = 4096


class RedisVoiceLevels:
    """`VoiceLevels` in Redis, and in this process's memory what was once read or measured."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._known: dict[str, float] = {}

    async def find(self, voice: str) -> float | None:
        """Returns the voice's loudness; see the port."""
        if voice in self._known:
            return self._known[voice]
        try:
            found = await self._connection.call(lambda redis: redis.get(_key(voice)))
        except SharedStateUnavailableError:
            return None  # it is measured anew, as if for the first time
        lufs = _read(found)
        return None if lufs is None else self._keep(voice, lufs)

    async def remember(self, voice: str, lufs: float) -> None:
        """Keeps a voice's loudness; see the port."""

        async def first_wins(redis: Redis) -> bytes | str:
            key = _key(voice)
            await redis.set(key, repr(lufs), nx=True, ex=_KEPT_SECONDS)
            return await redis.get(key) or b""

        # Without Redis this process remembers it for itself.
        with suppress(SharedStateUnavailableError):
            first = _read(await self._connection.call(first_wins))
            lufs = lufs if first is None else first
        self._keep(voice, lufs)

    def _keep(self, voice: str, lufs: float) -> float:
        while len(self._known) >= _MOST_VOICES:
            del self._known[next(iter(self._known))]
        self._known[voice] = lufs
        return lufs


def _read(text: bytes | str | None) -> float | None:
    """Reads a level; None of what is none: its gain would be noise."""
    try:
        lufs = float(text or "nan")
    except ValueError:
        return None
    return lufs if math.isfinite(lufs) else None


def _key(voice: str) -> str:
    return f"level:{hashlib.sha256(voice.encode()).hexdigest()}"
