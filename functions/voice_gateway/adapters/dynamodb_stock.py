"""Counting what a tenant keeps, in the transaction that keeps it.

The counts stand in one item a tenant. Whoever stores a thing adds `count_up` to its writes, whoever
takes one away adds `count_down`; `write_together` does all or none, so that a count is never wrong,
and no number of callers at once gets past a ceiling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voice_gateway.adapters.dynamodb_table import USAGE, key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef, UpdateTypeDef

    from voice_gateway.domain.errors import PlanLimitError
    from voice_gateway.domain.tiers import Ceiling, Stock


def count_up(
    table: Table, tenant_id: str, stock: Stock, ceiling: Ceiling | None
) -> TransactWriteItemTypeDef:
    """One more; its condition fails when that would be too many.

    Args:
        table: The one table.
        tenant_id: Whose it is.
        stock: What is counted.
        ceiling: How many there may be; None for any number.
    """
    update = _add(table, tenant_id, stock, 1)
    if ceiling is not None:
        # Nobody has counted yet: there is room, unless there is none for anybody.
        uncounted = "attribute_not_exists(#stock) OR " if ceiling.limit else ""
        update["ConditionExpression"] = f"{uncounted}#stock < :limit"
        update["ExpressionAttributeValues"] = {":change": 1, ":limit": ceiling.limit}
        update["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return {"Update": update}


def count_down(
    table: Table, tenant_id: str, stock: Stock, amount: int = 1
) -> TransactWriteItemTypeDef:
    """So many less; only of what was counted up before."""
    return {"Update": _add(table, tenant_id, stock, -amount)}


def too_many(ceiling: Ceiling, found: Mapping[str, Any]) -> PlanLimitError:
    """What a failed `count_up` means.

    Args:
        ceiling: The one that was asked to hold.
        found: The item that `write_together` says stands there.
    """
    return ceiling.reached(int(found.get(ceiling.stock, 0)))


def _add(table: Table, tenant_id: str, stock: Stock, change: int) -> UpdateTypeDef:
    return {
        "TableName": table.name,
        "Key": key(tenant_id, USAGE),
        "UpdateExpression": "ADD #stock :change",
        "ExpressionAttributeNames": {"#stock": stock.value},
        "ExpressionAttributeValues": {":change": change},
    }
