"""Personalities in the one table: each as it is now, and its history beside it."""

from __future__ import annotations

import hashlib
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from voice_gateway.adapters.cursor import decode_cursor, encode_cursor
from voice_gateway.adapters.dynamodb_stock import count_down, count_up, too_many
from voice_gateway.adapters.dynamodb_table import (
    HISTORY,
    ONCE_ONLY,
    PERSONALITY,
    fetch,
    key,
    partition,
    storage_errors,
)
from voice_gateway.adapters.dynamodb_transaction import write_together
from voice_gateway.domain.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    StaleWriteError,
    StorageUnavailableError,
)
from voice_gateway.domain.idempotency import IDEMPOTENCY_LIFETIME
from voice_gateway.domain.listing import PersonalityFilter, cut_page
from voice_gateway.domain.personality import SUPERSEDED_KEPT_FOR, Personality
from voice_gateway.domain.tiers import Stock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import (
        PutTypeDef,
        QueryInputTableQueryTypeDef,
        TransactWriteItemTypeDef,
    )

    from voice_gateway.domain.idempotency import OnceOnly
    from voice_gateway.domain.tiers import Ceiling
    from voice_gateway.ports import Clock

_EVERY: Final = PersonalityFilter()
_ABSENT_OR_EXPIRED: Final = "attribute_not_exists(PK) OR expires_at <= :now"
"""DynamoDB removes what has expired when it finds the time, days later at worst."""


class DynamoPersonalities:
    """Implements `ports.PersonalityRepository`."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def create(
        self,
        personality: Personality,
        once: OnceOnly | None = None,
        *,
        ceiling: Ceiling | None = None,
    ) -> Personality | None:
        """Stores a new one; see the port."""
        tenant_id = personality.tenant_id
        writes = [
            self._put(
                _item(personality),
                ConditionExpression=_ABSENT_OR_EXPIRED,
                ExpressionAttributeValues={":now": _seconds(personality.created_at)},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            ),
            self._put(_history_item(personality)),
        ]
        counter = len(writes)
        if personality.takes_a_place:
            writes.append(count_up(self._table, tenant_id, Stock.PERSONALITIES, ceiling))
        if once is not None:
            writes.append(self._put_once(personality, once))
        refused = write_together(self._table, writes)
        if once is not None and len(writes) - 1 in refused:
            return self._made_before(tenant_id, once, refused[len(writes) - 1])
        if 0 in refused:
            raise _taken(deleted="expires_at" in refused[0])
        if ceiling is not None and counter in refused:
            raise too_many(ceiling, refused[counter])
        return None

    def get(
        self, tenant_id: str, personality_id: str, *, with_deleted: bool = False
    ) -> Personality:
        """Fetches one; see the port."""
        item = fetch(self._table, tenant_id, PERSONALITY + personality_id)
        found = None if item is None else _personality(item)
        if (
            found is None
            or found.is_gone(self._clock.now())
            or (found.deleted_at is not None and not with_deleted)
        ):
            raise NotFoundError("There is no personality with this id.")
        return found

    def replace(
        self, previous: Personality, changed: Personality, *, ceiling: Ceiling | None = None
    ) -> None:
        """Puts a version in the place of the one before; see the port."""
        tenant_id = changed.tenant_id
        forgotten = changed.updated_at + SUPERSEDED_KEPT_FOR
        writes: list[TransactWriteItemTypeDef] = [
            self._put(
                _item(changed),
                ConditionExpression="version = :version",
                ExpressionAttributeValues={":version": previous.version},
            ),
            self._put(_history_item(changed)),
            {
                "Update": {
                    "TableName": self._table.name,
                    "Key": _history_key(previous),
                    # It stands there already, unless it was written before there was a history.
                    "UpdateExpression": "SET expires_at = :forgotten, "
                    "#document = if_not_exists(#document, :document), "
                    "version = if_not_exists(version, :version)",
                    "ExpressionAttributeNames": {"#document": "document"},
                    "ExpressionAttributeValues": {
                        ":forgotten": _seconds(forgotten),
                        ":document": previous.model_dump_json(),
                        ":version": previous.version,
                    },
                }
            },
        ]
        counter = len(writes)
        if changed.takes_a_place and not previous.takes_a_place:
            writes.append(count_up(self._table, tenant_id, Stock.PERSONALITIES, ceiling))
        elif previous.takes_a_place and not changed.takes_a_place:
            writes.append(count_down(self._table, tenant_id, Stock.PERSONALITIES))
        refused = write_together(self._table, writes)
        if 0 in refused:
            raise StaleWriteError
        if ceiling is not None and counter in refused:
            raise too_many(ceiling, refused[counter])

    def list(
        self,
        tenant_id: str,
        *,
        limit: int,
        cursor: str | None = None,
        wanted: PersonalityFilter = _EVERY,
    ) -> tuple[Sequence[Personality], str | None]:
        """Lists by id, a page at a time; see the port."""
        after = None if cursor is None else decode_cursor(tenant_id, cursor)
        now = self._clock.now()
        start = None if after is None else key(tenant_id, PERSONALITY + after)
        # One more than asked tells whether there is a next page. A filter may have to see many.
        at_once = None if wanted.selects else limit + 1
        every = map(_personality, self._items(tenant_id, PERSONALITY, start, at_once))
        page, more = cut_page((p for p in every if wanted.takes(p, now)), limit)
        return page, encode_cursor(tenant_id, page[-1].id) if more else None

    def versions(
        self, personality: Personality, *, limit: int, cursor: str | None = None
    ) -> tuple[Sequence[Personality], str | None]:
        """Lists its versions, the newest first; see the port."""
        tenant_id = personality.tenant_id
        prefix = _history_prefix(personality)
        scope = f"{tenant_id}/{prefix}"
        before = None if cursor is None else decode_cursor(scope, cursor)
        start = None if before is None else key(tenant_id, prefix + before)
        now = _seconds(self._clock.now())
        items = self._items(tenant_id, prefix, start, limit + 1, newest_first=True)
        kept = (item for item in items if item.get("expires_at", now + 1) > now)
        page, more = cut_page(map(_personality, kept), limit)
        return page, encode_cursor(scope, _history_number(page[-1])) if more else None

    def _items(
        self,
        tenant_id: str,
        prefix: str,
        start: Mapping[str, str] | None,
        at_once: int | None,
        *,
        newest_first: bool = False,
    ) -> Iterator[Mapping[str, Any]]:
        from boto3.dynamodb.conditions import Key

        query: QueryInputTableQueryTypeDef = {
            "KeyConditionExpression": Key("PK").eq(partition(tenant_id))
            & Key("SK").begins_with(prefix),
            "ConsistentRead": True,
            "ScanIndexForward": not newest_first,
        }
        if start is not None:
            query["ExclusiveStartKey"] = start
        if at_once is not None:
            query["Limit"] = at_once
        # A page of DynamoDB ends at 1 MB, whatever the limit says.
        while True:
            with storage_errors():
                answer = self._table.query(**query)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _put(self, item: Mapping[str, Any], **condition: Any) -> TransactWriteItemTypeDef:
        put: PutTypeDef = {"TableName": self._table.name, "Item": item}
        put.update(condition)  # type: ignore[typeddict-item]
        return {"Put": put}

    def _put_once(self, personality: Personality, once: OnceOnly) -> TransactWriteItemTypeDef:
        now = personality.created_at
        return self._put(
            {
                **_once_key(personality.tenant_id, once),
                "fingerprint": once.fingerprint,
                "made": _history_key(personality)["SK"],
                "expires_at": _seconds(now + IDEMPOTENCY_LIFETIME),
            },
            ConditionExpression=_ABSENT_OR_EXPIRED,
            ExpressionAttributeValues={":now": _seconds(now)},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )

    def _made_before(self, tenant_id: str, once: OnceOnly, first: Mapping[str, Any]) -> Personality:
        if first["fingerprint"] != once.fingerprint:
            raise InvalidRequestError(
                "This key came with another body before.", field="idempotency-key"
            )
        made = fetch(self._table, tenant_id, first["made"])
        if made is None:
            raise StorageUnavailableError("the first version is missing")
        return _personality(made)


def _taken(*, deleted: bool) -> ConflictError:
    if deleted:
        return ConflictError(
            "A deleted personality has this id; it can be restored, and its id is free when it is "
            "gone for good.",
            field="id",
        )
    return ConflictError("There is a personality with this id already.", field="id")


def _item(personality: Personality) -> dict[str, Any]:
    return {
        **key(personality.tenant_id, PERSONALITY + personality.id),
        **_stored(personality),
    }


def _history_item(personality: Personality) -> dict[str, Any]:
    return {**_history_key(personality), **_stored(personality)}


def _stored(personality: Personality) -> dict[str, Any]:
    until = personality.restorable_until
    return {
        "version": personality.version,
        "document": personality.model_dump_json(),
        **({} if until is None else {"expires_at": _seconds(until)}),
    }


def _history_key(personality: Personality) -> dict[str, str]:
    return key(personality.tenant_id, _history_prefix(personality) + _history_number(personality))


def _history_prefix(personality: Personality) -> str:
    # With its birth: whoever takes the id of one that is gone begins a history of its own.
    born = personality.created_at.astimezone(UTC).strftime("%Y%m%dt%H%M%S%f")
    return f"{HISTORY}{personality.id}#{born}#v"


def _history_number(personality: Personality) -> str:
    return f"{personality.version:09}"


def _once_key(tenant_id: str, once: OnceOnly) -> dict[str, str]:
    return key(tenant_id, ONCE_ONLY + hashlib.sha256(once.key.encode()).hexdigest())


def _seconds(when: datetime) -> int:
    return int(when.timestamp())


def _personality(item: Mapping[str, Any]) -> Personality:
    # A newer release, rolled back by now, may have written fields that this one does not know.
    return Personality.model_validate_json(item["document"], extra="ignore")
