"""When a provider is left alone, and when it is tried again: doors that close and open.

A provider has a door for each kind of failure. One that is open lets every request through. What
fails closes it for a while; after that it stands ajar: one real request goes through, and what
becomes of it opens the door or closes it again, for twice as long.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.errors import FailureReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from voice_gateway.domain.statistics import Percentiles


class DoorKind(StrEnum):
    """What a door is about."""

    QUOTA = "quota"
    """Closed by the first refusal, until the reset that the provider named."""
    AUTH = "auth"
    """Closed by the first refusal, for the tenant alone whose keys were refused."""
    FAILURES = "failures"
    """Closed by failures in a row, or by many among few successes."""


KIND_OF: Final[Mapping[FailureReason, DoorKind]] = MappingProxyType(
    {
        FailureReason.QUOTA: DoorKind.QUOTA,
        FailureReason.AUTH: DoorKind.AUTH,
        FailureReason.TIMEOUT: DoorKind.FAILURES,
        FailureReason.UNAVAILABLE: DoorKind.FAILURES,
        FailureReason.BAD_AUDIO: DoorKind.FAILURES,
    }
)
"""`rejected` is in none: the request is at fault."""

FAILURES_IN_A_ROW: Final = 5
FAILING_SHARE: Final = 0.5
FAILING_AMONG: Final = 20
"""So many requests of the last one to two minutes must there be for their share to count."""
FIRST_PAUSE_SECONDS: Final[Mapping[DoorKind, float]] = MappingProxyType(
    {DoorKind.QUOTA: 60.0, DoorKind.AUTH: 60.0, DoorKind.FAILURES: 5.0}
)
"""How long a door stays closed where the provider named no time; then twice as long, and so on."""
LONGEST_PAUSE_SECONDS: Final[Mapping[DoorKind, float]] = MappingProxyType(
    {DoorKind.QUOTA: 900.0, DoorKind.AUTH: 900.0, DoorKind.FAILURES: 60.0}
)
LONGEST_QUOTA_SECONDS: Final = 31 * 24 * 3600.0
"""No quota lasts longer than a month, whatever a provider says."""
TRIAL_SECONDS: Final = 30.0
"""How long the one request at a door ajar may take to be heard; then another one may try. More than
any patience of `domain/chain.py`: a process may die with its trial."""


@dataclass(frozen=True, slots=True)
class Door:
    """One door. Times are seconds since the epoch, by the wall clock that all functions share."""

    closed_until: float = 0.0
    """0 when it is open."""
    reason: str = ""
    """The failure that closed it."""
    failures: int = 0
    """In a row, while it is open."""
    closings: int = 0
    """In a row: each one doubles the pause."""
    trial_until: float = 0.0
    """While somebody is trying."""
    opened: int = 0
    """How often it has opened again. Failures before that count no more."""

    def is_open(self) -> bool:
        """Whether everybody may pass."""
        return self.closed_until == 0.0

    def is_ajar(self, now: float) -> bool:
        """Whether one request may try."""
        return not self.is_open() and now >= max(self.closed_until, self.trial_until)

    def dump(self) -> str:
        """As a text for `load_door`: equal doors give equal texts, a new one an empty one."""
        told = {k: v for k, v in asdict(self).items() if v != getattr(_NEW, k)}
        return json.dumps(told, separators=(",", ":")) if told else ""


_NEW: Final = Door()


def load_door(text: str | None) -> Door:
    """Reads a door; one that nobody wrote, or that another release wrote otherwise, is open."""
    try:
        known = json.loads(text) if text else {}
        return Door(**{k: type(getattr(_NEW, k))(v) for k, v in known.items()})
    except (ValueError, TypeError, AttributeError):
        return _NEW


@dataclass(frozen=True, slots=True)
class Failure:
    """What a provider failed with, as far as its doors care."""

    reason: FailureReason
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Recently:
    """How the requests since the door opened ended."""

    good: int = 0
    bad: int = 0

    def mostly_bad(self) -> bool:
        """Whether too many of not too few failed."""
        total = self.good + self.bad
        return total >= FAILING_AMONG and self.bad >= FAILING_SHARE * total


def begin_trial(door: Door, now: float) -> Door:
    """Takes the one place at a door that is ajar."""
    return replace(door, trial_until=now + TRIAL_SECONDS)


def end_trial(door: Door) -> Door:
    """Gives the place back: what was tried told nothing."""
    return replace(door, trial_until=0.0)


def after_success(door: Door, *, trial: bool) -> Door:
    """What a request that was heard does to a door.

    Args:
        door: As it stands.
        trial: Whether the request was the one that tried. No other opens a closed door: it was
            let in before, and knows nothing of what closed it.
    """
    if door.is_open():
        return replace(door, failures=0) if door.failures else door
    return Door(opened=door.opened + 1) if trial else door


def after_failure(
    door: Door, kind: DoorKind, failure: Failure, now: float, *, trial: bool, recently: Recently
) -> Door:
    """What a failure of the door's own kind does to it.

    Args:
        door: As it stands.
        kind: What it is about.
        failure: What happened.
        now: Seconds since the epoch.
        trial: Whether the request was the one that tried.
        recently: How others fared, this one included.
    """
    if not door.is_open() and not trial:
        # Let in before it closed. Only a quota's later reset is news.
        told = _told_until(kind, failure, now)
        return door if told <= door.closed_until else replace(door, closed_until=told)
    failures = door.failures + 1
    in_a_row = FAILURES_IN_A_ROW if kind is DoorKind.FAILURES else 1
    if door.is_open() and failures < in_a_row and not recently.mostly_bad():
        return replace(door, failures=failures)
    pause = FIRST_PAUSE_SECONDS[kind] * 2.0 ** min(door.closings, 16)
    until = _told_until(kind, failure, now)
    return Door(
        closed_until=until or now + min(pause, LONGEST_PAUSE_SECONDS[kind]),
        reason=failure.reason.value,
        closings=door.closings + 1,
        opened=door.opened,
    )


def _told_until(kind: DoorKind, failure: Failure, now: float) -> float:
    """When the provider itself says that it can be asked again; 0 when it does not."""
    if kind is DoorKind.FAILURES or failure.retry_after_seconds is None:
        return 0.0
    return now + min(max(failure.retry_after_seconds, 1.0), LONGEST_QUOTA_SECONDS)


@dataclass(frozen=True, slots=True)
class Heard:
    """A provider spoke. What is None was told before, or will be."""

    first_audio_ms: float | None = None
    total_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A provider of which some door is not open."""

    reason: str
    """The `FailureReason` that closed it."""
    until: datetime
    """When somebody may try it next."""
    ajar: bool
    """Whether that time has come: whoever gets the one place may pass."""

    def __str__(self) -> str:
        return f"{self.reason} until {self.until:%Y-%m-%dT%H:%M:%SZ}"


def standing(doors: Iterable[Door], now: float) -> Standing | None:
    """Sums up a provider's doors; None when all are open."""
    shut = [door for door in doors if not door.is_open()]
    if not shut:
        return None
    last = max(shut, key=lambda door: max(door.closed_until, door.trial_until))
    until = max(last.closed_until, last.trial_until)
    return Standing(
        reason=last.reason,
        until=datetime.fromtimestamp(until, UTC),
        ajar=all(door.is_ajar(now) for door in shut),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderReport:
    """How a provider has been of late."""

    standing: Standing | None
    """None when nothing keeps requests from it."""
    good: int
    bad: int
    """Turns that ended well and badly."""
    first_audio: Percentiles
    total: Percentiles
