"""API keys' hashes in the one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voice_gateway.adapters.dynamodb_table import API_KEY, fetch, key, storage_errors
from voice_gateway.domain.errors import NotFoundError

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table


class DynamoApiKeys:
    """Implements `ports.ApiKeyRepository`, and the writing that only operators do."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def find(self, tenant_id: str, key_hash: str) -> frozenset[str] | None:
        """Returns the key's scopes, or None when there is no such key or it was revoked.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        item = fetch(self._table, tenant_id, API_KEY + key_hash)
        if item is None or "revoked_at" in item:
            return None
        return frozenset(item["scopes"].split())

    def put(self, tenant_id: str, key_hash: str, scopes: frozenset[str], now: datetime) -> None:
        """Stores a key, or gives a stored one these scopes; a revoked one stays revoked.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        with storage_errors():
            self._table.update_item(
                Key=key(tenant_id, API_KEY + key_hash),
                UpdateExpression="SET scopes = :scopes, "
                "created_at = if_not_exists(created_at, :now)",
                ExpressionAttributeValues={
                    # One text: DynamoDB has no empty set.
                    ":scopes": " ".join(sorted(scopes)),
                    ":now": now.isoformat(),
                },
            )

    def revoke(self, tenant_id: str, key_hash: str, now: datetime) -> None:
        """Makes a key useless; the item stays, so that no seed brings the key back.

        Raises:
            NotFoundError: The tenant has no such key.
            StorageUnavailableError: The table did not answer.
        """
        with storage_errors(NotFoundError("There is no such API key.")):
            self._table.update_item(
                Key=key(tenant_id, API_KEY + key_hash),
                UpdateExpression="SET revoked_at = if_not_exists(revoked_at, :now)",
                ConditionExpression="attribute_exists(PK)",
                ExpressionAttributeValues={":now": now.isoformat()},
            )
