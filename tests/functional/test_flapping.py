"""Sixty-four callers while providers come and go; `make soak` does it for a minute in real time."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fakes.flapping import TENANT, Crowd
from fakes.routing import FakeHedges, routed
from fakes.virtual_time import VirtualClock

pytestmark = pytest.mark.virtual_time

CALLERS, SECONDS = 64, 10.0


async def test_nobody_hears_another_s_words_or_pays_twice() -> None:
    clock = VirtualClock()
    hedges = FakeHedges(left=40)
    crowd = Crowd(clock, lambda registry: routed(registry, clock, hedges=hedges))
    report = await crowd.run(CALLERS, SECONDS)
    assert report.answers == hedges.requests > 4 * CALLERS
    # Whatever can happen did.
    seen = set(report.outcomes)
    for reason in ("unavailable", "quota", "timeout", "bad_audio"):
        assert f"failed {reason}" in seen
    assert {"passed_over breaker_open", "hedge_lost", "served"} <= seen
    assert any(a.cut for receipt in report.receipts for a in receipt.attempts)
    month = crowd.receipts.month(TENANT, "2026-03")
    booked = sum((sums.cost_usd for sums in month.providers.values()), Decimal(0))
    assert booked == sum((receipt.cost_usd for receipt in report.receipts), Decimal(0)) > 0
