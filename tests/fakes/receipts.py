"""Receipts, the ledger and the statistics in memory."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from voice_gateway.domain.errors import NotFoundError, StaleWriteError, StorageUnavailableError
from voice_gateway.domain.ledger import Account, MonthlyCosts, Sums, entries, month_of
from voice_gateway.domain.statistics import BUCKETS, figures, tallies

if TYPE_CHECKING:
    from decimal import Decimal

    from voice_gateway.domain.receipt import Receipt
    from voice_gateway.domain.statistics import Figures, Window
    from voice_gateway.ports import Clock


class FakeReceipts:
    """Implements `ports.ReceiptStore`, `ports.Ledger` and `ports.Statistics`.

    Attributes:
        broken: While true, every call fails as an unreachable table does.
        overtaken: How many more times `save` finds that somebody else is writing.
        deaf: How many more times `save` stores, and nobody hears of it.
    """

    def __init__(self, clock: Clock) -> None:
        self.broken = False
        self.overtaken = 0
        self.deaf = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._stored: dict[tuple[str, str], tuple[datetime, Receipt]] = {}
        self._accounts: dict[tuple[str, str], dict[tuple[Account, str], Counter[str]]] = {}
        self._buckets: dict[tuple[str, str, datetime, str], Counter[str]] = {}

    def save(self, tenant_id: str, receipt: Receipt) -> None:
        """Stores one and books it, unless it stands there."""
        self._check()
        with self._lock:
            if self.overtaken:
                self.overtaken -= 1
                raise StaleWriteError
            if (tenant_id, receipt.request_id) not in self._stored:
                self._book(tenant_id, receipt)
            if self.deaf:
                self.deaf -= 1
                raise StorageUnavailableError("deaf on purpose")

    def _book(self, tenant_id: str, receipt: Receipt) -> None:
        now = self._clock.now()
        self._stored[tenant_id, receipt.request_id] = (now + timedelta(hours=24), receipt)
        accounts = self._accounts.setdefault((tenant_id, month_of(now)), {})
        for account, name, counters in entries(receipt):
            accounts.setdefault((account, name), Counter()).update(counters)
        for provider, counters in tallies(receipt).items():
            for bucket in BUCKETS:
                place = (tenant_id, bucket.name, bucket.start(now), provider)
                self._buckets.setdefault(place, Counter()).update(counters)

    def month(self, tenant_id: str, month: str) -> MonthlyCosts:
        """Reads a tenant's month."""
        self._check()
        return MonthlyCosts.of(month, self._accounts.get((tenant_id, month), {}))

    def spent(self, tenant_id: str, month: str) -> Decimal:
        """Reads what a month cost so far."""
        self._check()
        total: Counter[str] = Counter()
        for (account, _), counters in self._accounts.get((tenant_id, month), {}).items():
            if account is Account.PROVIDER:
                total.update(counters)
        return Sums.of(total).cost_usd

    def figures(self, tenant_id: str, window: Window) -> Figures:
        """Reads how a tenant's speech went."""
        self._check()
        now = self._clock.now()
        since = window.since(now)
        counted: dict[str, Counter[str]] = {}
        for (tenant, bucket, start, provider), counters in self._buckets.items():
            if (tenant, bucket) == (tenant_id, window.bucket.name) and since <= start <= now:
                counted.setdefault(provider, Counter()).update(counters)
        return figures(window, since, now, counted)

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
