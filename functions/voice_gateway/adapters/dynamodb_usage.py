"""What tenants keep and use up, in the one table: an item for what is kept, an item a month."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from voice_gateway.adapters.dynamodb_table import USAGE, fetch, key, storage_errors
from voice_gateway.adapters.dynamodb_transaction import plain
from voice_gateway.domain.tiers import Allowance, Stock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import UpdateItemInputTableUpdateItemTypeDef

KEPT_FOR: Final = timedelta(days=430)
"""From the month's first day: long enough to compare a month with the same one a year ago."""


class DynamoUsage:
    """Implements `ports.UsageMeter`.

    A single update of one number needs no transaction: such updates queue up instead of refusing
    each other, so that any number of answers may begin at once. An answer of the table that got
    lost on the way is asked for again, and may so count twice.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def stock(self, tenant_id: str) -> Mapping[Stock, int]:
        """Returns how many of each kind the tenant keeps; see the port."""
        item = fetch(self._table, tenant_id, USAGE) or {}
        return {stock: int(item.get(stock, 0)) for stock in Stock}

    def used(self, tenant_id: str, month: str) -> Mapping[Allowance, int]:
        """Returns how much the tenant used in a month; see the port."""
        item = fetch(self._table, tenant_id, _month(month)) or {}
        return {allowance: int(item.get(allowance, 0)) for allowance in Allowance}

    def take(
        self, tenant_id: str, month: str, allowance: Allowance, amount: int, *, limit: int
    ) -> int | None:
        """Uses so much of an allowance; see the port."""
        room = limit - amount
        if room < 0:
            return self.used(tenant_id, month)[allowance]
        update = _add(tenant_id, month, allowance, amount)
        update["ConditionExpression"] = "attribute_not_exists(#allowance) OR #allowance <= :room"
        update["ExpressionAttributeValues"] = {
            **update.get("ExpressionAttributeValues", {}),
            ":room": room,
        }
        update["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        with storage_errors():
            try:
                self._table.update_item(**update)
            except self._table.meta.client.exceptions.ConditionalCheckFailedException as error:
                response: Mapping[str, Any] = error.response
                return int(plain(response["Item"])[allowance])
        return None

    def correct(self, tenant_id: str, month: str, allowance: Allowance, change: int) -> None:
        """Adds to what was used, or takes from it; see the port."""
        with storage_errors():
            self._table.update_item(**_add(tenant_id, month, allowance, change))


def _month(month: str) -> str:
    return f"{USAGE}#{month}"


def _add(
    tenant_id: str, month: str, allowance: Allowance, change: int
) -> UpdateItemInputTableUpdateItemTypeDef:
    forgotten = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC) + KEPT_FOR
    return {
        "Key": key(tenant_id, _month(month)),
        "UpdateExpression": "ADD #allowance :change "
        "SET expires_at = if_not_exists(expires_at, :forgotten)",
        "ExpressionAttributeNames": {"#allowance": allowance.value},
        "ExpressionAttributeValues": {
            ":change": change,
            ":forgotten": int(forgotten.timestamp()),
        },
    }
