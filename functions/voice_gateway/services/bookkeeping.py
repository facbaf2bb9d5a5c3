"""Receipts are stored and booked once, whatever the table does meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.errors import StorageUnavailableError
from voice_gateway.services.optimistic import until_written

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_gateway.domain.receipt import Receipt
    from voice_gateway.ports import ReceiptStore

ATTEMPTS: Final = 3
"""After a table that did not answer; each may take the client's whole patience."""
_PAUSE_SECONDS: Final = 0.1


class Bookkeeper:
    """Stores receipts; repeating is safe, since a receipt that stands there is not booked again."""

    def __init__(
        self, receipts: ReceiptStore, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._receipts = receipts
        self._sleep = sleep

    def keep(self, tenant_id: str, receipt: Receipt) -> None:
        """Stores one and books it.

        Raises:
            StaleWriteError: Others were adding to the same sums all the time.
            StorageUnavailableError: The table did not answer, again and again.
        """
        for attempt in range(1, ATTEMPTS):
            try:
                return self._save(tenant_id, receipt)
            except StorageUnavailableError:
                self._sleep(_PAUSE_SECONDS * attempt)
        return self._save(tenant_id, receipt)

    def _save(self, tenant_id: str, receipt: Receipt) -> None:
        until_written(lambda: self._receipts.save(tenant_id, receipt), self._sleep)
