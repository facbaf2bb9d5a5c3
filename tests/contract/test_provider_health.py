"""Provider health: the same cases in memory, in a real Redis, and in memory for want of one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from fakes.clock import FakeClock
from voice_gateway.adapters.health_store import (
    EitherHealthStore,
    HealthStore,
    MemoryHealthStore,
    RedisHealthStore,
)
from voice_gateway.adapters.redis_connection import AWAY_SECONDS, RedisConnection
from voice_gateway.adapters.stored_health import VIEW_SECONDS, StoredHealth
from voice_gateway.domain.errors import FailureReason
from voice_gateway.domain.health import FAILURES_IN_A_ROW, TRIAL_SECONDS, Failure, Heard

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from conftest import RedisServer

DOWN = Failure(FailureReason.UNAVAILABLE)
SPOKE = Heard(first_audio_ms=120.0, total_ms=900.0)
BUSY = 64


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "redis", "redis away"])
async def store(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncGenerator[HealthStore]:
    if request.param == "memory":
        yield MemoryHealthStore()
        return
    url = "redis://127.0.0.1:1"
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    connection = RedisConnection(url, clock)
    shared = RedisHealthStore(connection)
    yield shared if request.param == "redis" else EitherHealthStore(shared, MemoryHealthStore())
    await connection.aclose()


@pytest.fixture
def health(store: HealthStore, clock: FakeClock) -> StoredHealth:
    return StoredHealth(store, clock)


async def fail(health: StoredHealth, times: int = FAILURES_IN_A_ROW, tenant: str = "demo") -> None:
    for _ in range(times):
        await health.report("piper", tenant, DOWN, trial=False)


async def test_all_is_well_until_somebody_says_otherwise(health: StoredHealth) -> None:
    assert await health.standings("demo") == {}
    await health.report("piper", "demo", SPOKE, trial=False)
    await fail(health, FAILURES_IN_A_ROW - 1)
    await health.report("piper", "demo", SPOKE, trial=False)
    await fail(health, FAILURES_IN_A_ROW - 1)
    assert await health.standings("demo") == {}


async def test_what_one_function_finds_out_another_one_knows(
    store: HealthStore, clock: FakeClock
) -> None:
    await fail(StoredHealth(store, clock))
    cold_start = StoredHealth(store, clock)
    found = (await cold_start.standings("another tenant"))["piper"]
    assert (found.reason, found.ajar) == ("unavailable", False)


async def test_what_a_function_knows_is_never_old(store: HealthStore, clock: FakeClock) -> None:
    one, other = StoredHealth(store, clock), StoredHealth(store, clock)
    assert await other.standings("demo") == {}
    await fail(one)
    clock.advance(VIEW_SECONDS + 0.01)
    assert "piper" in await other.standings("demo")


async def test_a_tenant_s_keys_are_the_tenant_s_own_trouble(health: StoredHealth) -> None:
    await health.report("google", "one", Failure(FailureReason.AUTH), trial=False)
    assert "google" in await health.standings("one")
    assert await health.standings("other") == {}
    await health.report("google", "one", Failure(FailureReason.QUOTA, 60.0), trial=False)
    assert "google" in await health.standings("other")


async def test_a_quota_stays_shut_until_its_reset(health: StoredHealth, clock: FakeClock) -> None:
    await health.report("azure", "demo", Failure(FailureReason.QUOTA, 5400.0), trial=False)
    clock.advance(5399)
    assert not (await health.standings("demo"))["azure"].ajar
    assert not await health.claim("azure", "demo")
    clock.advance(1)
    assert (await health.standings("demo"))["azure"].ajar
    assert await health.claim("azure", "demo")


async def test_one_request_tries_whoever_asks(store: HealthStore, clock: FakeClock) -> None:
    functions = [StoredHealth(store, clock) for _ in range(8)]
    await fail(functions[0])
    clock.advance(5)
    claims = [each.claim("piper", "demo") for each in functions for _ in range(BUSY // 8)]
    assert sum(await asyncio.gather(*claims)) == 1
    assert not (await functions[1].standings("demo"))["piper"].ajar


async def test_a_trial_that_is_heard_opens_the_door(health: StoredHealth, clock: FakeClock) -> None:
    await fail(health)
    clock.advance(5)
    assert await health.claim("piper", "demo")
    await health.report("piper", "demo", Heard(first_audio_ms=90.0), trial=True)
    assert await health.standings("demo") == {}
    # What closed it is forgotten, and must not close it again by one failure more.
    await fail(health, FAILURES_IN_A_ROW - 1)
    assert await health.standings("demo") == {}


async def test_a_trial_that_fails_keeps_it_shut_for_longer(
    health: StoredHealth, clock: FakeClock
) -> None:
    await fail(health)
    clock.advance(5)
    assert await health.claim("piper", "demo")
    await health.report("piper", "demo", DOWN, trial=True)
    clock.advance(9)
    assert not (await health.standings("demo"))["piper"].ajar
    clock.advance(1)
    assert (await health.standings("demo"))["piper"].ajar


@pytest.mark.parametrize("told", [True, False], ids=["given back", "its process died"])
async def test_a_trial_that_tells_nothing_leaves_the_place_to_the_next(
    health: StoredHealth, clock: FakeClock, told: bool
) -> None:
    await fail(health)
    clock.advance(5)
    assert await health.claim("piper", "demo")
    assert not await health.claim("piper", "demo")
    if told:
        await health.report("piper", "demo", None, trial=True)
    else:
        clock.advance(TRIAL_SECONDS)
    assert await health.claim("piper", "demo")


async def test_a_trial_that_hits_a_quota_gives_the_other_place_back(
    health: StoredHealth, clock: FakeClock
) -> None:
    await fail(health)
    clock.advance(5)
    assert await health.claim("piper", "demo")
    await health.report("piper", "demo", Failure(FailureReason.QUOTA, 30.0), trial=True)
    assert (await health.standings("demo"))["piper"].reason == "quota"
    clock.advance(30)
    assert await health.claim("piper", "demo")
    await health.report("piper", "demo", SPOKE, trial=True)
    assert await health.standings("demo") == {}


async def test_late_news_opens_nothing(health: StoredHealth) -> None:
    await fail(health)
    await health.report("piper", "demo", SPOKE, trial=False)
    assert "piper" in await health.standings("demo")


async def test_a_provider_that_fails_every_other_time_is_left_alone(health: StoredHealth) -> None:
    for _ in range(9):
        await health.report("piper", "demo", SPOKE, trial=False)
        await fail(health, 1)
    assert await health.standings("demo") == {}
    await health.report("piper", "demo", SPOKE, trial=False)
    await fail(health, 1)
    assert "piper" in await health.standings("demo")


async def test_busy_writers_lose_nothing(store: HealthStore, clock: FakeClock) -> None:
    functions = [StoredHealth(store, clock) for _ in range(BUSY)]
    failing = functions[:FAILURES_IN_A_ROW]
    await asyncio.gather(*(fail(each, 1) for each in failing))
    clock.advance(VIEW_SECONDS + 0.01)
    assert "piper" in await functions[-1].standings("demo")
    await asyncio.gather(*(each.report("xtts_v2", "t", SPOKE, trial=False) for each in functions))
    told = (await functions[0].overview(["xtts_v2", "piper"], "t"))["xtts_v2"]
    assert (told.good, told.bad) == (BUSY, 0)
    assert told.first_audio.p99 == pytest.approx(120, rel=0.03)
    assert told.total.p50 == pytest.approx(900, rel=0.03)


async def test_the_overview_looks_back_ten_minutes(health: StoredHealth, clock: FakeClock) -> None:
    await fail(health, 1)
    await health.report("piper", "demo", SPOKE, trial=False)
    clock.advance(600)
    (report,) = (await health.overview(["piper"], "demo")).values()
    assert (report.good, report.bad) == (1, 1)
    clock.advance(60)
    (report,) = (await health.overview(["piper"], "demo")).values()
    assert (report.good, report.bad, report.total.p50) == (0, 0, None)


async def test_a_redis_that_goes_away_and_comes_back_opens_no_door(
    own_redis: RedisServer, clock: FakeClock
) -> None:
    connection = RedisConnection(own_redis.url, clock)
    health = StoredHealth(
        EitherHealthStore(RedisHealthStore(connection), MemoryHealthStore()), clock
    )
    await health.report("azure", "demo", Failure(FailureReason.QUOTA, 5400.0), trial=False)
    own_redis.stop()
    clock.advance(1)
    assert "azure" in await health.standings("demo")
    await fail(health)
    assert "piper" in await health.standings("demo")
    clock.advance(5)
    assert await health.claim("piper", "demo")
    own_redis.start()
    clock.advance(AWAY_SECONDS)
    await health.report("google", "demo", Failure(FailureReason.QUOTA, 60.0), trial=False)
    assert "google" in await StoredHealth(RedisHealthStore(connection), clock).standings("demo")
    await connection.aclose()
