from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from voice_gateway.domain.money import Usd, dollars, from_micro, to_micro


class Priced(BaseModel):
    cost: Usd


@given(st.integers(min_value=0, max_value=10**14))
def test_an_amount_survives_the_wire_to_the_micro_dollar(micro: int) -> None:
    amount = from_micro(micro)
    back = Priced.model_validate_json(Priced(cost=amount).model_dump_json()).cost
    assert back == amount
    assert to_micro(back) == micro


@given(st.lists(st.integers(min_value=0, max_value=10**9), max_size=50))
def test_a_sum_is_exact(micros: list[int]) -> None:
    assert to_micro(sum(map(from_micro, micros), Decimal(0))) == sum(micros)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (0.1 + 0.2, "0.300000"),
        ("0.0000005", "0.000000"),  # a half goes to the even neighbour
        (0.0000015, "0.000002"),
        (Decimal("1.2345678"), "1.234568"),
        (3, "3.000000"),
    ],
)
def test_is_rounded_to_whole_micro_dollars(given: float, kept: str) -> None:
    assert str(dollars(given)) == kept


@pytest.mark.parametrize("cost", [-1, -1e-9, 1e9, float("nan"), float("inf"), "one", True, None])
def test_no_other_value_is_an_amount(cost: object) -> None:
    with pytest.raises(ValidationError):
        Priced.model_validate({"cost": cost})
