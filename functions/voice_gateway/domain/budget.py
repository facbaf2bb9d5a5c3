"""What a tenant may spend in a month, and what becomes of a chain when that is used up.

A budget never makes anybody mute: nearly spent, whoever costs least is asked first; wholly spent,
only those are asked who cost nothing, and the cache speaks on.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from voice_gateway.domain.chain import FLOOR
from voice_gateway.domain.money import Usd

if TYPE_CHECKING:
    from collections.abc import Mapping

SOFT_PERCENT_DEFAULT: Final = 80


class BudgetState(StrEnum):
    """How far a month's budget is spent, and what that does to an answer."""

    WITHIN = "within"
    SOFT = "soft"
    """Nearly: whoever costs least is asked first."""
    HARD = "hard"
    """Wholly: only what costs nothing is asked."""


class Optimize(StrEnum):
    """What a chain's order is for."""

    QUALITY = "quality"
    COST = "cost"
    """Whoever costs least comes first; equals keep their order, and the floor stays last."""


class Budget(BaseModel):
    """A tenant's monthly bound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    monthly_usd: Usd | None = None
    """None for no bound; 0 asks only those who cost nothing."""
    soft_percent: Annotated[int, Field(ge=0, le=100)] = SOFT_PERCENT_DEFAULT
    """From which part of it on the cheaper ones come first."""

    def state(self, spent: Decimal) -> BudgetState | None:
        """Tells how far it is spent; None without a bound."""
        if self.monthly_usd is None:
            return None
        if spent >= self.monthly_usd:
            return BudgetState.HARD
        if spent * 100 >= self.monthly_usd * self.soft_percent:
            return BudgetState.SOFT
        return BudgetState.WITHIN


def cheapest_first(chain: tuple[str, ...], prices: Mapping[str, Decimal]) -> tuple[str, ...]:
    """Orders a chain by price.

    Args:
        chain: Provider names.
        prices: In dollars a million characters; who is not in it is not here, and comes after.
    """
    unknown = Decimal("Infinity")
    # A last resort is no bargain: the floor costs nothing, and is last all the same.
    return tuple(sorted(chain, key=lambda name: (name == FLOOR, prices.get(name, unknown))))


def too_dear(chain: tuple[str, ...], prices: Mapping[str, Decimal]) -> frozenset[str]:
    """Names those of a chain that cost anything."""
    return frozenset(name for name in chain if prices.get(name, 0) > 0)
