"""Personalities in the one table."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from voice_gateway.adapters.cursor import decode_cursor, encode_cursor
from voice_gateway.adapters.dynamodb_table import (
    PERSONALITY,
    fetch,
    key,
    partition,
    storage_errors,
)
from voice_gateway.domain.errors import ConflictError, NotFoundError
from voice_gateway.domain.personality import Personality

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import QueryInputTableQueryTypeDef


class DynamoPersonalities:
    """Implements `ports.PersonalityRepository`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def create(self, personality: Personality) -> None:
        """Stores a new one.

        Raises:
            ConflictError: The tenant has one with this id.
            StorageUnavailableError: The table did not answer.
        """
        # boto repeats a write whose answer got lost. The repetition then fails on its own first
        # try; the token tells that from somebody else's item.
        token = uuid.uuid4().hex
        try:
            with storage_errors(_taken()):
                self._table.put_item(
                    Item={**_item(personality), "write_token": token},
                    ConditionExpression="attribute_not_exists(PK)",
                )
        except ConflictError:
            stored = fetch(self._table, personality.tenant_id, PERSONALITY + personality.id)
            if stored is None or stored.get("write_token") != token:
                raise

    def get(self, tenant_id: str, personality_id: str) -> Personality:
        """Fetches one.

        Raises:
            NotFoundError: The tenant has none with this id.
            StorageUnavailableError: The table did not answer.
        """
        item = fetch(self._table, tenant_id, PERSONALITY + personality_id)
        if item is None:
            raise NotFoundError("There is no personality with this id.")
        return _personality(item)

    def list(
        self, tenant_id: str, *, limit: int, cursor: str | None = None
    ) -> tuple[Sequence[Personality], str | None]:
        """Lists by id, a page at a time.

        Returns:
            The page, and the cursor of the next one (None at the end).

        Raises:
            InvalidRequestError: The cursor is not one of ours.
            StorageUnavailableError: The table did not answer.
        """
        after = None if cursor is None else decode_cursor(tenant_id, cursor)
        # One more than asked tells whether there is a next page.
        found = [_personality(item) for item in self._items(tenant_id, after, limit + 1)]
        page = found[:limit]
        return page, encode_cursor(tenant_id, page[-1].id) if len(found) > limit else None

    def _items(self, tenant_id: str, after: str | None, count: int) -> Iterator[Mapping[str, Any]]:
        from boto3.dynamodb.conditions import Key

        query: QueryInputTableQueryTypeDef = {
            "KeyConditionExpression": Key("PK").eq(partition(tenant_id))
            & Key("SK").begins_with(PERSONALITY),
            "ConsistentRead": True,
        }
        if after is not None:
            query["ExclusiveStartKey"] = key(tenant_id, PERSONALITY + after)
        # A page of DynamoDB ends at 1 MB, whatever the limit says.
        while count > 0:
            query["Limit"] = count
            with storage_errors():
                answer = self._table.query(**query)
            yield from answer["Items"]
            count -= len(answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _taken() -> ConflictError:
    return ConflictError("There is a personality with this id already.", field="id")


def _item(personality: Personality) -> dict[str, Any]:
    return {
        **key(personality.tenant_id, PERSONALITY + personality.id),
        "version": personality.version,
        "document": personality.model_dump_json(),
    }


def _personality(item: Mapping[str, Any]) -> Personality:
    return Personality.model_validate_json(item["document"])
