"""The allowance of hedges: the same cases on the fake's rules, a real Redis, and without one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from fakes.clock import FakeClock
from voice_gateway.adapters.redis_connection import RedisConnection
from voice_gateway.adapters.shared_hedges import SAVED_HEDGES, SharedHedges

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@pytest.fixture(params=["redis", "redis away", "none"])
async def connection(request: pytest.FixtureRequest) -> AsyncGenerator[RedisConnection]:
    urls = {"redis away": "redis://127.0.0.1:1", "none": ""}
    if request.param == "redis":
        urls["redis"] = request.getfixturevalue("redis_url")
    made = RedisConnection(urls[request.param], FakeClock())
    yield made
    await made.aclose()


async def test_one_in_twenty(connection: RedisConnection) -> None:
    hedges = SharedHedges(connection, 5)
    taken = 0
    for _ in range(400):
        hedges.asked()
        taken += await hedges.take()
    assert taken == 20


async def test_savings_are_bounded(connection: RedisConnection) -> None:
    hedges = SharedHedges(connection, 5)
    for _ in range(10_000):
        hedges.asked()
    assert sum([await hedges.take() for _ in range(40)]) == SAVED_HEDGES


async def test_nothing_is_allowed_where_nothing_may_be_spent(connection: RedisConnection) -> None:
    hedges = SharedHedges(connection, 0)
    hedges.asked()
    assert not await hedges.take()


async def test_all_may_hedge_where_all_is_allowed(connection: RedisConnection) -> None:
    hedges = SharedHedges(connection, 100)
    for _ in range(30):
        hedges.asked()
        assert await hedges.take()
    assert not await hedges.take()


async def test_functions_share_what_they_saved(redis_url: str) -> None:
    connection = RedisConnection(redis_url, FakeClock())
    functions = [SharedHedges(connection, 5) for _ in range(8)]
    taken = 0
    for _ in range(50):
        for each in functions:
            each.asked()
        taken += sum(await asyncio.gather(*(each.take() for each in functions)))
    await connection.aclose()
    assert taken == 20
