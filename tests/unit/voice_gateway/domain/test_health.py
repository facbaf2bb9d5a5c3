from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.domain.errors import FailureReason
from voice_gateway.domain.health import (
    FAILING_AMONG,
    FAILURES_IN_A_ROW,
    FIRST_PAUSE_SECONDS,
    KIND_OF,
    LONGEST_PAUSE_SECONDS,
    LONGEST_QUOTA_SECONDS,
    TRIAL_SECONDS,
    Door,
    DoorKind,
    Failure,
    Recently,
    after_failure,
    after_success,
    begin_trial,
    end_trial,
    load_door,
    standing,
)

NOW = 1_800_000_000.0
DOWN = Failure(FailureReason.UNAVAILABLE)


def fail(
    door: Door,
    failure: Failure = DOWN,
    now: float = NOW,
    *,
    trial: bool = False,
    recently: Recently = Recently(),  # noqa: B008 - it is frozen
) -> Door:
    kind = KIND_OF[failure.reason]
    return after_failure(door, kind, failure, now, trial=trial, recently=recently)


def shut() -> Door:
    door = Door()
    for _ in range(FAILURES_IN_A_ROW):
        door = fail(door)
    return door


def test_some_failures_in_a_row_close_it_and_fewer_do_not() -> None:
    door = Door()
    for _ in range(FAILURES_IN_A_ROW - 1):
        door = fail(door)
    assert door.is_open()
    assert fail(after_success(door, trial=False)).is_open()
    door = fail(door)
    assert not door.is_open()
    assert door.closed_until == NOW + FIRST_PAUSE_SECONDS[DoorKind.FAILURES]
    assert door.reason == "unavailable"


def test_many_failures_among_few_successes_close_it() -> None:
    few = Recently(good=FAILING_AMONG // 2 - 1, bad=FAILING_AMONG // 2)
    enough = Recently(good=FAILING_AMONG // 2, bad=FAILING_AMONG // 2)
    mostly_good = Recently(good=FAILING_AMONG, bad=FAILING_AMONG // 2)
    assert fail(Door(), recently=few).is_open()
    assert fail(Door(), recently=mostly_good).is_open()
    assert not fail(Door(), recently=enough).is_open()


@pytest.mark.parametrize("reason", [FailureReason.QUOTA, FailureReason.AUTH])
def test_one_refusal_closes_it_for_as_long_as_the_provider_says(reason: FailureReason) -> None:
    assert fail(Door(), Failure(reason, 7200.0)).closed_until == NOW + 7200
    pause = FIRST_PAUSE_SECONDS[KIND_OF[reason]]
    assert fail(Door(), Failure(reason)).closed_until == NOW + pause
    assert fail(Door(), Failure(reason, -1.0)).closed_until > NOW
    assert fail(Door(), Failure(reason, 1e12)).closed_until == NOW + LONGEST_QUOTA_SECONDS


def test_a_later_reset_that_others_hear_of_counts_and_an_earlier_one_does_not() -> None:
    door = fail(Door(), Failure(FailureReason.QUOTA, 60.0))
    assert fail(door, Failure(FailureReason.QUOTA, 600.0)).closed_until == NOW + 600
    assert fail(door, Failure(FailureReason.QUOTA, 6.0)) == door
    assert fail(door, Failure(FailureReason.QUOTA)) == door


def test_it_stands_ajar_for_one_when_its_time_has_come() -> None:
    door = shut()
    assert not door.is_ajar(door.closed_until - 0.1)
    assert door.is_ajar(door.closed_until)
    tried = begin_trial(door, door.closed_until)
    assert not tried.is_ajar(door.closed_until)
    assert tried.is_ajar(door.closed_until + TRIAL_SECONDS)
    assert end_trial(tried).is_ajar(door.closed_until)


def test_only_who_tried_opens_it() -> None:
    door = begin_trial(shut(), NOW + 5)
    assert after_success(door, trial=False) == door
    opened = after_success(door, trial=True)
    assert opened.is_open()
    assert opened.opened == 1


def test_each_trial_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    door, pauses = shut(), []
    for _ in range(8):
        now = door.closed_until
        door = fail(begin_trial(door, now), now=now, trial=True)
        pauses.append(door.closed_until - now)
    assert pauses[:3] == [10, 20, 40]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS[DoorKind.FAILURES]
    opened = after_success(begin_trial(door, door.closed_until), trial=True)
    assert opened.closings == 0


def test_who_was_let_in_before_changes_nothing_by_failing_late() -> None:
    door = shut()
    assert fail(door) == door


def test_the_strictest_door_says_how_a_provider_stands() -> None:
    assert standing([Door(), Door(opened=3)], NOW) is None
    quota = fail(Door(), Failure(FailureReason.QUOTA, 3600.0))
    found = standing([shut(), quota], NOW + 10)
    assert found is not None
    assert (found.reason, found.ajar) == ("quota", False)
    assert str(found) == "quota until 2027-01-15T09:00:00Z"
    both_ajar = standing([shut(), quota], NOW + 3600)
    assert both_ajar is not None
    assert both_ajar.ajar


doors = st.builds(
    Door,
    closed_until=st.floats(0, 4e9),
    reason=st.sampled_from(["", *FailureReason]).map(str),
    failures=st.integers(0, 9),
    closings=st.integers(0, 99),
    trial_until=st.floats(0, 4e9),
    opened=st.integers(0, 9),
)


@given(doors)
def test_a_door_reads_back_as_it_was_written(door: Door) -> None:
    assert load_door(door.dump()) == door


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"hinges":3}', '{"failures":"x"}', "3"])
def test_a_door_that_cannot_be_read_is_open(text: str | None) -> None:
    assert load_door(text).is_open()


steps = st.lists(
    st.tuples(
        st.sampled_from(["ok", "quota", "auth", "timeout", "try"]), st.floats(0, 100), st.booleans()
    ),
    max_size=60,
)


@given(steps, st.sampled_from(DoorKind))
def test_whatever_happens_somebody_may_pass_sooner_or_later(
    history: list[tuple[str, float, bool]], kind: DoorKind
) -> None:
    door, now = Door(), NOW
    for what, later, trial in history:
        now += later
        if what == "try":
            door = begin_trial(door, now) if door.is_ajar(now) else door
        elif what == "ok":
            door = after_success(door, trial=trial)
        elif KIND_OF[reason := FailureReason(what)] is kind:
            change = partial(after_failure, kind=kind, failure=Failure(reason, 60.0), now=now)
            door = change(door, trial=trial, recently=Recently())
    assert door.is_open() or door.is_ajar(now + LONGEST_PAUSE_SECONDS[kind] + TRIAL_SECONDS)
