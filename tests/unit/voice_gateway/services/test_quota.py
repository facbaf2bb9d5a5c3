from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fakes.clock import FakeClock
from fakes.tenants import FakeTenants
from fakes.usage import FakeUsage
from voice_gateway.domain.errors import QuotaExceededError
from voice_gateway.domain.tiers import Allowance, Overrides, Plan
from voice_gateway.services.quota import PLAN_KEPT_SECONDS, CharacterQuota

SPOKEN = Allowance.CHARACTERS
LATE = datetime(2026, 3, 31, 23, 59, 50, tzinfo=UTC)


def used(usage: FakeUsage, month: str = "2026-03") -> int:
    return usage.used("shop", month)[SPOKEN]


@pytest.fixture
def usage() -> FakeUsage:
    return FakeUsage()


@pytest.fixture
def tenants() -> FakeTenants:
    return FakeTenants(Plan(overrides=Overrides(characters=100)))


def test_takes_all_or_nothing(tenants: FakeTenants, usage: FakeUsage) -> None:
    quota = CharacterQuota(tenants, usage, FakeClock(LATE))
    quota.reserve("shop", SPOKEN, 60)
    with pytest.raises(QuotaExceededError) as caught:
        quota.reserve("shop", SPOKEN, 41)
    error = caught.value
    assert (error.limit, error.usage, error.retry_after) == (100, 60, 11)
    assert error.resets_at == datetime(2026, 4, 1, tzinfo=UTC)
    assert "40 are left; this needs 41" in error.message
    quota.reserve("shop", SPOKEN, 40)
    assert used(usage) == 100
    quota.reserve("other", SPOKEN, 100)


def test_an_answer_counts_for_the_month_in_which_it_began(
    tenants: FakeTenants, usage: FakeUsage
) -> None:
    clock = FakeClock(LATE)
    quota = CharacterQuota(tenants, usage, clock)
    reservation = quota.reserve("shop", SPOKEN, 100)
    clock.advance(10)
    quota.reserve("shop", SPOKEN, 70)
    quota.settle(reservation, 30)
    assert (used(usage), used(usage, "2026-04")) == (30, 70)


def test_what_was_spoken_may_be_more_than_what_was_reserved(
    tenants: FakeTenants, usage: FakeUsage
) -> None:
    """Unicode's composed form of a few letters is longer than they came."""
    quota = CharacterQuota(tenants, usage, FakeClock(LATE))
    quota.settle(quota.reserve("shop", SPOKEN, 100), 101)
    assert used(usage) == 101
    with pytest.raises(QuotaExceededError, match="0 are left"):
        quota.reserve("shop", SPOKEN, 1)


def test_another_plan_holds_within_a_minute(tenants: FakeTenants, usage: FakeUsage) -> None:
    clock = FakeClock()
    quota = CharacterQuota(tenants, usage, clock)
    quota.reserve("shop", SPOKEN, 100)
    tenants.put("shop", Plan(overrides=Overrides(characters=200)))
    tenants.broken = True  # asking again would be one more thing to wait for
    with pytest.raises(QuotaExceededError):
        quota.reserve("shop", SPOKEN, 1)
    tenants.broken = False
    clock.advance(PLAN_KEPT_SECONDS)
    quota.reserve("shop", SPOKEN, 100)
