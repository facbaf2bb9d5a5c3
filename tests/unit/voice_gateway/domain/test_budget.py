from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from voice_gateway.domain.budget import Budget, BudgetState, cheapest_first, too_dear
from voice_gateway.domain.chain import PROVIDER_NAMES

PRICES = {
    "azure": Decimal(15),
    "google": Decimal(30),
    "piper": Decimal(0),
    "xtts_v2": Decimal(0),
    "espeak": Decimal(0),
}


@pytest.mark.parametrize(
    ("spent", "state"),
    [
        ("0", BudgetState.WITHIN),
        ("7.999999", BudgetState.WITHIN),
        ("8", BudgetState.SOFT),
        ("9.999999", BudgetState.SOFT),
        ("10", BudgetState.HARD),
        ("11", BudgetState.HARD),
    ],
)
def test_the_thresholds_are_exact(spent: str, state: BudgetState) -> None:
    assert Budget(monthly_usd=Decimal(10)).state(Decimal(spent)) is state


def test_without_a_bound_there_is_no_state_and_nothing_is_spent_at_once() -> None:
    assert Budget().state(Decimal(10**6)) is None
    assert Budget(monthly_usd=Decimal(0)).state(Decimal(0)) is BudgetState.HARD
    assert Budget(monthly_usd=Decimal(1), soft_percent=0).state(Decimal(0)) is BudgetState.SOFT


@pytest.mark.parametrize(
    "wrong",
    [{"monthly_usd": -1}, {"soft_percent": 101}, {"soft_percent": -1}, {"monthly_eur": 1}],
)
def test_refuses_what_is_no_budget(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Budget.model_validate(wrong)


def test_the_cheapest_come_first_and_the_floor_stays_last() -> None:
    chain = ("google", "styletts2", "azure", "xtts_v2", "piper", "espeak")
    assert cheapest_first(chain, PRICES) == (
        *("xtts_v2", "piper", "azure", "google"),
        "styletts2",  # not here
        "espeak",
    )


@given(st.permutations(PROVIDER_NAMES))
def test_nobody_is_lost_or_doubled(chain: list[str]) -> None:
    ordered = cheapest_first(tuple(chain), PRICES)
    assert sorted(ordered) == sorted(chain)
    assert cheapest_first(ordered, PRICES) == ordered


def test_too_dear_is_whoever_costs_anything() -> None:
    assert too_dear(("google", "styletts2", "piper", "espeak"), PRICES) == {"google"}
