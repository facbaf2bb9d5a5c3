from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from voice_gateway.domain.ledger import Account, entries, month_of, next_month
from voice_gateway.domain.receipt import Asked, Attempt, Outcome, Receipt, Served
from voice_gateway.domain.statistics import BUCKETS, Window, figures, tallies

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def receipt(*attempts: Attempt, **changes: object) -> Receipt:
    values: dict[str, object] = {
        "request_id": "r1",
        "personality": "marcel",
        "asked": Asked(provider="google", voice=None, quality="high"),
        "served": (Served(provider="piper", voice="v", sentences=2),),
        "substituted": True,
        "complete": True,
        "attempts": attempts,
        "sentences": 2,
        "first_audio_ms": 120.0,
        "total_ms": 900.0,
        "audio_seconds": 4.0,
        "real_time_factor": 0.2,
        "characters": 90,
        "cost_usd": sum((a.cost_usd for a in attempts), Decimal(0)),
        "cost_saved_usd": sum((a.cost_saved_usd for a in attempts), Decimal(0)),
        "format": "wav",
        "sample_rate": 24_000,
    }
    return Receipt.model_validate({**values, **changes})


FAILED = Attempt(
    provider="google",
    outcome=Outcome.FAILED,
    reason="timeout",
    characters=40,
    cost_usd=Decimal("0.00064"),
)
SPOKE = Attempt(
    provider="piper",
    outcome=Outcome.SERVED,
    sentences=2,
    characters=90,
    first_audio_ms=20.0,
    elapsed_ms=700.0,
    cost_saved_usd=Decimal("0.0001"),
)
ABSENT = Attempt(provider="styletts2", outcome=Outcome.PASSED_OVER, reason="not_configured")
SHUT = Attempt(provider="azure", outcome=Outcome.PASSED_OVER, reason="breaker_open:quota")
LOSER = Attempt(
    provider="google", outcome=Outcome.HEDGE_LOST, hedge=True, characters=5, cost_usd=Decimal(1)
)


def test_a_receipt_is_booked_with_everybody_who_worked_on_it() -> None:
    booked = {
        (account, name): sums
        for account, name, sums in entries(receipt(FAILED, ABSENT, SPOKE, LOSER))
    }
    assert set(booked) == {
        (Account.PROVIDER, "google"),
        (Account.PROVIDER, "piper"),
        (Account.PERSONALITY, "marcel"),
    }
    assert booked[Account.PROVIDER, "google"]["micro_usd"] == 1_000_640
    assert booked[Account.PROVIDER, "google"]["characters"] == 45
    assert booked[Account.PROVIDER, "google"]["requests"] == 1
    assert booked[Account.PROVIDER, "piper"]["saved_micro_usd"] == 100
    assert booked[Account.PERSONALITY, "marcel"]["micro_usd"] == 1_000_640
    assert booked[Account.PERSONALITY, "marcel"]["saved_micro_usd"] == 100


def test_months_are_utc_and_end() -> None:
    west = datetime.fromisoformat("2026-12-31T20:00:00-05:00")
    assert month_of(west) == "2027-01"
    assert next_month(west) == datetime(2027, 2, 1, tzinfo=UTC)
    assert next_month(datetime(2026, 12, 31, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert next_month(datetime(2026, 11, 30, tzinfo=UTC)) == datetime(2026, 12, 1, tzinfo=UTC)


def test_figures_say_what_receipts_said() -> None:
    counted = tallies(receipt(ABSENT, SHUT, FAILED, SPOKE, LOSER, cache_hits=1))
    found = figures(Window.HOUR, NOON, NOON, counted)
    assert (found.requests, found.failed, found.substituted, found.incomplete) == (1, 0, 1, 0)
    assert (found.sentences, found.cache_hits, found.hedges, found.cancelled) == (2, 1, 1, 0)
    assert found.failures == {"timeout": 1}
    assert (found.cost_usd, found.cost_saved_usd) == (Decimal("1.00064"), Decimal("0.0001"))
    assert found.characters == 90
    assert found.first_audio_ms.p99 == pytest.approx(120, rel=0.025)
    assert found.total_ms.p50 == pytest.approx(900, rel=0.025)
    # Who was never going to be asked is nowhere.
    assert list(found.providers) == ["azure", "google", "piper"]
    google, piper = found.providers["google"], found.providers["piper"]
    assert (google.requests, google.served, google.races_lost) == (2, 0, 1)
    assert google.first_audio_ms.p50 is None
    assert (piper.requests, piper.served, piper.failures) == (1, 1, {})
    assert piper.first_audio_ms.p95 == pytest.approx(20, rel=0.025)
    assert found.providers["azure"].passed_over == {"breaker_open:quota": 1}
    assert found.providers["azure"].requests == 0


def test_what_came_from_the_cache_was_asked_of_nobody() -> None:
    kept = Attempt(
        provider="google", outcome=Outcome.CACHED, sentences=2, cost_saved_usd=Decimal("0.00144")
    )
    answer = receipt(kept, served=(Served(provider="google", voice="v", sentences=2),))
    found = figures(Window.HOUR, NOON, NOON, tallies(answer))
    google = found.providers["google"]
    assert (google.requests, google.cache_hits, google.cost_usd) == (0, 2, 0)
    assert found.cost_saved_usd == Decimal("0.00144")
    booked = {name: sums for _, name, sums in entries(answer)}
    assert booked["google"]["saved_micro_usd"] == booked["marcel"]["saved_micro_usd"] == 1440


def test_an_answer_that_never_was_and_one_that_nobody_waited_for_differ() -> None:
    dead = receipt(FAILED, served=(), complete=False, first_audio_ms=None)
    found = figures(Window.HOUR, NOON, NOON, tallies(dead))
    assert (found.failed, found.incomplete, found.cancelled) == (1, 0, 0)
    assert found.total_ms.p50 is None
    left = Attempt(provider="piper", outcome=Outcome.SERVED, reason="cancelled")
    gone = receipt(left, served=(), complete=False, first_audio_ms=None)
    found = figures(Window.HOUR, NOON, NOON, tallies(gone))
    assert (found.failed, found.incomplete, found.cancelled) == (0, 0, 1)


@pytest.mark.parametrize("window", Window)
def test_a_window_holds_its_length_and_at_most_one_bucket_more(window: Window) -> None:
    length = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "30d": timedelta(days=30)}[window]
    for seconds in (0, 1, 59, 299, 300, 3599, 3600, 86_399, 86_400):
        now = NOON + timedelta(seconds=seconds)
        since = window.since(now)
        assert length <= now - since < length + window.bucket.length
        assert window.bucket.start(since) == since
        # Nothing that a window still looks at may be forgotten.
        assert since + window.bucket.length + window.bucket.kept_for > now


def test_buckets_begin_where_clocks_do() -> None:
    when = datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC)
    assert [f"{bucket.start(when):%dT%H:%M:%S}" for bucket in BUCKETS] == [
        "01T23:55:00",
        "01T23:00:00",
        "01T00:00:00",
    ]
    assert {b.start(when + timedelta(microseconds=1)) for b in BUCKETS} == {
        datetime(2026, 3, 2, tzinfo=UTC)
    }
