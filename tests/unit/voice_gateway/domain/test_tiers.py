from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest

from voice_gateway.domain.errors import PlanLimitError
from voice_gateway.domain.tiers import (
    LIMITS,
    Allowance,
    Limits,
    Overrides,
    Plan,
    Stock,
    Tier,
    month_of,
    next_month,
)


def test_every_tier_gives_more_than_the_one_below() -> None:
    tiers = [LIMITS[tier] for tier in Tier]
    for lower, higher in pairwise(tiers):
        for name in Limits.model_fields:
            assert getattr(lower, name) <= getattr(higher, name)
        assert lower != higher


def test_every_stock_allowance_and_override_has_its_limit() -> None:
    assert {*Stock, *Allowance} <= set(Limits.model_fields)
    assert set(Overrides.model_fields) == set(Limits.model_fields)


def test_what_was_promised_comes_before_the_tier() -> None:
    plan = Plan(tier=Tier.BASIC, overrides=Overrides(personalities=0, cloning=False))
    assert plan.ceiling(Stock.PERSONALITIES).limit == 0
    assert plan.ceiling(Stock.SAMPLES).limit == LIMITS[Tier.BASIC].samples
    assert plan.allowance(Allowance.CHARACTERS) == LIMITS[Tier.BASIC].characters
    with pytest.raises(PlanLimitError):
        plan.require_cloning()
    Plan(tier=Tier.FREE, overrides=Overrides(cloning=True)).require_cloning()


@pytest.mark.parametrize(
    ("now", "month", "after"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01", datetime(2026, 2, 1, tzinfo=UTC)),
        (
            datetime(2026, 11, 30, 23, 59, 59, 999999, tzinfo=UTC),
            "2026-11",
            datetime(2026, 12, 1, tzinfo=UTC),
        ),
        (datetime(2026, 12, 31, 12, tzinfo=UTC), "2026-12", datetime(2027, 1, 1, tzinfo=UTC)),
        (
            datetime(2027, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))),
            "2026-12",
            datetime(2027, 1, 1, tzinfo=UTC),
        ),
    ],
)
def test_months_begin_in_utc(now: datetime, month: str, after: datetime) -> None:
    assert month_of(now) == month
    assert next_month(now) == after
