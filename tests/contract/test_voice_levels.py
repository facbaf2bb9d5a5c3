from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from fakes.clock import FakeClock
from fakes.levels import FakeVoiceLevels
from voice_gateway.adapters import redis_connection
from voice_gateway.adapters.redis_connection import RedisConnection
from voice_gateway.adapters.redis_levels import RedisVoiceLevels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import RedisServer
    from voice_gateway.ports import VoiceLevels

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is not away because this machine has other things to do."""
    monkeypatch.setattr(redis_connection, "ANSWER_SECONDS", 10.0)
    monkeypatch.setattr(redis_connection, "CONNECT_SECONDS", 10.0)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RedisVoiceLevels]:
    connection = RedisConnection(url, FakeClock())
    yield RedisVoiceLevels(connection)
    await connection.aclose()


@pytest.fixture(params=["fake", "redis", "nowhere"])
async def levels(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[VoiceLevels]:
    if request.param == "fake":
        yield FakeVoiceLevels()
        return
    async with connected(redis_url if request.param == "redis" else "") as found:
        yield found


async def test_what_nobody_measured_is_not_known(levels: VoiceLevels) -> None:
    assert await levels.find("piper:marcel") is None


async def test_what_was_measured_is_known(levels: VoiceLevels) -> None:
    await levels.remember("piper:marcel", -23.5)
    assert await levels.find("piper:marcel") == -23.5
    assert await levels.find("piper:shante") is None


async def test_all_functions_use_what_the_first_one_measured(redis_url: str) -> None:
    async with connected(redis_url) as one, connected(redis_url) as other:
        await one.remember("piper:marcel", -23.5)
        await other.remember("piper:marcel", -20.0)
        assert await other.find("piper:marcel") == -23.5


async def test_without_redis_each_function_remembers_for_itself(own_redis: RedisServer) -> None:
    async with connected(own_redis.url) as levels:
        own_redis.stop()
        assert await levels.find("piper:marcel") is None
        await levels.remember("piper:marcel", -23.5)
        assert await levels.find("piper:marcel") == -23.5


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voice_gateway.adapters.redis_levels._MOST_VOICES", 3)
    async with connected("") as levels:
        for voice in range(10):
            await levels.remember(f"v{voice}", -20.0)
        assert [v for v in range(10) if await levels.find(f"v{v}") is not None] == [7, 8, 9]


@pytest.mark.parametrize("nonsense", ["nan", "inf", "loud", ""])
async def test_what_is_no_level_is_not_known(redis_url: str, nonsense: str) -> None:
    from redis.asyncio import Redis

    async with connected(redis_url) as one, connected(redis_url) as other:
        await one.remember("piper:marcel", -23.5)
        redis = Redis.from_url(redis_url)
        [key] = [key async for key in redis.scan_iter("level:*")]
        await redis.set(key, nonsense)
        await redis.aclose()
        assert await other.find("piper:marcel") is None
        await other.remember("piper:marcel", -20.0)
        assert await other.find("piper:marcel") == -20.0
