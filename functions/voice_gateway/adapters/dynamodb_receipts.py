"""Receipts in the one table, for a day."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from voice_gateway.adapters.dynamodb_table import RECEIPT, fetch, key, storage_errors
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
        """Stores one; a second one of the same request replaces it.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        expires_at = self._clock.now() + RECEIPT_LIFETIME
        with storage_errors():
            self._table.put_item(
                Item={
                    **key(tenant_id, RECEIPT + receipt.request_id),
                    "document": receipt.model_dump_json(),
                    "expires_at": int(expires_at.timestamp()),
                }
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
