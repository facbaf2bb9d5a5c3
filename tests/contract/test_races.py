"""Many writers at once: no write is lost, none overwrites another unseen.

`VOICE_RACE_SECONDS=10` makes the writers go on for so long, instead of a few writes each, and `-s`
shows what was measured.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from fakes.personalities import FakePersonalities
from fakes.tenants import FakeTenants
from voice_gateway.adapters.dynamodb_personalities import DynamoPersonalities
from voice_gateway.adapters.system_clock import SystemClock
from voice_gateway.domain.errors import (
    ConflictError,
    NotFoundError,
    PlanLimitError,
    PreconditionFailedError,
    StaleWriteError,
)
from voice_gateway.domain.idempotency import OnceOnly
from voice_gateway.domain.personality import Character, Personality, VoiceConfig
from voice_gateway.domain.tiers import Overrides, Plan
from voice_gateway.services.personalities import PersonalityService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb.service_resource import Table

    from voice_gateway.ports import PersonalityRepository

WRITERS = 32
WRITES_EACH = 3
SECONDS = float(os.environ.get("VOICE_RACE_SECONDS", "0"))


@pytest.fixture(params=["fake", "dynamodb"])
def repository(
    request: pytest.FixtureRequest, table: Table, aws_endpoint: str
) -> Iterator[PersonalityRepository]:
    if request.param == "fake":
        yield FakePersonalities(clock=SystemClock())
        return
    resource = boto3.resource(
        "dynamodb",
        endpoint_url=aws_endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(max_pool_connections=WRITERS),
    )
    yield DynamoPersonalities(resource.Table(table.name), SystemClock())
    resource.meta.client.close()


@dataclass
class Writes:
    """What became of the writes."""

    accepted: list[tuple[Personality, Callable[[Character], Character]]] = field(
        default_factory=list
    )
    refused: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def _replacement(mark: str) -> Callable[[Character], Character]:
    made = Character(name=f"Put by {mark}", greeting=mark)
    return lambda _: made


def _patch(mark: str) -> Callable[[Character], Character]:
    def patched(present: Character) -> Character:
        words = {**present.lexicon.get("en", {}), mark: mark}
        kept = dict(list(words.items())[-150:])
        return present.model_copy(update={"lexicon": {**present.lexicon, "en": kept}})

    return patched


def _voice(mark: str) -> Callable[[Character], Character]:
    config = VoiceConfig(voices={"piper": mark})
    return lambda present: present.model_copy(update={"voice_config": config})


def _character(personality: Personality) -> dict[str, Any]:
    return personality.model_dump(include=set(Character.model_fields))


def test_every_accepted_write_is_in_the_history_and_stands_on_the_one_before(
    repository: PersonalityRepository,
) -> None:
    service = PersonalityService(repository, SystemClock(), tenants=FakeTenants())
    first, _ = service.create("shop", Character(name="Marcel"))
    writes = Writes()
    begin = time.monotonic()

    def write(writer: int) -> None:
        number = 0
        # The one in memory is so fast that its history would fill the memory.
        timed = SECONDS and isinstance(repository, DynamoPersonalities)
        while time.monotonic() - begin < SECONDS if timed else number < WRITES_EACH:
            mark = f"w{writer}-{number}"
            # Patches most of all, and of each kind some that know a version and some that do not.
            make = (_patch, _patch, _replacement, _voice)[(writer + number) % 4]
            expected = None
            if writer % 4 == 3:
                expected = {service.get("shop", first.id).version}
            number += 1
            change = make(mark)
            started = time.monotonic()
            try:
                written = service.change("shop", first.id, change, expected=expected)
            except (PreconditionFailedError, StaleWriteError) as error:
                writes.refused[type(error).__name__] += 1
            else:
                writes.accepted.append((written, change))
            writes.seconds.append(time.monotonic() - started)

    with ThreadPoolExecutor(WRITERS) as pool:
        for done in [pool.submit(write, writer) for writer in range(WRITERS)]:
            done.result()
    took = time.monotonic() - begin

    present = service.get("shop", first.id)
    history = {first.version: first}
    cursor = None
    while True:
        page, cursor = repository.versions(present, limit=100, cursor=cursor)
        history |= {version.version: version for version in page}
        if cursor is None:
            break
    assert sorted(history) == list(range(1, len(writes.accepted) + 2))
    assert history[len(history)] == present
    assert len({written.version for written, _ in writes.accepted}) == len(writes.accepted)
    for written, change in writes.accepted:
        assert history[written.version] == written
        assert _character(written) == _character(
            written.rewritten(change(history[written.version - 1]), datetime.now(UTC))
        )
    p50, p99 = (statistics.quantiles(writes.seconds, n=100)[n] for n in (49, 98))
    print(  # noqa: T201  measured figures, for -s
        f"\n{type(repository).__name__}: {WRITERS} writers, {took:.1f} s: "
        f"{len(writes.accepted)} accepted, refused {dict(writes.refused)}, "
        f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms"
    )


def test_one_creation_of_many_at_once(repository: PersonalityRepository) -> None:
    service = PersonalityService(repository, SystemClock(), tenants=FakeTenants())
    once = OnceOnly("the-key", "the-body")

    def create(number: int) -> str:
        try:
            _, replayed = service.create(
                "shop", Character(name="Marcel"), once=once if number % 2 else None
            )
        except ConflictError:
            return "conflict"
        return "replayed" if replayed else "made"

    with ThreadPoolExecutor(WRITERS) as pool:
        outcomes = Counter(pool.map(create, range(WRITERS)))
    assert outcomes["made"] == 1
    page, _ = service.list("shop", limit=100)
    assert [p.version for p in page] == [1]


def test_deleting_and_restoring_at_once_lose_nothing(repository: PersonalityRepository) -> None:
    service = PersonalityService(repository, SystemClock(), tenants=FakeTenants())
    first, _ = service.create("shop", Character(name="Marcel"))

    def flip(number: int) -> None:
        act = service.delete if number % 2 else service.restore
        try:
            act("shop", first.id)
        except ConflictError:
            raise
        except Exception as error:
            assert type(error).__name__ in ("NotFoundError", "StaleWriteError")

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(flip, range(WRITERS)))
    present = service.restore("shop", first.id)
    versions, _ = repository.versions(present, limit=100)
    assert [v.version for v in versions] == list(range(present.version, 0, -1))
    # Each of them is the other of the one before.
    assert [v.deleted_at is None for v in reversed(versions)] == [
        v.version % 2 == 1 for v in reversed(versions)
    ]


def test_fifty_creations_at_once_stop_at_the_limit(repository: PersonalityRepository) -> None:
    limit = 3
    tenants = FakeTenants(Plan(overrides=Overrides(personalities=limit)))
    service = PersonalityService(repository, SystemClock(), tenants=tenants)
    service.create("shop", Character(name="Seeded"), counted=False)

    def create(number: int) -> str:
        try:
            service.create("shop", Character(name=f"P {number}"))
        except PlanLimitError as error:
            assert (error.limit, error.usage, error.tier) == (limit, limit, "free")
            return "refused"
        return "made"

    with ThreadPoolExecutor(50) as pool:
        outcomes = Counter(pool.map(create, range(50)))
    assert outcomes == {"made": limit, "refused": 50 - limit}
    page, _ = service.list("shop", limit=100)
    assert len(page) == limit + 1


def test_places_are_given_back_and_taken_anew(repository: PersonalityRepository) -> None:
    """Of three places, whoever deletes, restores and creates at once, never more are taken."""
    limit = 3
    tenants = FakeTenants(Plan(overrides=Overrides(personalities=limit)))
    service = PersonalityService(repository, SystemClock(), tenants=tenants)
    for number in range(limit):
        service.create("shop", Character(name=f"First {number}"))
        service.delete("shop", f"first-{number}")

    def act(number: int) -> None:
        with contextlib.suppress(PlanLimitError, NotFoundError):
            match number % 3:
                case 0:
                    service.restore("shop", f"first-{number // 3 % limit}")
                case 1:
                    service.create("shop", Character(name=f"P {number}"))
                case _:
                    service.delete("shop", f"first-{number // 3 % limit}")

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(act, range(48)))
    page, _ = service.list("shop", limit=100)
    assert len(page) <= limit
    for personality in page:
        service.delete("shop", personality.id)
    for number in range(limit):
        service.create("shop", Character(name=f"Last {number}"))
    with pytest.raises(PlanLimitError):
        service.create("shop", Character(name="One more"))
