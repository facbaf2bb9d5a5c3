"""Receipts in the one table, for a day, and booked for good."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from voice_gateway.adapters.dynamodb_ledger import bookings
from voice_gateway.adapters.dynamodb_table import RECEIPT, fetch, key
from voice_gateway.adapters.dynamodb_transaction import write_together
from voice_gateway.domain.errors import NotFoundError
from voice_gateway.domain.receipt import Receipt

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from voice_gateway.ports import Clock

RECEIPT_LIFETIME: Final = timedelta(hours=24)


class DynamoReceipts:
    """Implements `ports.ReceiptStore`."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def save(self, tenant_id: str, receipt: Receipt) -> None:
        """Stores one and books it, both or neither; see the port."""
        now = self._clock.now()
        write_together(
            self._table,
            [
                {
                    "Put": {
                        "TableName": self._table.name,
                        "Item": {
                            **key(tenant_id, RECEIPT + receipt.request_id),
                            "document": receipt.model_dump_json(),
                            "expires_at": int((now + RECEIPT_LIFETIME).timestamp()),
                        },
                        # Refused when it stands there already, and then it is booked already.
                        "ConditionExpression": "attribute_not_exists(PK)",
                    }
                },
                *bookings(self._table, tenant_id, receipt, now),
            ],
        )

    def get(self, tenant_id: str, request_id: str) -> Receipt:
        """Fetches one.

        Raises:
            NotFoundError: The tenant has none with this id.
            StorageUnavailableError: The table did not answer.
        """
        item = fetch(self._table, tenant_id, RECEIPT + request_id)
        # DynamoDB removes what has expired when it finds the time, days later at worst.
        if item is None or item["expires_at"] <= self._clock.now().timestamp():
            raise NotFoundError("There is no receipt with this id, or it is more than a day old.")
        return Receipt.model_validate_json(item["document"])
