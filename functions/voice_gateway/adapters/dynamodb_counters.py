"""Sums that many writers add to at once, in the one table.

Two transactions that touch the same item at the same moment cancel each other, so a sum is kept in
`SHARES` items: each writer adds to one of them, and whoever reads adds them up. Readers take
whatever shares they find, so the number may change at any time.
"""

from __future__ import annotations

import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from voice_gateway.adapters.dynamodb_table import key, partition, storage_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import (
        QueryInputTableQueryTypeDef,
        TransactWriteItemTypeDef,
    )

SHARES: Final = 8
"""A write takes some 20 ms: of fifty a second for one tenant, one in ten then meets another."""
_NOT_SUMS: Final = frozenset({"PK", "SK", "expires_at"})


def share_of(name: str) -> int:
    """Which share a writer adds to: always the same for the same name."""
    return zlib.crc32(name.encode()) % SHARES


def addition(
    table: Table,
    tenant_id: str,
    sort_key: str,
    share: int,
    counters: Mapping[str, int],
    *,
    expires_at: int | None = None,
) -> TransactWriteItemTypeDef:
    """The write that adds counters to one share of a sum.

    Args:
        table: The one table.
        tenant_id: Whose sum it is.
        sort_key: Names the sum.
        share: Which item of it.
        counters: What is added, by name; names are never `PK`, `SK` or `expires_at`.
        expires_at: When the share may be forgotten, in seconds of Unix time; None to keep it.
    """
    # By number: names hold colons, and some are DynamoDB's own words.
    names = {f"#n{place}": name for place, name in enumerate(counters)}
    values: dict[str, Any] = {f":v{place}": value for place, value in enumerate(counters.values())}
    expression = "ADD " + ", ".join(f"#n{place} :v{place}" for place in range(len(counters)))
    if expires_at is not None:
        expression += " SET expires_at = :expires_at"
        values[":expires_at"] = expires_at
    return {
        "Update": {
            "TableName": table.name,
            "Key": key(tenant_id, f"{sort_key}#{share}"),
            "UpdateExpression": expression,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }
    }


def sums(table: Table, tenant_id: str, first: str, last: str) -> dict[str, Counter[str]]:
    """Adds up the shares of all sums in a range of names.

    Args:
        table: The one table.
        tenant_id: Whose sums.
        first: Where the names begin.
        last: What the last of them begin with.

    Returns:
        The sums by their sort key, without the share.

    Raises:
        StorageUnavailableError: The table did not answer.
    """
    from boto3.dynamodb.conditions import Key

    query: QueryInputTableQueryTypeDef = {
        "KeyConditionExpression": Key("PK").eq(partition(tenant_id))
        & Key("SK").between(first, f"{last}\U0010ffff"),
        "ConsistentRead": True,
    }
    found: dict[str, Counter[str]] = {}
    while True:
        with storage_errors():
            answer = table.query(**query)
        for item in answer["Items"]:
            name = str(item["SK"]).rpartition("#")[0]
            found.setdefault(name, Counter()).update(
                {k: int(v) for k, v in item.items() if k not in _NOT_SUMS}  # type: ignore[arg-type]
            )
        if "LastEvaluatedKey" not in answer:
            return found
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
