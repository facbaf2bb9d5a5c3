"""Several writes that happen together or not at all."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from voice_gateway.adapters.dynamodb_table import storage_errors
from voice_gateway.domain.errors import StaleWriteError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

_REFUSED: Final = "ConditionalCheckFailed"
_CONFLICT: Final = "TransactionConflict"


def write_together(
    table: Table, writes: Sequence[TransactWriteItemTypeDef]
) -> Mapping[int, Mapping[str, Any]]:
    """Does all of the writes, or none.

    Returns:
        Empty when they are done. Else none is, and this holds the places of the writes whose
        condition failed, each with the item that stands there (empty when none does, or when the
        write did not ask for it).

    Raises:
        StaleWriteError: Somebody else is writing the same items at this moment.
        StorageUnavailableError: The table did not answer.
    """
    client = table.meta.client
    # boto repeats a call whose answer got lost: by the token DynamoDB knows it for the same.
    token = uuid.uuid4().hex
    with storage_errors():
        try:
            client.transact_write_items(TransactItems=writes, ClientRequestToken=token)
        except client.exceptions.TransactionCanceledException as error:
            reasons = error.response.get("CancellationReasons", [])
            # First of all: what a failed condition means may hang on the write that is under way.
            if any(reason.get("Code") == _CONFLICT for reason in reasons):
                raise StaleWriteError from error
            refused = {
                place: plain(reason.get("Item", {}))
                for place, reason in enumerate(reasons)
                if reason.get("Code") == _REFUSED
            }
            if not refused:
                raise
            return refused
    return {}


def plain(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Turns an item that came with an error into plain values, as boto does with answers."""
    from boto3.dynamodb.types import TypeDeserializer

    deserialize = TypeDeserializer().deserialize
    return {name: deserialize(value) for name, value in item.items()}
