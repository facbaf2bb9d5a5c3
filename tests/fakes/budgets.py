"""Budgets in memory."""

from __future__ import annotations

from voice_gateway.domain.budget import Budget
from voice_gateway.domain.errors import StorageUnavailableError


class FakeBudgets:
    """Implements `ports.BudgetRepository`.

    Attributes:
        broken: While true, every call fails as an unreachable table does.
        reads: How often a budget was read.
    """

    def __init__(self) -> None:
        self.broken = False
        self.reads = 0
        self._stored: dict[str, Budget] = {}

    def get(self, tenant_id: str) -> Budget:
        """Returns the tenant's budget."""
        self._check()
        self.reads += 1
        return self._stored.get(tenant_id, Budget())

    def put(self, tenant_id: str, budget: Budget) -> None:
        """Sets it."""
        self._check()
        self._stored[tenant_id] = budget

    def _check(self) -> None:
        if self.broken:
            raise StorageUnavailableError("broken on purpose")
