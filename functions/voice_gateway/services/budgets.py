"""What a tenant may still spend, known quickly enough to ask before every answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.ledger import month_of, next_month
from voice_gateway.domain.money import FREE

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from voice_gateway.domain.budget import Budget, BudgetState
    from voice_gateway.ports import BudgetRepository, Clock, Ledger

REMEMBERED_SECONDS: Final = 10.0
"""How long others' spending may go unseen; a process sees its own at once."""
_TENANTS_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """A budget, and what is left of it."""

    budget: Budget
    month: str
    spent_usd: Decimal
    resets_at: datetime

    @property
    def state(self) -> BudgetState | None:
        """How far it is spent; None without a bound."""
        return self.budget.state(self.spent_usd)


@dataclass(slots=True)
class Remembered:
    """What was read a moment ago, and what this process has spent since."""

    budget: Budget
    month: str
    spent: Decimal
    until: float

    @property
    def state(self) -> BudgetState | None:
        """How far it is spent; None without a bound."""
        return self.budget.state(self.spent)


class BudgetService:
    """Sets budgets, and tells how far they are spent.

    A budget is a brake, not a wall: answers that are under way when it is reached end as they
    began, and another process's spending is seen `REMEMBERED_SECONDS` later at most.
    """

    def __init__(self, budgets: BudgetRepository, ledger: Ledger, clock: Clock) -> None:
        self._budgets = budgets
        self._ledger = ledger
        self._clock = clock
        self._remembered: dict[str, Remembered] = {}

    def set(self, tenant_id: str, budget: Budget) -> Spending:
        """Sets a tenant's budget; other processes follow it `REMEMBERED_SECONDS` later at most.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        self._budgets.put(tenant_id, budget)
        return self.get(tenant_id)

    def get(self, tenant_id: str) -> Spending:
        """Reads a tenant's budget and what was spent of it this month.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        now = self._clock.now()
        month = month_of(now)
        return Spending(
            budget=self._budgets.get(tenant_id),
            month=month,
            spent_usd=self._ledger.spent(tenant_id, month),
            resets_at=next_month(now),
        )

    def state(self, tenant_id: str) -> BudgetState | None:
        """Tells how far a tenant's budget is spent, from memory where that is fresh.

        Returns:
            None without a bound.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        known = self.remembered(tenant_id)
        if known is None:
            month = month_of(self._clock.now())
            budget = self._budgets.get(tenant_id)
            # Most tenants have no bound, and then nobody needs to know what they spent.
            bounded = budget.monthly_usd is not None
            spent = self._ledger.spent(tenant_id, month) if bounded else FREE
            until = self._clock.monotonic() + REMEMBERED_SECONDS
            known = Remembered(budget, month, spent, until)
            if len(self._remembered) >= _TENANTS_REMEMBERED:
                self._remembered.clear()
            self._remembered[tenant_id] = known
        return known.state

    def remembered(self, tenant_id: str) -> Remembered | None:
        """Looks into the memory alone; None where nothing fresh is in it."""
        known = self._remembered.get(tenant_id)
        if known is None or known.until <= self._clock.monotonic():
            return None
        return known if known.month == month_of(self._clock.now()) else None

    def add(self, tenant_id: str, cost: Decimal) -> None:
        """Takes note of what this process has just spent."""
        if (known := self._remembered.get(tenant_id)) is not None:
            known.spent += cost
