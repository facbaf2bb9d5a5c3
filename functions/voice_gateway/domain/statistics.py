"""How speech went: counters in buckets of time, and the figures that are read from them.

A receipt becomes counters, one set for each provider that had a part in it. Counters of the same
provider and time add up, whoever counted them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict

from voice_gateway.domain.histogram import bin_of, percentile
from voice_gateway.domain.money import FREE, Usd, from_micro, to_micro
from voice_gateway.domain.receipt import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voice_gateway.domain.receipt import Attempt, Receipt

CANCELLED: Final = "cancelled"
_STATIC_REASONS: Final = frozenset({"not_configured", "language", "cannot_clone"})
"""Why a provider is passed over every time: nothing happened that is worth counting."""
_ASKED: Final = (Outcome.SERVED, Outcome.FAILED, Outcome.HEDGE_LOST)


@dataclass(frozen=True, slots=True)
class Bucket:
    """How long a set of counters counts."""

    name: str
    length: timedelta
    kept_for: timedelta

    def start(self, when: datetime) -> datetime:
        """When the bucket begins that holds a moment; days begin at midnight UTC."""
        seconds = int(self.length.total_seconds())
        return datetime.fromtimestamp(int(when.timestamp()) // seconds * seconds, UTC)


_FIVE_MINUTES: Final = Bucket("5M", timedelta(minutes=5), timedelta(hours=2))
_HOUR: Final = Bucket("1H", timedelta(hours=1), timedelta(hours=26))
_DAY: Final = Bucket("1D", timedelta(days=1), timedelta(days=32))
BUCKETS: Final = (_FIVE_MINUTES, _HOUR, _DAY)


class Window(StrEnum):
    """How far back figures look."""

    HOUR = "1h"
    DAY = "24h"
    MONTH = "30d"

    @property
    def bucket(self) -> Bucket:
        """What it is made of."""
        return {Window.HOUR: _FIVE_MINUTES, Window.DAY: _HOUR, Window.MONTH: _DAY}[self]

    def since(self, now: datetime) -> datetime:
        """When its first bucket begins: a whole window ago, or up to one bucket before."""
        span = {
            Window.HOUR: timedelta(hours=1),
            Window.DAY: timedelta(hours=24),
            Window.MONTH: timedelta(days=30),
        }[self]
        return self.bucket.start(now - span)


class Percentiles(BaseModel):
    """Milliseconds, each at most 2.5 % off; None while there is nothing to tell from."""

    model_config = ConfigDict(frozen=True)

    p50: float | None
    p95: float | None
    p99: float | None


class ProviderFigures(BaseModel):
    """How one provider did, whoever was asked for."""

    model_config = ConfigDict(frozen=True)

    requests: int
    """How often it was asked to speak."""
    served: int
    failures: dict[str, int]
    """By reason."""
    cache_hits: int
    """Sentences of its own that it did not have to speak again."""
    passed_over: dict[str, int]
    """By reason, where it could have spoken: an open breaker, the budget."""
    hedges: int
    """How often it was started beside another one that let its listener wait."""
    races_lost: int
    """How often the other one was heard first."""
    first_audio_ms: Percentiles
    """From its own start."""
    total_ms: Percentiles
    """Of the turns that it ended."""
    characters: int
    cost_usd: Usd


class Figures(BaseModel):
    """How a tenant's speech went."""

    model_config = ConfigDict(frozen=True)

    window: Window
    since: datetime
    until: datetime
    requests: int
    failed: int
    """Nothing was heard."""
    failures: dict[str, int]
    """Failed attempts of all providers, by reason; most were rescued by the next one."""
    substituted: int
    incomplete: int
    cancelled: int
    """The listener hung up."""
    sentences: int
    cache_hits: int
    hedges: int
    first_audio_ms: Percentiles
    """As the listener had it: failed attempts included, their own pauses not."""
    total_ms: Percentiles
    characters: int
    """Of the texts."""
    cost_usd: Usd = FREE
    cost_saved_usd: Usd = FREE
    providers: dict[str, ProviderFigures]


def tallies(receipt: Receipt) -> dict[str, Counter[str]]:
    """What a receipt adds to the counters of which provider.

    The answer as a whole is counted with the provider that was asked for.
    """
    counted: dict[str, Counter[str]] = {}
    for attempt in receipt.attempts:
        if attempt.outcome is Outcome.PASSED_OVER and attempt.reason in _STATIC_REASONS:
            continue
        counted.setdefault(attempt.provider, Counter()).update(_of_attempt(attempt))
    counted.setdefault(receipt.asked.provider, Counter()).update(_of_answer(receipt))
    return counted


def figures(
    window: Window,
    since: datetime,
    until: datetime,
    counted: Mapping[str, Mapping[str, int]],
) -> Figures:
    """Reads the counters of a window, by provider."""
    every: Counter[str] = Counter()
    for counters in counted.values():
        every.update(counters)
    return Figures(
        window=window,
        since=since,
        until=until,
        requests=every["answers"],
        failed=every["answers_failed"],
        failures=_by_reason(every, Outcome.FAILED),
        substituted=every["answers_substituted"],
        incomplete=every["answers_incomplete"],
        cancelled=every["answers_cancelled"],
        sentences=every["answers_sentences"],
        cache_hits=every["answers_cache_hits"],
        hedges=every["hedges"],
        first_audio_ms=_percentiles(every, "answers_first"),
        total_ms=_percentiles(every, "answers_total"),
        characters=every["answers_characters"],
        cost_usd=from_micro(every["micro_usd"]),
        cost_saved_usd=from_micro(every["answers_saved_micro_usd"]),
        providers={
            name: _provider_figures(Counter(counters))
            for name, counters in sorted(counted.items())
            if any(not key.startswith("answers") for key in counters)
        },
    )


def _of_attempt(attempt: Attempt) -> Counter[str]:
    counters: Counter[str] = Counter({attempt.outcome.value: 1})
    if attempt.reason is not None:
        counters[f"{attempt.outcome.value}:{attempt.reason}"] = 1
    if attempt.outcome is Outcome.CACHED:
        counters["cache_hits"] = attempt.sentences
    counters["hedges"] = int(attempt.hedge)
    counters["characters"] = attempt.characters
    counters["micro_usd"] = to_micro(attempt.cost_usd)
    if attempt.first_audio_ms is not None:
        counters[f"first:{bin_of(attempt.first_audio_ms)}"] = 1
    if attempt.outcome is Outcome.SERVED and attempt.reason != CANCELLED:
        counters[f"total:{bin_of(attempt.elapsed_ms)}"] = 1
    return counters


def _of_answer(receipt: Receipt) -> Counter[str]:
    cancelled = any(a.reason == CANCELLED for a in receipt.attempts)
    counters = Counter(
        {
            "answers": 1,
            "answers_failed": int(not receipt.served and not cancelled),
            "answers_substituted": int(receipt.substituted),
            "answers_incomplete": int(bool(receipt.served) and not receipt.complete),
            "answers_cancelled": int(cancelled),
            "answers_sentences": receipt.sentences,
            "answers_cache_hits": receipt.cache_hits,
            "answers_characters": receipt.characters,
            "answers_saved_micro_usd": to_micro(receipt.cost_saved_usd),
        }
    )
    if receipt.first_audio_ms is not None:
        counters[f"answers_first:{bin_of(receipt.first_audio_ms)}"] = 1
    if receipt.served and not cancelled:
        counters[f"answers_total:{bin_of(receipt.total_ms)}"] = 1
    return counters


def _provider_figures(counters: Counter[str]) -> ProviderFigures:
    return ProviderFigures(
        requests=sum(counters[outcome.value] for outcome in _ASKED),
        served=counters[Outcome.SERVED.value],
        failures=_by_reason(counters, Outcome.FAILED),
        cache_hits=counters["cache_hits"],
        passed_over=_by_reason(counters, Outcome.PASSED_OVER),
        hedges=counters["hedges"],
        races_lost=counters[Outcome.HEDGE_LOST.value],
        first_audio_ms=_percentiles(counters, "first"),
        total_ms=_percentiles(counters, "total"),
        characters=counters["characters"],
        cost_usd=from_micro(counters["micro_usd"]),
    )


def _by_reason(counters: Mapping[str, int], outcome: Outcome) -> dict[str, int]:
    prefix = f"{outcome.value}:"
    found = {k.removeprefix(prefix): n for k, n in counters.items() if k.startswith(prefix)}
    return dict(sorted(found.items()))


def _percentiles(counters: Mapping[str, int], name: str) -> Percentiles:
    prefix = f"{name}:"
    bins = {int(k.removeprefix(prefix)): n for k, n in counters.items() if k.startswith(prefix)}
    return percentiles_of(bins)


def percentiles_of(bins: Mapping[int, int]) -> Percentiles:
    """Reads them from bins of `domain/histogram`."""
    return Percentiles(
        p50=percentile(bins, 0.50), p95=percentile(bins, 0.95), p99=percentile(bins, 0.99)
    )
