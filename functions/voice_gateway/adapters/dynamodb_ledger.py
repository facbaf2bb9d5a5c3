"""The ledger and the statistics in the one table: what a receipt adds, and what it came to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from voice_gateway.adapters.dynamodb_counters import addition, share_of, sums
from voice_gateway.adapters.dynamodb_table import LEDGER, STATISTICS
from voice_gateway.domain.ledger import Account, MonthlyCosts, Sums, entries, month_of
from voice_gateway.domain.statistics import BUCKETS, figures, tallies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from decimal import Decimal

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from voice_gateway.domain.receipt import Receipt
    from voice_gateway.domain.statistics import Bucket, Figures, Window
    from voice_gateway.ports import Clock


def bookings(
    table: Table, tenant_id: str, receipt: Receipt, now: datetime
) -> Iterator[TransactWriteItemTypeDef]:
    """The writes that book a receipt: one for each account, one for each provider and bucket."""
    share = share_of(receipt.request_id)
    for account, name, counters in entries(receipt):
        sort_key = f"{_month(month_of(now))}{account.value}#{name}"
        yield addition(table, tenant_id, sort_key, share, +counters)
    for provider, counters in tallies(receipt).items():
        for bucket in BUCKETS:
            start = bucket.start(now)
            yield addition(
                table,
                tenant_id,
                f"{_bucket(bucket, start)}{provider}",
                share,
                +counters,
                expires_at=int((start + bucket.length + bucket.kept_for).timestamp()),
            )


class DynamoLedger:
    """Implements `ports.Ledger` and `ports.Statistics`; `DynamoReceipts` writes for both."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def month(self, tenant_id: str, month: str) -> MonthlyCosts:
        """Reads a tenant's month; see the port."""
        prefix = _month(month)
        accounts = {}
        for name, counters in sums(self._table, tenant_id, prefix, prefix).items():
            account, _, of = name.removeprefix(prefix).partition("#")
            accounts[Account(account), of] = counters
        return MonthlyCosts.of(month, accounts)

    def spent(self, tenant_id: str, month: str) -> Decimal:
        """Reads what a month cost so far; see the port."""
        prefix = f"{_month(month)}{Account.PROVIDER.value}#"
        total: Counter[str] = Counter()
        for counters in sums(self._table, tenant_id, prefix, prefix).values():
            total.update(counters)
        return Sums.of(total).cost_usd

    def figures(self, tenant_id: str, window: Window) -> Figures:
        """Reads how a tenant's speech went; see the port."""
        now = self._clock.now()
        since = window.since(now)
        found = sums(
            self._table, tenant_id, _bucket(window.bucket, since), _bucket(window.bucket, now)
        )
        counted: dict[str, Counter[str]] = {}
        for name, counters in found.items():
            counted.setdefault(name.rpartition("#")[2], Counter()).update(counters)
        return figures(window, since, now, counted)


def _month(month: str) -> str:
    return f"{LEDGER}{month}#"


def _bucket(bucket: Bucket, when: datetime) -> str:
    return f"{STATISTICS}{bucket.name}#{bucket.start(when):%Y-%m-%dT%H:%M}#"
