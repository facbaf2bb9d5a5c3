"""Receipts in memory."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from voice_gateway.domain.errors import NotFoundError, StorageUnavailableError

if TYPE_CHECKING:
    from datetime import datetime

    from voice_gateway.domain.receipt import Receipt
    from voice_gateway.ports import Clock


class FakeReceipts:
    """Implements `ports.ReceiptStore`.

    Attributes:
        broken: While true, every call fails as an unreachable table does.
    """

    def __init__(self, clock: Clock) -> None:
        self.broken = False
        self._clock = clock
        self._stored: dict[tuple[str, str], tuple[datetime, Receipt]] = {}

    def save(self, tenant_id: str, receipt: Receipt) -> None:
        """Stores one; a second one of the same request replaces it."""
        self._check()
        gone = self._clock.now() + timedelta(hours=24)
        self._stored[tenant_id, receipt.request_id] = (gone, receipt)

    def get(self, tenant_id: str, request_id: str) -> Receipt:
        """Fetches one."""
        self._check()
        gone, receipt = self._stored.get((tenant_id, request_id), (None, None))
        if gone is None or receipt is None or gone <= self._clock.now():
            raise NotFoundError("There is no receipt with this id, or it is more than a day old.")
        return receipt

    def _check(self) -> None:
        if self.broken:
            raise StorageUnavailableError("broken on purpose")
