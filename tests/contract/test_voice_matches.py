"""The same cases on the fake and on the adapter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from fakes.voice_matches import FakeVoiceMatches
from voice_gateway.adapters.dynamodb_voice_matches import DynamoVoiceMatches
from voice_gateway.domain.errors import StorageUnavailableError
from voice_gateway.domain.voice_match import VoiceMatch, VoiceMatches

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from voice_gateway.ports import VoiceMatchStore

pytestmark = pytest.mark.integration

MATCHES = VoiceMatches(
    basis="a" * 64,
    made_at=datetime(2026, 3, 1, 9, 0, tzinfo=UTC),
    voices={
        name: VoiceMatch(provider=name, voice="v", score=score, parts={"gender": score})
        for name, score in (("watson", 0.9), ("azure", 0.123), ("google", 0.0))
    },
    unavailable={"piper": "timeout"},
)


@pytest.fixture(params=["fake", "dynamodb"])
def store(request: pytest.FixtureRequest) -> VoiceMatchStore:
    if request.param == "fake":
        return FakeVoiceMatches()
    return DynamoVoiceMatches(request.getfixturevalue("table"))


def test_what_was_stored_last_comes_back_in_its_order(store: VoiceMatchStore) -> None:
    store.save("shop", "marcel", MATCHES.model_copy(update={"basis": "b" * 64}))
    store.save("shop", "marcel", MATCHES)
    found = store.find("shop", "marcel")
    assert found == MATCHES
    assert list(found.voices) == ["watson", "azure", "google"]


@pytest.mark.parametrize("whose", [("shop", "zac"), ("other", "marcel"), ("shop", "x" * 2000)])
def test_there_are_no_others(store: VoiceMatchStore, whose: tuple[str, str]) -> None:
    store.save("shop", "marcel", MATCHES)
    assert store.find(*whose) is None


def test_they_end_after_a_month(table: Table) -> None:
    DynamoVoiceMatches(table).save("shop", "marcel", MATCHES)
    [item] = table.scan()["Items"]
    assert item["expires_at"] == MATCHES.made_at.timestamp() + 30 * 24 * 3600


def test_a_table_that_is_away_says_so(absent_table: Table) -> None:
    with pytest.raises(StorageUnavailableError):
        DynamoVoiceMatches(absent_table).save("shop", "marcel", MATCHES)
