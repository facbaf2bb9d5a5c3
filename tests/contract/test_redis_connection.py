"""The way to Redis, on a real one: there, away, and back."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ResponseError

from fakes.clock import FakeClock
from voice_gateway.adapters.redis_connection import AWAY_SECONDS, RedisConnection
from voice_gateway.domain.errors import SharedStateUnavailableError

if TYPE_CHECKING:
    from conftest import RedisServer


async def set_a(connection: RedisConnection) -> object:
    return await connection.call(lambda redis: redis.set("a", b"1"))


async def test_does_what_it_is_asked(redis_url: str) -> None:
    async with aclosing(RedisConnection(redis_url, FakeClock())) as connection:
        await connection.warm_up()
        assert await set_a(connection)
        assert await connection.call(lambda redis: redis.get("a")) == b"1"


async def test_without_an_address_nobody_is_asked() -> None:
    connection = RedisConnection("", FakeClock())
    await connection.warm_up()
    with pytest.raises(SharedStateUnavailableError):
        await set_a(connection)


async def test_who_is_away_is_left_alone_for_a_while_and_then_found_again(
    own_redis: RedisServer,
) -> None:
    clock = FakeClock()
    asked = 0

    async def count(redis):  # type: ignore[no-untyped-def]
        nonlocal asked
        asked += 1
        return await redis.ping()

    async with aclosing(RedisConnection(own_redis.url, clock)) as connection:
        assert await connection.call(count)
        own_redis.stop()
        for _ in range(5):
            with pytest.raises(SharedStateUnavailableError):
                await connection.call(count)
        assert asked == 2
        clock.advance(AWAY_SECONDS)
        with pytest.raises(SharedStateUnavailableError):
            await connection.call(count)
        assert asked == 3
        own_redis.start()
        with pytest.raises(SharedStateUnavailableError):
            await connection.call(count)
        clock.advance(AWAY_SECONDS)
        assert await connection.call(count)
        assert await connection.call(count)


async def test_a_command_that_is_refused_is_a_bug_and_no_absence(redis_url: str) -> None:
    async with aclosing(RedisConnection(redis_url, FakeClock())) as connection:
        await set_a(connection)
        with pytest.raises(ResponseError):
            await connection.call(lambda redis: redis.lpush("a", b"x"))
        assert await connection.call(lambda redis: redis.get("a")) == b"1"


async def test_one_alone_finds_out_whether_it_is_back(own_redis: RedisServer) -> None:
    clock = FakeClock()
    async with aclosing(RedisConnection(own_redis.url, clock)) as connection:
        own_redis.stop()
        with pytest.raises(SharedStateUnavailableError):
            await set_a(connection)
        own_redis.start()
        clock.advance(AWAY_SECONDS)
        others = 0

        async def meanwhile(redis):  # type: ignore[no-untyped-def]
            nonlocal others
            with pytest.raises(SharedStateUnavailableError):
                await set_a(connection)
            others += 1
            return await redis.ping()

        assert await connection.call(meanwhile)
        assert others == 1
        assert await set_a(connection)
