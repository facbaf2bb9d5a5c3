"""Money: US dollars, exact to the micro-dollar, never a float on the way."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainSerializer

MICRO: Final = Decimal("0.000001")
"""The smallest amount that is told apart: what one character costs at one dollar a million."""
FREE: Final = Decimal(0)


def dollars(amount: Decimal | float | str) -> Decimal:
    """Rounds an amount to whole micro-dollars; a half goes to the even neighbour."""
    # By way of its text, a float is the decimal that people wrote.
    exact = amount if isinstance(amount, Decimal) else Decimal(str(amount))
    return exact.quantize(MICRO, rounding=ROUND_HALF_EVEN)


def to_micro(amount: Decimal) -> int:
    """Dollars as a whole number of micro-dollars: what the table counts in."""
    return int(dollars(amount) / MICRO)


def from_micro(micro: int) -> Decimal:
    """A whole number of micro-dollars as dollars."""
    return micro * MICRO


def _read(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, float)):
        return value
    amount = value if isinstance(value, Decimal) else Decimal(str(value))
    # What is out of bounds is refused as it came: rounded, a hair below zero would be zero.
    return dollars(amount) if amount.is_finite() and 0 <= amount < _LARGEST else value


_LARGEST: Final = Decimal(10) ** 9

Usd = Annotated[
    Decimal,
    BeforeValidator(_read),
    Field(ge=0, lt=_LARGEST, allow_inf_nan=False),
    # A JSON number: below a billion, a float's text shows all six decimals as they are.
    PlainSerializer(float, return_type=float, when_used="json"),
]
"""An amount in dollars, in whole micro-dollars, from 0 to below a billion."""
