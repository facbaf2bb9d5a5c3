from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fakes.audio_cache import FakeAudioCache
from fakes.clock import FakeClock
from voice_gateway.adapters import redis_audio_cache, redis_connection
from voice_gateway.adapters.redis_audio_cache import RedisAudioCache
from voice_gateway.adapters.redis_connection import RedisConnection
from voice_gateway.adapters.system_clock import SystemClock
from voice_gateway.domain.audio_cache import CachedSentence, Claim, Lookup, SentenceKey
from voice_gateway.domain.errors import StorageUnavailableError
from voice_gateway.domain.speech import WordTiming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from conftest import RedisServer
    from voice_gateway.ports import AudioCache, Clock

pytestmark = pytest.mark.integration

KEY = SentenceKey(tenant_id="shop", personality_id="marcel", sample_hash="", settings="a" * 64)
OTHER = replace(KEY, settings="b" * 64)


def sentence(value: float = 0.25, size: int = 1000) -> CachedSentence:
    return CachedSentence(
        samples=np.full(size, value, np.float32),
        sample_rate=22_050,
        voice="budtender/marcel",
        match=0.75,
        gain=1.7,
        words=(WordTiming("Grüß", 0.0, 0.25), WordTiming("\n", 0.25, 1 / 3)),
    )


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is not away because this machine has other things to do."""
    monkeypatch.setattr(redis_connection, "ANSWER_SECONDS", 10.0)
    monkeypatch.setattr(redis_connection, "CONNECT_SECONDS", 10.0)


@asynccontextmanager
async def connected(url: str, clock: Clock | None = None) -> AsyncIterator[RedisAudioCache]:
    connection = RedisConnection(url, SystemClock())
    yield RedisAudioCache(connection, clock or SystemClock())
    await connection.aclose()


@pytest.fixture(params=["fake", "redis"])
async def cache(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[AudioCache]:
    if request.param == "fake":
        yield FakeAudioCache()
        return
    async with connected(redis_url) as found:
        yield found


async def kept(cache: AudioCache, key: SentenceKey, value: float = 0.25) -> None:
    await cache.keep(key, sentence(value), None, since=Claim(key, 10**9))


async def claimed(cache: AudioCache, key: SentenceKey) -> Claim:
    [found] = await cache.look_up([key])
    assert isinstance(found, Claim)
    return found


async def there(cache: AudioCache, keys: Sequence[SentenceKey]) -> list[bool]:
    found = await cache.look_up(keys)
    assert not any(isinstance(one, CachedSentence) for one in found[1:])
    return [one is Lookup.KEPT or isinstance(one, CachedSentence) for one in found]


async def test_a_look_claims_nothing(cache: AudioCache) -> None:
    await kept(cache, KEY)
    assert await cache.holds([OTHER, KEY]) == [False, True]
    assert await cache.holds([]) == []
    await claimed(cache, OTHER)


async def test_what_is_kept_comes_back_as_it_was(cache: AudioCache) -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, 22_050).astype(np.float32)
    claim = await claimed(cache, KEY)
    await cache.keep(KEY, replace(sentence(), samples=noise), claim)
    for found in (await cache.fetch(KEY), *await cache.look_up([KEY])):
        assert isinstance(found, CachedSentence)
        assert (found.sample_rate, found.voice) == (22_050, "budtender/marcel")
        assert (found.match, found.words) == (sentence().match, sentence().words)
        assert found.gain == 1.7
        assert np.abs(found.samples - noise).max() <= 0.5 / 32767 + 1e-6


async def test_the_first_sentence_comes_with_the_look_and_the_others_are_fetched(
    cache: AudioCache,
) -> None:
    await kept(cache, KEY)
    await kept(cache, OTHER)
    first, second = await cache.look_up([OTHER, KEY])
    assert isinstance(first, CachedSentence)
    assert second is Lookup.KEPT


async def test_nothing_is_nothing(cache: AudioCache) -> None:
    assert await cache.look_up([]) == []
    assert await cache.fetch(KEY) is None
    assert await cache.wait_for(KEY, 0) is None
    await cache.give_up([])
    await cache.renew([])


async def test_one_speaks_and_the_others_wait(cache: AudioCache) -> None:
    claim = await claimed(cache, KEY)
    busy, free = await cache.look_up([KEY, OTHER])
    assert busy is Lookup.BUSY
    assert isinstance(free, Claim)
    waiting = [asyncio.create_task(cache.wait_for(KEY, 20)) for _ in range(5)]
    await cache.renew([claim])
    await cache.keep(KEY, sentence(), claim)
    for found in await asyncio.gather(*waiting):
        assert found is not None
        assert found.samples.size == 1000


async def test_of_many_at_once_exactly_one_speaks(cache: AudioCache) -> None:
    found = await asyncio.gather(*(cache.look_up([KEY]) for _ in range(50)))
    assert sum(isinstance(one, Claim) for [one] in found) == 1
    assert sum(one is Lookup.BUSY for [one] in found) == 49


async def test_who_gives_up_lets_the_next_one_speak(cache: AudioCache) -> None:
    claim = await claimed(cache, KEY)
    waiting = asyncio.create_task(cache.wait_for(KEY, 20))
    await cache.give_up([claim])
    assert await waiting is None
    assert (await claimed(cache, KEY)).token > claim.token


async def test_what_comes_after_the_claim_was_lost_is_not_kept(cache: AudioCache) -> None:
    late = await claimed(cache, KEY)
    await cache.give_up([late])
    leader = await claimed(cache, KEY)
    await cache.keep(KEY, sentence(0.1), late)
    await cache.give_up([late])
    assert await cache.fetch(KEY) is None
    assert await cache.look_up([KEY]) == [Lookup.BUSY]
    await cache.keep(KEY, sentence(0.9), leader)
    found = await cache.fetch(KEY)
    assert found is not None
    assert found.samples[0] == pytest.approx(0.9, abs=1e-4)


@pytest.mark.parametrize(
    ("purge", "left"),
    [
        ({}, {4, 5, 6}),
        ({"personality_id": "marcel"}, {2, 3, 4, 5, 6}),
        ({"sample_hash": "f00"}, {0, 2, 4, 5, 6}),
        ({"personality_id": "shante", "sample_hash": "f00"}, {0, 1, 2, 4, 5, 6}),
        ({"sample_hash": ""}, {1, 3, 4, 5, 6}),
        ({"personality_id": "*"}, {0, 1, 2, 3, 4, 5, 6}),
    ],
)
async def test_a_purge_forgets_what_it_names_and_nothing_else(
    cache: AudioCache, purge: dict[str, str], left: set[int]
) -> None:
    mine = [
        replace(KEY, personality_id=personality, sample_hash=sample)
        for personality in ("marcel", "shante")
        for sample in ("", "f00")
    ]
    others = [
        replace(KEY, tenant_id="shop2"),
        replace(KEY, tenant_id="sho*"),
        replace(KEY, tenant_id="shop:marcel"),
    ]
    keys = [*mine, *others]
    for key in keys:
        await kept(cache, key)
    assert await cache.purge("shop", **purge) == len(keys) - len(left)
    assert {i for i, one in enumerate(await there(cache, keys)) if one} == left


async def test_what_is_being_spoken_during_a_purge_is_not_kept(cache: AudioCache) -> None:
    claim = await claimed(cache, KEY)
    await cache.purge("shop")
    await cache.keep(KEY, sentence(), claim)
    assert await cache.fetch(KEY) is None


async def test_nor_is_what_a_substitute_speaks_meanwhile_who_has_no_claim(
    cache: AudioCache,
) -> None:
    elsewhere = replace(OTHER, tenant_id="else")
    before = await claimed(cache, KEY)
    await cache.purge("shop", personality_id="marcel")
    await cache.keep(OTHER, sentence(), None, since=before)
    await cache.keep(OTHER, sentence(), None)
    await cache.keep(elsewhere, sentence(), None, since=before)
    assert await cache.fetch(OTHER) is None
    assert await cache.fetch(elsewhere) is not None
    after = await claimed(cache, KEY)
    await cache.keep(OTHER, sentence(), None, since=after)
    assert await cache.fetch(OTHER) is not None


class TestRedis:
    async def test_a_purge_finds_each_of_very_many(self, redis_url: str) -> None:
        async with connected(redis_url) as cache:
            keys = [replace(KEY, settings=f"{i:064x}") for i in range(2000)]
            for start in range(0, len(keys), 50):
                few = keys[start : start + 50]
                await asyncio.gather(*(cache.keep(k, sentence(size=1), None) for k in few))
            await kept(cache, replace(KEY, tenant_id="else"))
            assert await cache.purge("shop") == 2000
            assert await cache.purge("else") == 1

    async def test_everything_expires(self, redis_url: str) -> None:
        from redis.asyncio import Redis

        async with connected(redis_url) as cache:
            await claimed(cache, OTHER)
            await kept(cache, KEY)
            await cache.purge("else")
            redis = Redis.from_url(redis_url)
            ttl = {key.decode(): await redis.ttl(key) async for key in redis.scan_iter()}
            await redis.aclose()
        assert len(ttl) == 6
        assert all(seconds > 0 for seconds in ttl.values())
        assert next(s for k, s in ttl.items() if k.startswith("audio:e:")) > 86_000
        assert next(s for k, s in ttl.items() if k.startswith("audio:l:")) <= 15

    async def test_a_dead_functions_claim_ends(
        self, redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_audio_cache, "CLAIM_SECONDS", 1)
        async with connected(redis_url) as cache:
            await claimed(cache, KEY)
            assert await cache.wait_for(KEY, 20) is None
            await claimed(cache, KEY)

    async def test_a_tenant_keeps_no_more_than_its_share(
        self, redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_audio_cache, "MAX_TENANT_BYTES", 10_000)
        clock = FakeClock()
        async with connected(redis_url, clock) as cache:
            keys = [replace(KEY, settings=f"{i:064x}") for i in range(12)]
            elsewhere = replace(KEY, tenant_id="else")
            await kept(cache, elsewhere)
            for key in keys:
                clock.advance(1)
                await kept(cache, key)  # some 2 kB each
            found = await there(cache, [*keys, elsewhere])
            assert found == [False] * 8 + [True] * 4 + [True]
            # The same sentence again takes no more room, and what was purged takes none.
            for _ in range(5):
                await kept(cache, keys[-1])
            assert await there(cache, keys[-4:]) == [True] * 4
            assert await cache.purge("shop") == 4
            for key in keys[:4]:
                await kept(cache, key)
            assert await there(cache, keys[1:4]) == [True] * 3

    async def test_what_is_too_big_is_not_kept(
        self, redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_audio_cache, "MAX_ENTRY_BYTES", 1000)
        async with connected(redis_url) as cache:
            claim = await claimed(cache, KEY)
            await cache.keep(KEY, sentence(), claim)
            await claimed(cache, KEY)

    @pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "empty"])
    async def test_a_damaged_entry_is_none(self, redis_url: str, damage: str) -> None:
        from redis.asyncio import Redis

        async with connected(redis_url) as cache:
            await kept(cache, KEY)
            redis = Redis.from_url(redis_url)
            [name] = [key async for key in redis.scan_iter("audio:e:*")]
            whole = await redis.get(name)
            assert isinstance(whole, bytes)
            damaged = {
                "cut": whole[:-2],
                "flipped": whole[:-100] + bytes([whole[-100] ^ 0x40]) + whole[-99:],
                "foreign": b"not what we write",
                "empty": b"",
            }
            await redis.set(name, damaged[damage])
            await redis.aclose()
            assert await cache.fetch(KEY) is None
            assert await cache.wait_for(KEY, 0) is None
            await kept(cache, KEY)
            assert await cache.fetch(KEY) is not None

    async def test_a_redis_without_room_keeps_nothing_and_stops_nobody(
        self, own_redis: RedisServer
    ) -> None:
        from redis.asyncio import Redis

        redis = Redis.from_url(own_redis.url)
        await redis.config_set("maxmemory", "1")
        await redis.aclose()
        async with connected(own_redis.url) as cache:
            assert await cache.look_up([KEY]) == [Lookup.UNKNOWN]
            await cache.keep(KEY, sentence(), None)
            assert await cache.fetch(KEY) is None

    async def test_a_redis_that_is_only_a_replica_now_stops_nobody(
        self, own_redis: RedisServer
    ) -> None:
        from redis.asyncio import Redis

        redis = Redis.from_url(own_redis.url)
        await redis.replicaof("127.0.0.1", "9")
        await redis.aclose()
        async with connected(own_redis.url) as cache:
            assert await cache.look_up([KEY]) == [Lookup.UNKNOWN]
            await cache.keep(KEY, sentence(), None)

    async def test_without_redis_everything_goes_on(self, own_redis: RedisServer) -> None:
        async with connected(own_redis.url) as cache:
            claim = await claimed(cache, KEY)
            own_redis.stop()
            assert await cache.look_up([KEY, OTHER]) == [Lookup.UNKNOWN] * 2
            assert await cache.holds([KEY, OTHER]) == [False] * 2
            assert await cache.fetch(KEY) is None
            assert await cache.wait_for(KEY, 5) is None
            await cache.keep(KEY, sentence(), claim)
            await cache.renew([claim])
            await cache.give_up([claim])
            with pytest.raises(StorageUnavailableError):
                await cache.purge("shop")

    async def test_where_there_is_no_redis_nothing_is_left_to_purge(self) -> None:
        async with connected("") as cache:
            assert await cache.look_up([KEY]) == [Lookup.UNKNOWN]
            assert await cache.purge("shop") == 0
