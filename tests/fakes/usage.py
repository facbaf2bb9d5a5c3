"""What tenants keep and use up, in memory."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from fakes.stock import FakeStock
from voice_gateway.domain.errors import StorageUnavailableError
from voice_gateway.domain.tiers import Allowance, Stock

if TYPE_CHECKING:
    from collections.abc import Mapping


class FakeUsage:
    """Implements `ports.UsageMeter`.

    Args:
        stock: Where those who store count.

    Attributes:
        broken: While true, every call fails as an unreachable table does.
    """

    def __init__(self, stock: FakeStock | None = None) -> None:
        self.broken = False
        self._stock = stock or FakeStock()
        self._lock = threading.Lock()
        self._used: Counter[tuple[str, str, Allowance]] = Counter()

    def stock(self, tenant_id: str) -> Mapping[Stock, int]:
        """Returns how many of each kind the tenant keeps."""
        self._check()
        return {stock: self._stock.count(tenant_id, stock) for stock in Stock}

    def used(self, tenant_id: str, month: str) -> Mapping[Allowance, int]:
        """Returns how much the tenant used in a month."""
        self._check()
        return {allowance: self._used[tenant_id, month, allowance] for allowance in Allowance}

    def take(
        self, tenant_id: str, month: str, allowance: Allowance, amount: int, *, limit: int
    ) -> int | None:
        """Uses so much of an allowance."""
        self._check()
        with self._lock:
            used = self._used[tenant_id, month, allowance]
            if used + amount > limit:
                return used
            self._used[tenant_id, month, allowance] += amount
        return None

    def correct(self, tenant_id: str, month: str, allowance: Allowance, change: int) -> None:
        """Adds to what was used, or takes from it."""
        self._check()
        with self._lock:
            self._used[tenant_id, month, allowance] += change

    def _check(self) -> None:
        if self.broken:
            raise StorageUnavailableError("broken on purpose")
