"""API keys in the one table: their hashes, and what is known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from voice_gateway.adapters.cursor import decode_cursor, encode_cursor
from voice_gateway.adapters.dynamodb_table import API_KEY, fetch, key, partition, storage_errors
from voice_gateway.adapters.dynamodb_transaction import write_together
from voice_gateway.domain.access import ApiKey
from voice_gateway.domain.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import QueryInputTableQueryTypeDef

_MOMENTS: Final = ("created_at", "last_used_at", "revoked_at")


class DynamoApiKeys:
    """Implements `ports.ApiKeyRepository`.

    A key's end is stored as `valid_until`: by `expires_at` DynamoDB would remove the item, and with
    it what tells a dead key from one that never was.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def find(self, tenant_id: str, key_hash: str) -> ApiKey | None:
        """Finds a key by its hash; see the port."""
        item = fetch(self._table, tenant_id, API_KEY + key_hash)
        return None if item is None else _api_key(tenant_id, item)

    def get(self, tenant_id: str, wanted: str) -> ApiKey:
        """Fetches a key by its id; see the port."""
        for item in self._query(tenant_id, API_KEY + wanted, limit=1):
            return _api_key(tenant_id, item)
        raise _unknown()

    def list(
        self, tenant_id: str, *, limit: int, cursor: str | None = None
    ) -> tuple[Sequence[ApiKey], str | None]:
        """Lists by id, a page at a time; see the port."""
        scope = f"{tenant_id}/{API_KEY}"
        after = None if cursor is None else decode_cursor(scope, cursor)
        items = self._query(tenant_id, API_KEY, limit=limit + 1, after=after)
        page = [_api_key(tenant_id, item) for item in items[:limit]]
        return page, encode_cursor(scope, page[-1].key_hash) if len(items) > limit else None

    def create(self, api_key: ApiKey) -> None:
        """Stores a new one; see the port."""
        with storage_errors():
            self._table.put_item(
                Item=_item(api_key), ConditionExpression="attribute_not_exists(PK)"
            )

    def rotate(self, old: ApiKey, new: ApiKey, *, until: datetime) -> None:
        """Stores a new one and lets the old one end; see the port."""
        refused = write_together(
            self._table,
            [
                {
                    "Put": {
                        "TableName": self._table.name,
                        "Item": _item(new),
                        "ConditionExpression": "attribute_not_exists(PK)",
                    }
                },
                {
                    "Update": {
                        "TableName": self._table.name,
                        "Key": _key(old),
                        "UpdateExpression": "SET valid_until = :until, replaced_by = :new",
                        "ConditionExpression": "attribute_exists(PK) "
                        "AND attribute_not_exists(revoked_at) "
                        "AND attribute_not_exists(replaced_by)",
                        "ExpressionAttributeValues": {
                            ":until": until.isoformat(),
                            ":new": new.id,
                        },
                    }
                },
            ],
        )
        if refused:
            raise ConflictError("This key was revoked or replaced already.")

    def revoke(self, api_key: ApiKey, now: datetime) -> None:
        """Makes a key useless; see the port."""
        # The item stays, so that no seed brings the key back.
        with storage_errors(_unknown()):
            self._table.update_item(
                Key=_key(api_key),
                UpdateExpression="SET revoked_at = if_not_exists(revoked_at, :now)",
                ConditionExpression="attribute_exists(PK)",
                ExpressionAttributeValues={":now": now.isoformat()},
            )

    def note_use(self, api_key: ApiKey, now: datetime) -> None:
        """Remembers that it was used; see the port."""
        with storage_errors():
            self._table.update_item(
                Key=_key(api_key),
                UpdateExpression="SET last_used_at = :now",
                ExpressionAttributeValues={":now": now.isoformat()},
            )

    def put(self, tenant_id: str, key_hash: str, scopes: frozenset[str], now: datetime) -> None:
        """Stores a key, or gives a stored one these scopes; a dead one stays dead.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        with storage_errors():
            self._table.update_item(
                Key=key(tenant_id, API_KEY + key_hash),
                UpdateExpression="SET scopes = :scopes, "
                "created_at = if_not_exists(created_at, :now)",
                ExpressionAttributeValues={
                    ":scopes": _text(scopes),
                    ":now": now.isoformat(),
                },
            )

    def _query(
        self, tenant_id: str, prefix: str, *, limit: int, after: str | None = None
    ) -> Sequence[Mapping[str, Any]]:
        from boto3.dynamodb.conditions import Key

        query: QueryInputTableQueryTypeDef = {
            "KeyConditionExpression": Key("PK").eq(partition(tenant_id))
            & Key("SK").begins_with(prefix),
            "ConsistentRead": True,
            "Limit": limit,
        }
        if after is not None:
            query["ExclusiveStartKey"] = key(tenant_id, API_KEY + after)
        with storage_errors():
            # So few and so small that a page never reaches DynamoDB's megabyte.
            return self._table.query(**query)["Items"]


def _unknown() -> NotFoundError:
    return NotFoundError("There is no API key with this id.")


def _key(api_key: ApiKey) -> dict[str, str]:
    return key(api_key.tenant_id, API_KEY + api_key.key_hash)


def _item(api_key: ApiKey) -> dict[str, Any]:
    until = api_key.expires_at
    return {
        **_key(api_key),
        "name": api_key.name,
        "scopes": _text(api_key.scopes),
        "created_at": api_key.created_at.isoformat(),
        **({} if until is None else {"valid_until": until.isoformat()}),
    }


def _text(scopes: frozenset[str]) -> str:
    # One text: DynamoDB has no empty set.
    return " ".join(sorted(scopes))


def _api_key(tenant_id: str, item: Mapping[str, Any]) -> ApiKey:
    return ApiKey(
        tenant_id=tenant_id,
        key_hash=item["SK"].removeprefix(API_KEY),
        name=item.get("name", ""),
        scopes=frozenset(item["scopes"].split()),
        expires_at=item.get("valid_until"),
        replaced_by=item.get("replaced_by"),
        **{name: item.get(name) for name in _MOMENTS},
    )
