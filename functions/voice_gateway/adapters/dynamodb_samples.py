"""Voice samples in the one table, and beside them whom to look after and when.

Whoever still has to be looked after stands in one partition of all tenants, written in the same
transaction as the sample itself: a sweep asks that partition instead of scanning the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from voice_gateway.adapters.dynamodb_stock import count_down, count_up, too_many
from voice_gateway.adapters.dynamodb_table import SAMPLE, fetch, key, partition, storage_errors
from voice_gateway.adapters.dynamodb_transaction import write_together
from voice_gateway.domain.errors import ConflictError, NotFoundError, StaleWriteError
from voice_gateway.domain.samples.sample import MAX_CHANGES, VoiceSample
from voice_gateway.domain.tiers import Stock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import (
        QueryInputTableQueryTypeDef,
        TransactWriteItemTypeDef,
    )

    from voice_gateway.domain.tiers import Ceiling

PENDING: Final = "PENDING"
"""The partition of the samples that somebody has to look after."""


class DynamoSamples:
    """Implements `ports.SampleRepository`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def create(self, sample: VoiceSample, *, ceiling: Ceiling | None = None) -> None:
        """Stores a new one; see the port."""
        refused = write_together(
            self._table,
            [
                self._put(sample, {"ConditionExpression": "attribute_not_exists(PK)"}),
                self._remind(sample),
                count_up(self._table, sample.tenant_id, Stock.SAMPLES, ceiling),
            ],
        )
        if 0 in refused:
            raise ConflictError("There is a sample with this id already.", field="id")
        if ceiling is not None and refused:
            raise too_many(ceiling, refused[2])

    def get(self, tenant_id: str, sample_id: str) -> VoiceSample:
        """Fetches one; see the port."""
        item = fetch(self._table, tenant_id, SAMPLE + sample_id)
        if item is None:
            raise NotFoundError("There is no sample with this id.")
        return _sample(item)

    def replace(self, *changes: tuple[VoiceSample, VoiceSample]) -> None:
        """Puts versions in the place of the ones before; see the port."""
        if len(changes) > MAX_CHANGES:
            raise ValueError(f"at most {MAX_CHANGES} samples at once")
        writes: list[TransactWriteItemTypeDef] = []
        for previous, changed in changes:
            condition = {
                "ConditionExpression": "version = :version",
                "ExpressionAttributeValues": {":version": previous.version},
            }
            writes += [self._put(changed, condition), self._remind(changed)]
        buried = sum(c.tombstone is not None and p.tombstone is None for p, c in changes)
        if buried:
            tenant_id = changes[0][1].tenant_id
            writes.append(count_down(self._table, tenant_id, Stock.SAMPLES, buried))
        if write_together(self._table, writes):
            raise StaleWriteError

    def of_personality(self, tenant_id: str, personality_id: str) -> Sequence[VoiceSample]:
        """Lists a personality's samples; see the port."""
        every = map(_sample, self._items(partition(tenant_id), SAMPLE))
        found = [sample for sample in every if sample.personality_id == personality_id]
        return sorted(found, key=lambda sample: (sample.created_at, sample.id), reverse=True)

    def due(self, now: datetime) -> Sequence[tuple[str, str]]:
        """Lists the samples that somebody has to look after; see the port."""
        limit = int(now.timestamp())
        return [
            (item["tenant"], item["sample"])
            for item in self._items(PENDING, SAMPLE)
            if item["due"] <= limit
        ]

    def _put(self, sample: VoiceSample, condition: Mapping[str, Any]) -> TransactWriteItemTypeDef:
        item = {
            **key(sample.tenant_id, SAMPLE + sample.id),
            "version": sample.version,
            "document": sample.model_dump_json(),
        }
        put: Any = {"TableName": self._table.name, "Item": item, **condition}
        return {"Put": put}

    def _remind(self, sample: VoiceSample) -> TransactWriteItemTypeDef:
        place = {"PK": PENDING, "SK": f"{SAMPLE}{sample.tenant_id}#{sample.id}"}
        if sample.due_at is None:
            return {"Delete": {"TableName": self._table.name, "Key": place}}
        item: dict[str, Any] = {
            **place,
            "tenant": sample.tenant_id,
            "sample": sample.id,
            "due": int(sample.due_at.timestamp()),
        }
        return {"Put": {"TableName": self._table.name, "Item": item}}

    def _items(self, of: str, prefix: str) -> Iterator[Mapping[str, Any]]:
        from boto3.dynamodb.conditions import Key

        query: QueryInputTableQueryTypeDef = {
            "KeyConditionExpression": Key("PK").eq(of) & Key("SK").begins_with(prefix),
            "ConsistentRead": True,
        }
        # A page of DynamoDB ends at 1 MB.
        while True:
            with storage_errors():
                answer = self._table.query(**query)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _sample(item: Mapping[str, Any]) -> VoiceSample:
    # A newer release, rolled back by now, may have written fields that this one does not know.
    return VoiceSample.model_validate_json(item["document"], extra="ignore")
