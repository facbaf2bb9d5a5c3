"""The same cases on the fakes and on the adapters, so that the fakes may stand for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from fakes.api_keys import FakeApiKeys
from fakes.clock import FakeClock
from fakes.personalities import FakePersonalities
from fakes.receipts import FakeReceipts
from voice_gateway.adapters.dynamodb_api_keys import DynamoApiKeys
from voice_gateway.adapters.dynamodb_personalities import DynamoPersonalities
from voice_gateway.adapters.dynamodb_receipts import DynamoReceipts
from voice_gateway.domain.chain import Quality
from voice_gateway.domain.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    StorageUnavailableError,
)
from voice_gateway.domain.personality import AdvancedSettings, Personality, VoiceConfig
from voice_gateway.domain.receipt import Asked, Attempt, Outcome, Receipt, Served
from voice_gateway.ports import ApiKeyRepository

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_gateway.ports import PersonalityRepository, ReceiptStore

NOW = datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)
BOTH = ["fake", "dynamodb"]


class WritableApiKeys(ApiKeyRepository, Protocol):
    def put(self, tenant_id: str, key_hash: str, scopes: frozenset[str], now: datetime) -> None: ...

    def revoke(self, tenant_id: str, key_hash: str, now: datetime) -> None: ...


def _personality(personality_id: str, tenant_id: str = "shop", **changes: Any) -> Personality:
    return Personality(
        **{
            "id": personality_id,
            "tenant_id": tenant_id,
            "name": personality_id.title(),
            "created_at": NOW,
            "updated_at": NOW,
            **changes,
        }
    )


def _receipt(request_id: str, **changes: Any) -> Receipt:
    return Receipt(
        **{
            "request_id": request_id,
            "personality": "marcel",
            "asked": Asked(provider="piper", voice=None, quality="medium"),
            "served": (Served(provider="espeak", voice="en-us+m3", sentences=2),),
            "substituted": True,
            "complete": True,
            "attempts": (
                Attempt(provider="piper", outcome=Outcome.FAILED, reason="timeout"),
                Attempt(provider="espeak", outcome=Outcome.SERVED, first_audio_ms=0.1 + 0.2),
            ),
            "sentences": 2,
            "first_audio_ms": 12.3,
            "total_ms": 45.6,
            "audio_seconds": 7.8,
            "real_time_factor": None,
            "characters": 90,
            "cost_usd": 0.0000001,
            "format": "wav",
            "sample_rate": 24000,
            **changes,
        }
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture(params=BOTH)
def personalities(request: pytest.FixtureRequest) -> PersonalityRepository:
    if request.param == "fake":
        return FakePersonalities()
    return DynamoPersonalities(request.getfixturevalue("table"))


@pytest.fixture(params=BOTH)
def receipts(request: pytest.FixtureRequest, clock: FakeClock) -> ReceiptStore:
    if request.param == "fake":
        return FakeReceipts(clock)
    return DynamoReceipts(request.getfixturevalue("table"), clock)


@pytest.fixture(params=BOTH)
def api_keys(request: pytest.FixtureRequest) -> WritableApiKeys:
    if request.param == "fake":
        return FakeApiKeys()
    return DynamoApiKeys(request.getfixturevalue("table"))


class TestPersonalities:
    def test_gives_back_exactly_what_was_stored(self, personalities: PersonalityRepository) -> None:
        stored = _personality(
            "shante",
            name="Shanté 🌿 « O »",
            description="Zwei\nZeilen, \u200bund \U0001f3a4",
            version=3,
            voice_config=VoiceConfig(
                provider="xtts_v2",
                fallback_chain=("styletts2", "piper", "espeak"),
                sample_path="tenants/shop/samples/1/clean.wav",
                language="fr-CA",
                speed=0.1 + 0.2,
                pitch=-1 / 3,
                quality=Quality.FAST,
                advanced=AdvancedSettings(alpha=1e-17, beta=0.7000000000000001),
                voices={"piper": "budtender/shante", "espeak": "en-us+f2"},
            ),
        )
        personalities.create(stored)
        assert personalities.get("shop", "shante") == stored

    def test_refuses_an_id_that_is_taken(self, personalities: PersonalityRepository) -> None:
        personalities.create(_personality("marcel", name="First"))
        with pytest.raises(ConflictError) as caught:
            personalities.create(_personality("marcel", name="Second"))
        assert caught.value.field == "id"
        assert personalities.get("shop", "marcel").name == "First"

    def test_one_of_many_at_once_wins(self, personalities: PersonalityRepository) -> None:
        def create(number: int) -> int | None:
            try:
                personalities.create(_personality("marcel", name=f"Number {number}"))
            except ConflictError:
                return None
            return number

        with ThreadPoolExecutor(20) as pool:
            won = [number for number in pool.map(create, range(20)) if number is not None]
        assert len(won) == 1
        assert personalities.get("shop", "marcel").name == f"Number {won[0]}"

    def test_equal_ones_at_once_still_have_one_winner(
        self, personalities: PersonalityRepository
    ) -> None:
        def create(_: int) -> bool:
            try:
                personalities.create(_personality("marcel"))
            except ConflictError:
                return False
            return True

        with ThreadPoolExecutor(20) as pool:
            assert sum(pool.map(create, range(20))) == 1

    def test_tenants_do_not_see_each_other(self, personalities: PersonalityRepository) -> None:
        personalities.create(_personality("marcel", "shop"))
        personalities.create(_personality("marcel", "shop-2", name="Another"))
        with pytest.raises(NotFoundError):
            personalities.get("sho", "marcel")
        assert personalities.get("shop-2", "marcel").name == "Another"
        page, _ = personalities.list("shop", limit=10)
        assert [p.tenant_id for p in page] == ["shop"]

    @pytest.mark.parametrize("absent", ["nobody", "", "x" * 5000, "\ud800", "marcel#", "Marcel"])
    def test_knows_nothing_of_what_is_absent(
        self, personalities: PersonalityRepository, absent: str
    ) -> None:
        personalities.create(_personality("marcel"))
        with pytest.raises(NotFoundError):
            personalities.get("shop", absent)

    def test_lists_by_id_in_pages(self, personalities: PersonalityRepository) -> None:
        ids = [f"p{number:02}" for number in range(7)]
        for personality_id in reversed(ids):
            personalities.create(_personality(personality_id))
        seen: list[str] = []
        sizes: list[int] = []
        cursor = None
        while True:
            page, cursor = personalities.list("shop", limit=3, cursor=cursor)
            seen += [p.id for p in page]
            sizes.append(len(page))
            if cursor is None:
                break
        assert seen == ids
        assert sizes == [3, 3, 1]

    def test_a_full_last_page_promises_no_other(self, personalities: PersonalityRepository) -> None:
        for number in range(4):
            personalities.create(_personality(f"p{number}"))
        _, cursor = personalities.list("shop", limit=2)
        page, cursor = personalities.list("shop", limit=2, cursor=cursor)
        assert ([p.id for p in page], cursor) == (["p2", "p3"], None)

    def test_lists_nothing_where_nothing_is(self, personalities: PersonalityRepository) -> None:
        assert personalities.list("shop", limit=5) == ([], None)

    def test_a_page_may_be_larger_than_a_megabyte(
        self, personalities: PersonalityRepository
    ) -> None:
        for number in range(12):
            personalities.create(_personality(f"p{number:02}", description="é" * 60_000))
        page, cursor = personalities.list("shop", limit=11)
        assert [p.id for p in page] == [f"p{number:02}" for number in range(11)]
        assert cursor is not None
        rest, cursor = personalities.list("shop", limit=11, cursor=cursor)
        assert ([p.id for p in rest], cursor) == (["p11"], None)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda cursor: "",
            lambda cursor: cursor[:-1],
            lambda cursor: cursor + "A",
            lambda cursor: cursor + "=",
            lambda cursor: cursor[::-1],
            lambda cursor: ("B" if cursor[0] != "B" else "C") + cursor[1:],
            lambda cursor: cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB"),
            lambda cursor: "p1",
            lambda cursor: "né",
            lambda cursor: "\ud800",
            lambda cursor: "A" * 100_000,
        ],
    )
    def test_refuses_a_spoilt_cursor(
        self, personalities: PersonalityRepository, spoil: Callable[[str], str]
    ) -> None:
        for number in range(3):
            personalities.create(_personality(f"p{number}"))
        _, cursor = personalities.list("shop", limit=2)
        assert cursor is not None
        with pytest.raises(InvalidRequestError) as caught:
            personalities.list("shop", limit=2, cursor=spoil(cursor))
        assert caught.value.field == "cursor"

    def test_refuses_another_tenants_cursor(self, personalities: PersonalityRepository) -> None:
        for number in range(3):
            personalities.create(_personality(f"p{number}", "other"))
        _, cursor = personalities.list("other", limit=2)
        with pytest.raises(InvalidRequestError):
            personalities.list("shop", limit=2, cursor=cursor)


class TestReceipts:
    def test_gives_back_exactly_what_was_stored(self, receipts: ReceiptStore) -> None:
        receipts.save("shop", _receipt("r1"))
        assert receipts.get("shop", "r1") == _receipt("r1")

    def test_the_last_one_of_a_request_counts(self, receipts: ReceiptStore) -> None:
        receipts.save("shop", _receipt("r1", complete=False))
        receipts.save("shop", _receipt("r1"))
        assert receipts.get("shop", "r1").complete

    @pytest.mark.parametrize(
        ("tenant_id", "request_id"),
        [("other", "r1"), ("shop", "r2"), ("shop", ""), ("shop", "r" * 5000), ("shop", "\ud800")],
    )
    def test_knows_nothing_of_what_is_absent(
        self, receipts: ReceiptStore, tenant_id: str, request_id: str
    ) -> None:
        receipts.save("shop", _receipt("r1"))
        with pytest.raises(NotFoundError):
            receipts.get(tenant_id, request_id)

    def test_forgets_after_a_day(self, receipts: ReceiptStore, clock: FakeClock) -> None:
        receipts.save("shop", _receipt("r1"))
        clock.advance(24 * 3600 - 1)
        receipts.get("shop", "r1")
        clock.advance(1)
        with pytest.raises(NotFoundError):
            receipts.get("shop", "r1")


class TestApiKeys:
    SCOPES = frozenset({"speech:write", "speech:read"})

    def test_knows_the_scopes_of_a_key(self, api_keys: WritableApiKeys) -> None:
        api_keys.put("shop", "a" * 64, self.SCOPES, NOW)
        assert api_keys.find("shop", "a" * 64) == self.SCOPES

    def test_a_key_may_have_no_scope(self, api_keys: WritableApiKeys) -> None:
        api_keys.put("shop", "a" * 64, frozenset(), NOW)
        assert api_keys.find("shop", "a" * 64) == frozenset()

    @pytest.mark.parametrize("tenant_and_hash", [("shop", "b" * 64), ("other", "a" * 64)])
    def test_knows_no_other(
        self, api_keys: WritableApiKeys, tenant_and_hash: tuple[str, str]
    ) -> None:
        api_keys.put("shop", "a" * 64, self.SCOPES, NOW)
        assert api_keys.find(*tenant_and_hash) is None

    def test_a_revoked_key_is_none_and_stays_so(self, api_keys: WritableApiKeys) -> None:
        api_keys.put("shop", "a" * 64, self.SCOPES, NOW)
        api_keys.revoke("shop", "a" * 64, NOW)
        assert api_keys.find("shop", "a" * 64) is None
        api_keys.put("shop", "a" * 64, self.SCOPES, NOW)
        assert api_keys.find("shop", "a" * 64) is None

    def test_only_a_key_can_be_revoked(self, api_keys: WritableApiKeys) -> None:
        with pytest.raises(NotFoundError):
            api_keys.revoke("shop", "a" * 64, NOW)
        assert api_keys.find("shop", "a" * 64) is None


class TestTroubleWithTheTable:
    """Of the adapters alone: the fakes play it with `broken`."""

    @pytest.fixture(params=["absent_table", "unreachable_table"])
    def bad_table(self, request: pytest.FixtureRequest) -> Any:
        return request.getfixturevalue(request.param)

    def test_is_one_error(self, bad_table: Any, clock: FakeClock) -> None:
        personalities = DynamoPersonalities(bad_table)
        receipts = DynamoReceipts(bad_table, clock)
        keys = DynamoApiKeys(bad_table)
        calls: list[Callable[[], object]] = [
            lambda: personalities.create(_personality("marcel")),
            lambda: personalities.get("shop", "marcel"),
            lambda: personalities.list("shop", limit=2),
            lambda: receipts.save("shop", _receipt("r1")),
            lambda: receipts.get("shop", "r1"),
            lambda: keys.find("shop", "a" * 64),
            lambda: keys.put("shop", "a" * 64, frozenset(), NOW),
            lambda: keys.revoke("shop", "a" * 64, NOW),
        ]
        for call in calls:
            with pytest.raises(StorageUnavailableError):
                call()

    def test_the_fakes_break_alike(self, clock: FakeClock) -> None:
        personalities = FakePersonalities()
        receipts = FakeReceipts(clock)
        keys = FakeApiKeys()
        for fake in (personalities, receipts, keys):
            fake.broken = True
        with pytest.raises(StorageUnavailableError):
            personalities.get("shop", "marcel")
        with pytest.raises(StorageUnavailableError):
            receipts.get("shop", "r1")
        with pytest.raises(StorageUnavailableError):
            keys.find("shop", "a" * 64)

    def test_a_page_goes_on_where_dynamodb_stopped(self, table: Any) -> None:
        class StopsEarly:
            """Does what DynamoDB does at a megabyte."""

            def query(self, **request: Any) -> Any:
                return table.query(**{**request, "Limit": min(request["Limit"], 2)})

            def __getattr__(self, name: str) -> Any:
                return getattr(table, name)

        early: Any = StopsEarly()
        repository = DynamoPersonalities(early)
        for number in range(7):
            repository.create(_personality(f"p{number}"))
        page, cursor = repository.list("shop", limit=5)
        assert [p.id for p in page] == [f"p{number}" for number in range(5)]
        page, cursor = repository.list("shop", limit=5, cursor=cursor)
        assert ([p.id for p in page], cursor) == (["p5", "p6"], None)

    def test_a_write_whose_answer_got_lost_succeeds(self, table: Any) -> None:
        class LosesTheFirstAnswer:
            """Does what boto does: sends the same write again."""

            def put_item(self, **request: Any) -> Any:
                table.put_item(**request)
                return table.put_item(**request)

            def __getattr__(self, name: str) -> Any:
                return getattr(table, name)

        lossy: Any = LosesTheFirstAnswer()
        DynamoPersonalities(lossy).create(_personality("marcel"))
        with pytest.raises(ConflictError):
            DynamoPersonalities(lossy).create(_personality("marcel"))


def test_dynamodb_sees_when_a_receipt_expires(table: Any, clock: FakeClock) -> None:
    DynamoReceipts(table, clock).save("shop", _receipt("r1"))
    item = table.get_item(Key={"PK": "TENANT#shop", "SK": "RECEIPT#r1"})["Item"]
    assert item["expires_at"] == int(NOW.timestamp()) + 24 * 3600
