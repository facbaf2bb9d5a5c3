"""What a purge leaves of a voice in a real Redis: nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fakes.clock import FakeClock
from fakes.sample_house import SampleHouse
from voice_gateway.adapters import redis_connection
from voice_gateway.adapters.redis_audio_cache import RedisAudioCache
from voice_gateway.adapters.redis_connection import RedisConnection
from voice_gateway.adapters.redis_levels import RedisVoiceLevels
from voice_gateway.adapters.redis_voice_audio import RedisVoiceAudio
from voice_gateway.adapters.system_clock import SystemClock
from voice_gateway.domain.audio_cache import CachedSentence, Claim, SentenceKey
from voice_gateway.domain.errors import StorageUnavailableError
from voice_gateway.domain.samples.sample import SampleState
from voice_gateway.services.voice_consents import ConsentStatement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from conftest import RedisServer

pytestmark = pytest.mark.integration

VOICE, WINDOW = "a" * 64, "b" * 64
KEY = SentenceKey(
    tenant_id="shop", personality_id="marcel", sample_hash=VOICE, settings=f"{1:064x}"
)
THEIRS = (
    replace(KEY, tenant_id="other"),
    replace(KEY, personality_id="shante", sample_hash=""),
    replace(KEY, personality_id="marcel-2", sample_hash="c" * 64),
)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is not away because this machine has other things to do."""
    monkeypatch.setattr(redis_connection, "ANSWER_SECONDS", 10.0)
    monkeypatch.setattr(redis_connection, "CONNECT_SECONDS", 10.0)


def speak(url: str, keys: Sequence[SentenceKey], spoken_now: SentenceKey | None = None) -> None:
    """Keeps a sentence under each key, and how loud it was; one is just being spoken."""

    async def speaking() -> None:
        connection = RedisConnection(url, SystemClock())
        cache, levels = RedisAudioCache(connection, SystemClock()), RedisVoiceLevels(connection)
        said = CachedSentence(samples=np.full(100, 0.25, np.float32), sample_rate=8000, voice="v")
        for key in keys:
            await cache.keep(key, said, None)
            path = f"tenants/{key.tenant_id}/samples/{key.sample_hash}/original"
            await levels.remember(f"{path}:xtts_v2:{path}", -20.0)
        if spoken_now is not None:
            [claim] = await cache.look_up([spoken_now])
            assert isinstance(claim, Claim)
        await connection.aclose()

    asyncio.run(speaking())


def everything(url: str) -> dict[str, str]:
    """All that Redis holds: each name, and what it stands for."""

    async def read() -> dict[str, str]:
        from redis.asyncio import Redis

        redis, found = Redis.from_url(url), {}
        async for name in redis.scan_iter():
            kind = (await redis.type(name)).decode()
            reading: Any = {
                "string": lambda n: redis.get(n),
                "zset": lambda n: redis.zrange(n, 0, -1),
                "hash": lambda n: redis.hgetall(n),
            }[kind]
            found[name.decode()] = repr(await reading(name))
        await redis.aclose()
        return found

    return asyncio.run(read())


def entries(url: str) -> set[str]:
    return {name for name in everything(url) if name.startswith(("audio:e:", "audio:l:"))}


def test_a_voice_is_forgotten_whoever_spoke_in_it(redis_url: str) -> None:
    speak(redis_url, THEIRS)
    before = entries(redis_url)
    mine = [
        KEY,
        replace(KEY, sample_hash=""),
        replace(KEY, personality_id="shante"),
        replace(KEY, personality_id="shante", sample_hash=WINDOW),
    ]
    speak(redis_url, mine, spoken_now=replace(KEY, settings=f"{2:064x}"))
    RedisVoiceAudio(redis_url, SystemClock()).purge(
        "shop", personality_id="marcel", content_hashes=[VOICE, WINDOW]
    )
    assert entries(redis_url) == before
    # Nor do the lists of what a tenant keeps tell of it, nor the levels of voices.
    for name, held in everything(redis_url).items():
        if ":other" not in name:
            assert VOICE not in name + held
            assert WINDOW not in name + held


def test_a_revoked_consent_reaches_it(redis_url: str) -> None:
    audio = RedisVoiceAudio(redis_url, SystemClock())
    house = SampleHouse(wrap=lambda name, port: audio if name == "audio" else port)
    voice = house.validated()
    assert voice.content_hash is not None
    house.consents.give(
        "shop", "marcel", ConsentStatement(speaker="Zoé", attested_by="Max", by="key-1")
    )
    speak(redis_url, THEIRS)
    before = entries(redis_url)
    speak(redis_url, [replace(KEY, sample_hash=voice.content_hash), KEY])
    house.consents.revoke("shop", "marcel", "key-1")
    house.work_off()
    assert house.samples.get("shop", voice.id).state is SampleState.PURGED
    assert entries(redis_url) == before


def test_without_a_cache_there_is_nothing_to_forget() -> None:
    RedisVoiceAudio("", FakeClock()).purge("shop", personality_id="marcel", content_hashes=[VOICE])


def test_a_redis_that_is_away_is_told(own_redis: RedisServer) -> None:
    speak(own_redis.url, [KEY])
    own_redis.stop()
    audio = RedisVoiceAudio(own_redis.url, SystemClock())
    with pytest.raises(StorageUnavailableError):
        audio.purge("shop", personality_id="marcel", content_hashes=[VOICE])
