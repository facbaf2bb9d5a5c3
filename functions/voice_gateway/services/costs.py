"""What a tenant's speech cost, and how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voice_gateway.domain.ledger import month_of

if TYPE_CHECKING:
    from voice_gateway.domain.budget import Budget
    from voice_gateway.domain.ledger import MonthlyCosts
    from voice_gateway.domain.statistics import Figures, Window
    from voice_gateway.ports import Clock, Ledger, Statistics
    from voice_gateway.services.budgets import BudgetService, Spending


class CostService:
    """Answers an owner's questions about money and speed.

    Every call may raise StorageUnavailableError.
    """

    def __init__(
        self, ledger: Ledger, statistics: Statistics, budgets: BudgetService, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._statistics = statistics
        self._budgets = budgets
        self._clock = clock

    def month(self, tenant_id: str, month: str | None) -> MonthlyCosts:
        """Reads a month's costs; of the present one when None is named."""
        return self._ledger.month(tenant_id, month or month_of(self._clock.now()))

    def figures(self, tenant_id: str, window: Window) -> Figures:
        """Reads how speech went over a window that ends now."""
        return self._statistics.figures(tenant_id, window)

    def budget(self, tenant_id: str) -> Spending:
        """Reads the budget, and what is spent of it."""
        return self._budgets.get(tenant_id)

    def set_budget(self, tenant_id: str, budget: Budget) -> Spending:
        """Sets the budget."""
        return self._budgets.set(tenant_id, budget)
