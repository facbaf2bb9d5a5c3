"""Spoken sentences in Redis: 16-bit samples at the provider's rate, a day each.

An entry and the lock of whoever speaks it are named after whose it is, who speaks, and what was
cloned, so that a purge finds them by name, whatever else was evicted:

    audio:e:<tenant>:<personality>:<sample>:<settings>    a checksum, a line of JSON, the samples
    audio:l:…                                             the claim's token, for seconds
    audio:s:<tenant>, audio:b:<tenant>                    since when what is kept, and how big
    audio:p:<tenant>                                      the fence at its last purge
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from voice_gateway.domain.audio_cache import CachedSentence, Claim, Lookup
from voice_gateway.domain.errors import SharedStateUnavailableError, StorageUnavailableError
from voice_gateway.domain.speech import WordTiming

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from redis.asyncio import Redis

    from voice_gateway.adapters.redis_connection import RedisConnection
    from voice_gateway.domain.audio_cache import SentenceKey
    from voice_gateway.ports import Clock

KEPT_SECONDS: Final = 24 * 3600
CLAIM_SECONDS: Final = 15
"""How long a claim lasts unrenewed: for so long a dead function keeps others waiting at most."""
MAX_ENTRY_BYTES: Final = 4 * 1024 * 1024
MAX_TENANT_BYTES: Final = 64 * 1024 * 1024
"""What one tenant may keep; beyond it the oldest goes. A minute of speech is 2.6 MB."""
_POLL_SECONDS: Final = 0.02
_SCAN_COUNT: Final = 500
_SEAL_BYTES: Final = 4
_PURGE_SECONDS: Final = 1800
"""How long a purge is remembered: no answer is under way for longer."""

# KEYS: entries, then locks, then the fence. Answers 0 kept, -1 busy, else the claim's token; of the
# first one that is kept, what is kept, since that is what the listener waits for.
_LOOK_UP: Final = """
local n, found = (#KEYS - 1) / 2, {}
for i = 1, n do
    if redis.call('EXISTS', KEYS[i]) == 1 then
        found[i] = i == 1 and redis.call('GET', KEYS[i]) or 0
    else
        local token = redis.call('INCR', KEYS[#KEYS])
        local claimed = redis.call('SET', KEYS[n + i], token, 'NX', 'EX', ARGV[1])
        found[i] = claimed and token or -1
    end
end
redis.call('EXPIRE', KEYS[#KEYS], 86400)
return found
"""
# KEYS: entry, lock, since, sizes, purge. ARGV: token (0: none), value, seconds, now, most bytes,
# and a token as old as the work.
_KEEP: Final = """
if ARGV[1] ~= '0' then
    if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
    redis.call('UNLINK', KEYS[2])
elseif tonumber(redis.call('GET', KEYS[5]) or 0) > tonumber(ARGV[6]) then
    return 0
end
local function forget(names)
    for _, name in ipairs(names) do
        redis.call('UNLINK', name)
        redis.call('ZREM', KEYS[3], name)
        local size = redis.call('HGET', KEYS[4], name)
        if size then
            redis.call('HINCRBY', KEYS[4], '', '-' .. size)
            redis.call('HDEL', KEYS[4], name)
        end
    end
end
local size = #ARGV[2]
forget({KEYS[1]})
forget(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[4] - ARGV[3]))
while tonumber(redis.call('HGET', KEYS[4], '') or 0) + size > tonumber(ARGV[5]) do
    local oldest = redis.call('ZRANGE', KEYS[3], 0, 0)
    if #oldest == 0 then break end
    forget(oldest)
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[4], KEYS[1])
redis.call('HSET', KEYS[4], KEYS[1], size)
redis.call('HINCRBY', KEYS[4], '', size)
redis.call('EXPIRE', KEYS[3], ARGV[3])
redis.call('EXPIRE', KEYS[4], ARGV[3])
return 1
"""
# KEYS: locks. ARGV: seconds (0: let go), then each one's token.
_HOLD: Final = """
for i, key in ipairs(KEYS) do
    if redis.call('GET', key) == ARGV[i + 1] then
        if ARGV[1] == '0' then redis.call('UNLINK', key) else redis.call('EXPIRE', key, ARGV[1]) end
    end
end
return 0
"""
# KEYS: since, sizes, then entries and locks in any order. Answers how many entries there were.
_FORGET: Final = """
local entries = 0
for i = 3, #KEYS do
    local gone = redis.call('UNLINK', KEYS[i])
    local size = redis.call('HGET', KEYS[2], KEYS[i])
    if size then
        redis.call('HINCRBY', KEYS[2], '', '-' .. size)
        redis.call('HDEL', KEYS[2], KEYS[i])
        redis.call('ZREM', KEYS[1], KEYS[i])
    end
    if string.sub(KEYS[i], 1, 8) == 'audio:e:' then entries = entries + gone end
end
return entries
"""


# KEYS: fence, purge. ARGV: seconds.
_REMEMBER: Final = """
redis.call('SET', KEYS[2], redis.call('INCR', KEYS[1]), 'EX', ARGV[1])
redis.call('EXPIRE', KEYS[1], 86400)
"""
_FENCE: Final = "audio:fence"


class RedisAudioCache:
    """An `AudioCache` for all functions alike."""

    def __init__(self, connection: RedisConnection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def look_up(self, keys: Sequence[SentenceKey]) -> list[Lookup | Claim | CachedSentence]:
        """Finds and claims, in one round trip; see the port."""
        names = [_name("e", key) for key in keys] + [_name("l", key) for key in keys]
        try:
            found = await self._call(_LOOK_UP, [*names, _FENCE], [CLAIM_SECONDS])
        except SharedStateUnavailableError:
            return [Lookup.UNKNOWN] * len(keys)
        return [_looked_up(key, told) for key, told in zip(keys, found, strict=True)]

    async def holds(self, keys: Sequence[SentenceKey]) -> list[bool]:
        """Looks without claiming, in one round trip; see the port."""

        async def ask(redis: Redis) -> list[Any]:
            pipeline = redis.pipeline(transaction=False)
            for key in keys:
                pipeline.exists(_name("e", key))
            return await pipeline.execute()

        try:
            return [bool(found) for found in await self._connection.call(ask)]
        except SharedStateUnavailableError:
            return [False] * len(keys)

    async def fetch(self, key: SentenceKey) -> CachedSentence | None:
        """Reads one; see the port."""
        try:
            data: Any = await self._connection.call(lambda redis: redis.get(_name("e", key)))
        except SharedStateUnavailableError:
            return None
        return None if data is None else _read(data)

    async def wait_for(self, key: SentenceKey, seconds: float) -> CachedSentence | None:
        """Looks again and again; see the port."""
        until = self._clock.monotonic() + seconds
        while True:
            held = await self._held(key)
            # In this order: whoever keeps a sentence lets go of it in the same moment.
            if (sentence := await self.fetch(key)) is not None or not held:
                return sentence
            if self._clock.monotonic() >= until:
                return None
            await asyncio.sleep(_POLL_SECONDS)

    async def keep(
        self,
        key: SentenceKey,
        sentence: CachedSentence,
        claim: Claim | None,
        *,
        since: Claim | None = None,
    ) -> None:
        """Writes one, unless the claim was lost or a purge came between; see the port."""
        value = _sealed(_written(sentence))
        if len(value) > MAX_ENTRY_BYTES:
            await self.give_up([claim] if claim else [])
            return
        names = [_name("e", key), _name("l", key), *_index(key.tenant_id), _purge(key.tenant_id)]
        now = self._clock.now().timestamp()
        token, age = (one.token if one else 0 for one in (claim, since))
        told = [token, value, KEPT_SECONDS, now, MAX_TENANT_BYTES, age]
        with suppress(SharedStateUnavailableError):
            await self._call(_KEEP, names, told)

    async def renew(self, claims: Sequence[Claim]) -> None:
        """Gives the claims their whole time again; see the port."""
        await self._hold(claims, CLAIM_SECONDS)

    async def give_up(self, claims: Sequence[Claim]) -> None:
        """Ends the claims; see the port."""
        await self._hold(claims, 0)

    async def purge(
        self, tenant_id: str, *, personality_id: str | None = None, sample_hash: str | None = None
    ) -> int:
        """Goes through all names, which finds each that was there all the time; see the port.

        Raises:
            StorageUnavailableError: Redis did not answer.
        """
        if not self._connection.exists:
            return 0
        parts = (tenant_id, personality_id, sample_hash)
        pattern = ":".join("*" if part is None else _literally(_part(part)) for part in parts)
        index, found, cursor = _index(tenant_id), 0, 0
        try:
            await self._call(_REMEMBER, [_FENCE, _purge(tenant_id)], [_PURGE_SECONDS])
            while True:
                cursor, names = await self._scan(cursor, f"audio:[el]:{pattern}:*")
                if names:
                    found += await self._call(_FORGET, [*index, *names], [])
                if cursor == 0:
                    return found
        except SharedStateUnavailableError:
            raise StorageUnavailableError("The audio cache did not answer.") from None

    async def _scan(self, cursor: int, pattern: str) -> tuple[int, list[str]]:
        async def scan(redis: Redis) -> Any:
            return await redis.scan(cursor, pattern, _SCAN_COUNT)

        cursor, names = await self._connection.call(scan)
        return cursor, [name.decode() for name in names]

    async def _held(self, key: SentenceKey) -> bool:
        try:
            return bool(await self._connection.call(lambda redis: redis.exists(_name("l", key))))
        except SharedStateUnavailableError:
            return False

    async def _hold(self, claims: Sequence[Claim], seconds: int) -> None:
        if not claims:
            return
        names = [_name("l", claim.key) for claim in claims]
        with suppress(SharedStateUnavailableError):
            await self._call(_HOLD, names, [seconds, *(claim.token for claim in claims)])

    async def _call(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        def run(redis: Redis) -> Awaitable[Any]:
            return redis.register_script(script)(keys=list(keys), args=list(arguments))

        return await self._connection.call(run)


def _name(kind: str, key: SentenceKey) -> str:
    whose = ":".join(map(_part, (key.tenant_id, key.personality_id, key.sample_hash)))
    return f"audio:{kind}:{whose}:{key.settings}"


def _index(tenant_id: str) -> tuple[str, str]:
    return f"audio:s:{_part(tenant_id)}", f"audio:b:{_part(tenant_id)}"


def _purge(tenant_id: str) -> str:
    return f"audio:p:{_part(tenant_id)}"


def _part(part: str) -> str:
    """A part of a name, so that no part reaches into the next one."""
    return part.replace("%", "%25").replace(":", "%3A") or "-"


def _literally(part: str) -> str:
    return re.sub(r"([\\*?\[\]^-])", r"\\\1", part)


def _sealed(written: bytes) -> bytes:
    return zlib.crc32(written).to_bytes(_SEAL_BYTES) + written


def _looked_up(key: SentenceKey, told: int | bytes) -> Lookup | Claim | CachedSentence:
    if isinstance(told, bytes):
        return _read(told) or Lookup.KEPT
    known = {0: Lookup.KEPT, -1: Lookup.BUSY}
    return known.get(told) or Claim(key, told)


def _written(sentence: CachedSentence) -> bytes:
    words = [(word.word, word.start, word.end) for word in sentence.words]
    head = json.dumps(
        {
            "voice": sentence.voice,
            "rate": sentence.sample_rate,
            "match": sentence.match,
            "words": words,
            "gain": sentence.gain,
        }
    )
    samples = np.rint(np.clip(sentence.samples, -1, 1) * 32767).astype("<i2")
    return head.encode() + b"\n" + samples.tobytes()


def _read(data: bytes) -> CachedSentence | None:
    """Reads an entry; None when it is not what was written, and would be heard as noise."""
    seal, written = data[:_SEAL_BYTES], memoryview(data)[_SEAL_BYTES:]
    if seal != zlib.crc32(written).to_bytes(_SEAL_BYTES):
        return None
    end = data.index(b"\n", _SEAL_BYTES)
    fields = json.loads(data[_SEAL_BYTES:end])
    samples = np.frombuffer(data, "<i2", offset=end + 1)
    return CachedSentence(
        samples=samples * np.float32(1 / 32767),
        sample_rate=int(fields["rate"]),
        voice=str(fields["voice"]),
        match=fields.get("match"),
        words=tuple(WordTiming(*word) for word in fields.get("words", ())),
        gain=fields.get("gain"),
    )
