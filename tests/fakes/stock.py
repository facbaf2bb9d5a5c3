"""Counting what a tenant keeps, in memory; whoever stores holds the lock."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voice_gateway.domain.tiers import Ceiling, Stock


class FakeStock:
    """Does what `adapters/dynamodb_stock` does."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Stock]] = Counter()

    def count(self, tenant_id: str, stock: Stock) -> int:
        """How many there are."""
        return self._counts[tenant_id, stock]

    def count_up(self, tenant_id: str, stock: Stock, ceiling: Ceiling | None) -> None:
        """One more, unless that would be too many."""
        usage = self._counts[tenant_id, stock]
        if ceiling is not None and usage >= ceiling.limit:
            raise ceiling.reached(usage)
        self._counts[tenant_id, stock] += 1

    def count_down(self, tenant_id: str, stock: Stock, amount: int = 1) -> None:
        """So many less."""
        self._counts[tenant_id, stock] -= amount
