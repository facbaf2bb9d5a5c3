"""What the DynamoDB adapters share: key names, how a document is stored, what errors become.

A thing is stored whole, as the JSON text of its model in one attribute (`document`), beside the
few attributes that the table itself must see (`version`, `expires_at`). DynamoDB's own numbers
would turn every float into a Decimal and back, and its maps would need a walk over the tree for
each; a JSON text keeps a float exactly, and pydantic reads it in one step. Nothing is lost: every
write replaces the whole thing under a condition on `version`, so no nested path is ever updated.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from voice_gateway.domain.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_dynamodb.service_resource import Table

    from voice_gateway.domain.errors import RequestError

PERSONALITY: Final = "PERSONALITY#"
HISTORY: Final = "HISTORY#"
ONCE_ONLY: Final = "ONCE#"
RECEIPT: Final = "RECEIPT#"
API_KEY: Final = "KEY#"
LEDGER: Final = "LEDGER#"
STATISTICS: Final = "STATS#"
BUDGET: Final = "BUDGET"
VOICE_MATCHES: Final = "VOICES#"
SAMPLE: Final = "SAMPLE#"
TENANT: Final = "TENANT"
USAGE: Final = "USAGE"
"""What a tenant keeps; with `#` and a month behind it, what it used then."""

_KEY_BYTES: Final = 1024
"""DynamoDB's bound for a sort key."""


def partition(tenant_id: str) -> str:
    """The partition that holds everything of one tenant."""
    return f"TENANT#{tenant_id}"


def key(tenant_id: str, sort_key: str) -> dict[str, str]:
    """The primary key of one thing of a tenant."""
    return {"PK": partition(tenant_id), "SK": sort_key}


def fetch(table: Table, tenant_id: str, sort_key: str) -> Mapping[str, Any] | None:
    """Reads one item, as of the last write.

    Returns:
        The item, or None when there is none.

    Raises:
        StorageUnavailableError: The table did not answer.
    """
    if not _storable(sort_key):
        return None
    with storage_errors():
        return table.get_item(Key=key(tenant_id, sort_key), ConsistentRead=True).get("Item")


@contextmanager
def storage_errors(failed_condition: RequestError | None = None) -> Iterator[None]:
    """Turns what boto raises into what the ports promise.

    Args:
        failed_condition: What the failed condition of a write means here; without it, that is as
            unexpected as any other failure.

    Raises:
        RequestError: The condition of the write failed; this is `failed_condition`.
        StorageUnavailableError: Anything else that the table or the road to it said.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        if failed_condition is not None and code == "ConditionalCheckFailedException":
            raise failed_condition from error
        raise StorageUnavailableError(f"{error.operation_name}: {code}") from error
    except BotoCoreError as error:
        raise StorageUnavailableError(type(error).__name__) from error


def _storable(sort_key: str) -> bool:
    # Keys come from URLs too. What the table would refuse as a key cannot be in it.
    try:
        return len(sort_key.encode()) <= _KEY_BYTES
    except UnicodeEncodeError:
        return False
