"""The same cases on the fakes and on the adapters, so that the fakes may stand for them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from fakes.api_keys import FakeApiKeys
from fakes.clock import FakeClock
from fakes.personalities import FakePersonalities
from fakes.receipts import FakeReceipts
from voice_gateway.adapters.dynamodb_api_keys import DynamoApiKeys
from voice_gateway.adapters.dynamodb_personalities import DynamoPersonalities
from voice_gateway.adapters.dynamodb_receipts import DynamoReceipts
from voice_gateway.domain.access import ApiKey
from voice_gateway.domain.chain import Quality
from voice_gateway.domain.character import Traits
from voice_gateway.domain.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    StaleWriteError,
    StorageUnavailableError,
)
from voice_gateway.domain.idempotency import OnceOnly
from voice_gateway.domain.listing import PersonalityFilter
from voice_gateway.domain.personality import (
    AdvancedSettings,
    Character,
    Personality,
    VoiceConfig,
)
from voice_gateway.domain.receipt import Asked, Attempt, Outcome, Receipt, Served
from voice_gateway.ports import ApiKeyRepository

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_gateway.ports import PersonalityRepository, ReceiptStore

NOW = datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)
BOTH = ["fake", "dynamodb"]
LARGE: dict[str, Any] = {
    "description": "🎤" * 2000,
    "greeting": "🎤" * 500,
    "system_prompt": "🎤" * 8000,
    "phrases": tuple("🎤" * 295 + f"{number:02}" for number in range(50)),
    "lexicon": {"en": {"🎤" * 60 + f"{number:03}": "🎤" * 128 for number in range(200)}},
}
"""As large as a personality can be."""


class WritableApiKeys(ApiKeyRepository, Protocol):
    def put(self, tenant_id: str, key_hash: str, scopes: frozenset[str], now: datetime) -> None: ...


def _api_key(letter: str, tenant_id: str = "shop", **changes: Any) -> ApiKey:
    made = {"tenant_id": tenant_id, "key_hash": letter * 64, "created_at": NOW}
    return ApiKey(**{"scopes": frozenset({"speech:read"}), **made, **changes})


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
def personalities(request: pytest.FixtureRequest, clock: FakeClock) -> PersonalityRepository:
    if request.param == "fake":
        return FakePersonalities(clock=clock)
    return DynamoPersonalities(request.getfixturevalue("table"), clock)


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
            traits=Traits(warmth=0, energy=100, words=("témoin", "🎤")),
            greeting="Salut!\n",
            system_prompt="{{}} {name}",
            phrases=("Bonjour.", "À bientôt."),
            lexicon={"fr-CA": {"THC": "té-ache-cé"}, "en": {}},
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
        for number in range(7):
            personalities.create(_personality(f"p{number}", **LARGE))
        page, cursor = personalities.list("shop", limit=6)
        assert sum(len(p.model_dump_json().encode()) for p in page) > 1_000_000
        assert [p.id for p in page] == [f"p{number}" for number in range(6)]
        assert cursor is not None
        rest, cursor = personalities.list("shop", limit=6, cursor=cursor)
        assert ([p.id for p in rest], cursor) == (["p6"], None)

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

    def test_replaces_the_version_that_was_read(self, personalities: PersonalityRepository) -> None:
        first = _personality("marcel")
        personalities.create(first)
        second = first.rewritten(Character(name="Second"), NOW)
        personalities.replace(first, second)
        assert personalities.get("shop", "marcel") == second
        assert personalities.versions(second, limit=5) == ([second, first], None)

    def test_a_version_that_is_no_longer_is_not_replaced(
        self, personalities: PersonalityRepository
    ) -> None:
        first = _personality("marcel")
        personalities.create(first)
        second = first.rewritten(Character(name="Second"), NOW)
        personalities.replace(first, second)
        with pytest.raises(StaleWriteError):
            personalities.replace(first, first.rewritten(Character(name="Late"), NOW))
        with pytest.raises(StaleWriteError):
            personalities.replace(_personality("nobody"), _personality("nobody", version=2))
        assert personalities.versions(second, limit=5) == ([second, first], None)
        with pytest.raises(NotFoundError):
            personalities.get("shop", "nobody")

    def test_one_of_many_replacements_at_once_wins(
        self, personalities: PersonalityRepository
    ) -> None:
        first = _personality("marcel")
        personalities.create(first)

        def replace(number: int) -> bool:
            try:
                personalities.replace(first, first.rewritten(Character(name=str(number)), NOW))
            except StaleWriteError:
                return False
            return True

        with ThreadPoolExecutor(20) as pool:
            won = [number for number, done in enumerate(pool.map(replace, range(20))) if done]
        assert len(won) == 1
        present = personalities.get("shop", "marcel")
        assert (present.version, present.name) == (2, str(won[0]))
        assert personalities.versions(present, limit=30) == ([present, first], None)

    def test_a_deleted_one_can_be_restored_for_thirty_days(
        self, personalities: PersonalityRepository, clock: FakeClock
    ) -> None:
        first = _personality("marcel")
        personalities.create(first)
        deleted = first.deleted(clock.now())
        personalities.replace(first, deleted)
        with pytest.raises(NotFoundError):
            personalities.get("shop", "marcel")
        assert personalities.list("shop", limit=5) == ([], None)
        clock.advance(30 * 86400 - 1)
        assert personalities.get("shop", "marcel", with_deleted=True) == deleted
        wanted = PersonalityFilter(deleted=True)
        assert personalities.list("shop", limit=5, wanted=wanted) == ([deleted], None)
        with pytest.raises(ConflictError, match="restored"):
            personalities.create(_personality("marcel", created_at=clock.now()))
        clock.advance(1)
        with pytest.raises(NotFoundError):
            personalities.get("shop", "marcel", with_deleted=True)
        assert personalities.list("shop", limit=5, wanted=wanted) == ([], None)

    def test_one_that_is_gone_leaves_its_id_and_no_history(
        self, personalities: PersonalityRepository, clock: FakeClock
    ) -> None:
        first = _personality("marcel")
        personalities.create(first)
        personalities.replace(first, first.deleted(NOW))
        clock.advance(30 * 86400)
        another = _personality("marcel", name="Another", created_at=clock.now())
        personalities.create(another)
        assert personalities.get("shop", "marcel") == another
        assert personalities.versions(another, limit=5) == ([another], None)

    def test_restoring_takes_the_expiry_away(
        self, personalities: PersonalityRepository, clock: FakeClock
    ) -> None:
        first = _personality("marcel")
        personalities.create(first)
        deleted = first.deleted(NOW)
        personalities.replace(first, deleted)
        restored = deleted.restored(NOW)
        personalities.replace(deleted, restored)
        clock.advance(31 * 86400)
        assert personalities.get("shop", "marcel") == restored
        assert [p.version for p in personalities.versions(restored, limit=5)[0]] == [3, 2, 1]

    def test_forgets_a_superseded_version_after_ninety_days(
        self, personalities: PersonalityRepository, clock: FakeClock
    ) -> None:
        first = _personality("marcel")
        personalities.create(first)
        second = first.rewritten(Character(name="Second"), NOW)
        personalities.replace(first, second)
        clock.advance(90 * 86400 - 1)
        assert personalities.versions(second, limit=5) == ([second, first], None)
        clock.advance(1)
        assert personalities.versions(second, limit=5) == ([second], None)

    def test_lists_versions_in_pages(self, personalities: PersonalityRepository) -> None:
        present = _personality("marcel")
        personalities.create(present)
        personalities.create(_personality("marcel-2"))
        for number in range(2, 8):
            after = present.rewritten(Character(name=f"Number {number}"), NOW)
            personalities.replace(present, after)
            present = after
        seen: list[int] = []
        cursor = None
        while True:
            page, cursor = personalities.versions(present, limit=3, cursor=cursor)
            seen += [p.version for p in page]
            if cursor is None:
                break
        assert seen == [7, 6, 5, 4, 3, 2, 1]

    def test_refuses_the_cursor_of_another_history(
        self, personalities: PersonalityRepository
    ) -> None:
        cursors = []
        for name in ("marcel", "zac"):
            first = _personality(name)
            personalities.create(first)
            second = first.rewritten(first, NOW)
            personalities.replace(first, second)
            cursors.append(personalities.versions(second, limit=1)[1])
        for cursor in (cursors[1], "", "x", "né"):
            with pytest.raises(InvalidRequestError) as caught:
                personalities.versions(_personality("marcel"), limit=1, cursor=cursor)
            assert caught.value.field == "cursor"

    @pytest.mark.parametrize(
        ("wanted", "ids"),
        [
            ({"name": "sha"}, ["b"]),
            ({"name": "SHANTÉ"}, ["b"]),
            ({"name": "hanté"}, []),
            ({"name": "straße"}, ["c"]),
            ({"language": "FR"}, ["b", "c"]),
            ({"language": "fr-CA"}, ["c"]),
            ({"language": "f"}, []),
            ({"quality": Quality.FAST}, ["a", "c"]),
            ({"quality": Quality.FAST, "language": "fr"}, ["c"]),
            ({}, ["a", "b", "c"]),
        ],
    )
    def test_finds_by_name_language_and_quality(
        self, personalities: PersonalityRepository, wanted: dict[str, Any], ids: list[str]
    ) -> None:
        for name, personality_id, language, quality in (
            ("Marcel", "a", "en", Quality.FAST),
            ("Shante\u0301", "b", "fr", Quality.HIGH),
            ("STRASSE", "c", "fr-CA", Quality.FAST),
        ):
            config = VoiceConfig(language=language, quality=quality)
            personalities.create(_personality(personality_id, name=name, voice_config=config))
        found, _ = personalities.list("shop", limit=5, wanted=PersonalityFilter(**wanted))
        assert [p.id for p in found] == ids

    def test_pages_of_what_was_asked_for_are_full(
        self, personalities: PersonalityRepository
    ) -> None:
        for number in range(20):
            name = "Yes" if number % 3 == 0 else "No"
            personalities.create(_personality(f"p{number:02}", name=name))
        sizes, cursor = [], None
        while True:
            page, cursor = personalities.list(
                "shop", limit=3, cursor=cursor, wanted=PersonalityFilter(name="yes")
            )
            sizes.append(len(page))
            assert {p.name for p in page} == {"Yes"}
            if cursor is None:
                break
        assert sizes == [3, 3, 1]

    def test_a_page_ends_before_it_is_too_much_for_an_answer(
        self, personalities: PersonalityRepository
    ) -> None:
        for number in range(20):
            personalities.create(_personality(f"p{number:02}", **LARGE))
        seen: list[str] = []
        cursor = None
        while True:
            page, cursor = personalities.list("shop", limit=100, cursor=cursor)
            assert 0 < sum(len(p.model_dump_json().encode()) for p in page) <= 2_000_000
            seen += [p.id for p in page]
            if cursor is None:
                break
        assert seen == [f"p{number:02}" for number in range(20)]

    def test_the_same_request_makes_one(
        self, personalities: PersonalityRepository, clock: FakeClock
    ) -> None:
        once = OnceOnly("key-1", "print")
        first = _personality("marcel")
        assert personalities.create(first, once) is None
        second = first.rewritten(Character(name="Second"), NOW)
        personalities.replace(first, second)
        clock.advance(86400 - 1)
        later = _personality("marcel", name="Later", created_at=clock.now())
        assert personalities.create(later, once) == first
        personalities.replace(second, second.deleted(clock.now()))
        assert personalities.create(later, once) == first
        with pytest.raises(InvalidRequestError) as caught:
            personalities.create(later, OnceOnly("key-1", "another"))
        assert caught.value.field == "idempotency-key"
        with pytest.raises(ConflictError):
            personalities.create(later, OnceOnly("key-2", "print"))

    def test_a_key_is_forgotten_after_a_day(self, personalities: PersonalityRepository) -> None:
        personalities.create(_personality("marcel"), OnceOnly("key-1", "print"))
        tomorrow = NOW + timedelta(days=1)
        zac = _personality("zac", created_at=tomorrow)
        assert personalities.create(zac, OnceOnly("key-1", "another")) is None
        assert personalities.get("shop", "zac") == zac

    def test_tenants_have_keys_of_their_own(self, personalities: PersonalityRepository) -> None:
        once = OnceOnly("key-1", "print")
        assert personalities.create(_personality("marcel"), once) is None
        assert personalities.create(_personality("marcel", "other"), once) is None

    def test_a_request_that_failed_has_used_no_key(
        self, personalities: PersonalityRepository
    ) -> None:
        personalities.create(_personality("marcel"))
        once = OnceOnly("key-1", "print")
        with pytest.raises(ConflictError):
            personalities.create(_personality("marcel"), once)
        assert personalities.create(_personality("zac"), once) is None

    def test_the_same_request_many_times_at_once_makes_one(
        self, personalities: PersonalityRepository
    ) -> None:
        once = OnceOnly("key-1", "print")

        def create(number: int) -> Personality | None:
            return personalities.create(_personality(f"p{number:02}"), once)

        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(create, range(20)))
        page, _ = personalities.list("shop", limit=30)
        assert len(page) == answers.count(None) == 1
        assert all(answer in (None, page[0]) for answer in answers)


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

    def test_gives_back_exactly_what_was_stored(self, api_keys: WritableApiKeys) -> None:
        stored = _api_key("a", name="Kasse 🎤", expires_at=NOW + timedelta(days=1))
        api_keys.create(stored)
        api_keys.create(_api_key("b", scopes=frozenset()))
        assert api_keys.find("shop", "a" * 64) == stored == api_keys.get("shop", "a" * 12)
        assert api_keys.find("shop", "b" * 64) == _api_key("b", scopes=frozenset())

    @pytest.mark.parametrize("tenant_and_letter", [("shop", "b"), ("other", "a")])
    def test_knows_no_other(
        self, api_keys: WritableApiKeys, tenant_and_letter: tuple[str, str]
    ) -> None:
        tenant_id, letter = tenant_and_letter
        api_keys.create(_api_key("a"))
        assert api_keys.find(tenant_id, letter * 64) is None
        with pytest.raises(NotFoundError):
            api_keys.get(tenant_id, letter * 12)

    def test_a_revoked_key_stays_so(self, api_keys: WritableApiKeys) -> None:
        api_keys.put("shop", "a" * 64, self.SCOPES, NOW)
        api_keys.revoke(_api_key("a"), NOW)
        api_keys.put("shop", "a" * 64, self.SCOPES, NOW)
        api_keys.revoke(_api_key("a"), NOW + timedelta(days=1))
        assert api_keys.get("shop", "a" * 12).revoked_at == NOW

    def test_only_a_key_can_be_revoked(self, api_keys: WritableApiKeys) -> None:
        with pytest.raises(NotFoundError):
            api_keys.revoke(_api_key("a"), NOW)
        assert api_keys.find("shop", "a" * 64) is None

    def test_a_replaced_key_ends_when_it_was_told(self, api_keys: WritableApiKeys) -> None:
        old, new = _api_key("a", name="till"), _api_key("b", name="till")
        until = NOW + timedelta(hours=24)
        api_keys.create(old)
        api_keys.rotate(old, new, until=until)
        replaced = api_keys.get("shop", old.id)
        assert (replaced.expires_at, replaced.replaced_by) == (until, new.id)
        assert api_keys.get("shop", new.id) == new

    @pytest.mark.parametrize("how", ["replaced", "revoked", "absent"])
    def test_a_dead_key_is_not_replaced(self, api_keys: WritableApiKeys, how: str) -> None:
        old = _api_key("a")
        if how != "absent":
            api_keys.create(old)
        if how == "revoked":
            api_keys.revoke(old, NOW)
        if how == "replaced":
            api_keys.rotate(old, _api_key("c"), until=NOW)
        with pytest.raises(ConflictError):
            api_keys.rotate(old, _api_key("b"), until=NOW + timedelta(days=7))
        assert api_keys.find("shop", "b" * 64) is None

    def test_of_many_rotations_at_once_one_counts(self, api_keys: WritableApiKeys) -> None:
        old = _api_key("a")
        api_keys.create(old)

        def rotate(letter: str) -> bool:
            try:
                api_keys.rotate(old, _api_key(letter), until=NOW)
            except (ConflictError, StaleWriteError):
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(rotate, "bcdef0123")) == 1
        page, _ = api_keys.list("shop", limit=100)
        assert len(page) == 2

    def test_its_last_use_is_noted(self, api_keys: WritableApiKeys) -> None:
        stored = _api_key("a")
        api_keys.create(stored)
        api_keys.note_use(stored, NOW)
        assert api_keys.get("shop", stored.id) == stored.model_copy(update={"last_used_at": NOW})

    def test_lists_by_id_in_pages(self, api_keys: WritableApiKeys) -> None:
        for letter in "cab":
            api_keys.create(_api_key(letter))
        api_keys.create(_api_key("d", tenant_id="other"))
        page, cursor = api_keys.list("shop", limit=2)
        assert [k.id[0] for k in page] == ["a", "b"]
        page, cursor = api_keys.list("shop", limit=2, cursor=cursor)
        assert ([k.id[0] for k in page], cursor) == (["c"], None)
        assert api_keys.list("nobody", limit=2) == ([], None)

    @pytest.mark.parametrize("cursor", ["", "x", "YWJj"])
    def test_refuses_a_spoilt_cursor(self, api_keys: WritableApiKeys, cursor: str) -> None:
        with pytest.raises(InvalidRequestError):
            api_keys.list("shop", limit=2, cursor=cursor)


class TestTroubleWithTheTable:
    """Of the adapters alone: the fakes play it with `broken`."""

    @pytest.fixture(params=["absent_table", "unreachable_table"])
    def bad_table(self, request: pytest.FixtureRequest) -> Any:
        return request.getfixturevalue(request.param)

    def test_is_one_error(self, bad_table: Any, clock: FakeClock) -> None:
        personalities = DynamoPersonalities(bad_table, clock)
        receipts = DynamoReceipts(bad_table, clock)
        keys = DynamoApiKeys(bad_table)
        calls: list[Callable[[], object]] = [
            lambda: personalities.create(_personality("marcel")),
            lambda: personalities.get("shop", "marcel"),
            lambda: personalities.list("shop", limit=2),
            lambda: personalities.replace(_personality("marcel"), _personality("marcel")),
            lambda: personalities.versions(_personality("marcel"), limit=2),
            lambda: receipts.save("shop", _receipt("r1")),
            lambda: receipts.get("shop", "r1"),
            lambda: keys.find("shop", "a" * 64),
            lambda: keys.put("shop", "a" * 64, frozenset(), NOW),
            lambda: keys.revoke(_api_key("a"), NOW),
            lambda: keys.get("shop", "a" * 12),
            lambda: keys.list("shop", limit=2),
            lambda: keys.create(_api_key("a")),
            lambda: keys.rotate(_api_key("a"), _api_key("b"), until=NOW),
            lambda: keys.note_use(_api_key("a"), NOW),
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
        repository = DynamoPersonalities(early, FakeClock(NOW))
        for number in range(7):
            repository.create(_personality(f"p{number}"))
        page, cursor = repository.list("shop", limit=5)
        assert [p.id for p in page] == [f"p{number}" for number in range(5)]
        page, cursor = repository.list("shop", limit=5, cursor=cursor)
        assert ([p.id for p in page], cursor) == (["p5", "p6"], None)

    def test_a_write_whose_answer_got_lost_succeeds(self, table: Any, clock: FakeClock) -> None:
        class LosesTheFirstAnswer(_Client):
            """Does what boto does: sends the same write again."""

            def transact_write_items(self, **request: Any) -> Any:
                table.meta.client.transact_write_items(**request)
                return table.meta.client.transact_write_items(**request)

        lossy = DynamoPersonalities(_with_client(table, LosesTheFirstAnswer), clock)
        marcel = _personality("marcel")
        lossy.create(marcel)
        with pytest.raises(ConflictError):
            lossy.create(marcel)
        changed = marcel.rewritten(Character(name="Marcel II"), NOW)
        lossy.replace(marcel, changed)
        with pytest.raises(StaleWriteError):
            lossy.replace(marcel, changed)
        assert [p.version for p in lossy.versions(changed, limit=5)[0]] == [2, 1]

    @pytest.mark.parametrize(
        ("reasons", "error"),
        [
            (["TransactionConflict", "None", "None"], StaleWriteError),
            (["ConditionalCheckFailed", "None", "TransactionConflict"], StaleWriteError),
            (["None", "ThrottlingError", "None"], StorageUnavailableError),
        ],
    )
    def test_writes_that_meet_come_again(
        self, table: Any, clock: FakeClock, reasons: list[str], error: type[Exception]
    ) -> None:
        """DynamoDB refuses a transaction that meets another; the local one never does."""

        class Busy(_Client):
            def transact_write_items(self, **request: Any) -> Any:
                raise table.meta.client.exceptions.TransactionCanceledException(
                    {
                        "Error": {"Code": "TransactionCanceledException", "Message": ""},
                        "CancellationReasons": [{"Code": code} for code in reasons],
                    },
                    "TransactWriteItems",
                )

        busy = DynamoPersonalities(_with_client(table, Busy), clock)
        with pytest.raises(error):
            busy.create(_personality("marcel"), OnceOnly("key", "f"))
        with pytest.raises(error):
            busy.replace(_personality("marcel"), _personality("marcel", version=2))

    def test_reads_what_a_newer_release_wrote(self, table: Any, clock: FakeClock) -> None:
        repository = DynamoPersonalities(table, clock)
        stored = _personality("marcel")
        repository.create(stored)
        document = json.loads(stored.model_dump_json())
        document["aura"] = "gold"
        document["traits"]["charm"] = 99
        document["voice_config"]["emotion"] = {"joy": 1}
        document["voice_config"]["advanced"]["tau"] = 2
        key = {"PK": "TENANT#shop", "SK": "PERSONALITY#marcel"}
        table.put_item(Item={**key, "version": 1, "document": json.dumps(document)})
        assert repository.get("shop", "marcel") == stored
        assert repository.list("shop", limit=5)[0] == [stored]

    def test_reads_what_an_older_release_wrote(self, table: Any, clock: FakeClock) -> None:
        """Without the fields of today, and without a history."""
        repository = DynamoPersonalities(table, clock)
        old = _personality("marcel")
        document = {
            name: value
            for name, value in json.loads(old.model_dump_json()).items()
            if name
            not in ("traits", "greeting", "system_prompt", "phrases", "lexicon", "deleted_at")
        }
        key = {"PK": "TENANT#shop", "SK": "PERSONALITY#marcel"}
        table.put_item(Item={**key, "version": 1, "document": json.dumps(document)})
        assert repository.get("shop", "marcel") == old
        changed = old.rewritten(Character(name="Marcel II"), NOW)
        repository.replace(old, changed)
        assert repository.versions(changed, limit=5) == ([changed, old], None)

    def test_dynamodb_sees_when_a_deleted_one_is_gone(self, table: Any, clock: FakeClock) -> None:
        repository = DynamoPersonalities(table, clock)
        first = _personality("marcel")
        repository.create(first)
        deleted = first.deleted(NOW)
        repository.replace(first, deleted)
        seconds = int(NOW.timestamp())
        expiries = {item["SK"]: item["expires_at"] for item in table.scan()["Items"]}
        history = "HISTORY#marcel#20260301t090000123456#v"
        assert expiries == {
            "PERSONALITY#marcel": seconds + 30 * 86400,
            f"{history}000000002": seconds + 30 * 86400,
            f"{history}000000001": seconds + 90 * 86400,
        }
        repository.replace(deleted, deleted.restored(NOW))
        live = [item["SK"] for item in table.scan()["Items"] if "expires_at" not in item]
        assert sorted(live) == [f"{history}000000003", "PERSONALITY#marcel"]

    def test_the_largest_personality_fits_an_item(self, table: Any, clock: FakeClock) -> None:
        repository = DynamoPersonalities(table, clock)
        largest = _personality("marcel", **LARGE)
        repository.create(largest, OnceOnly("key", "f"))
        repository.replace(largest, largest.rewritten(largest, NOW))
        assert len(largest.model_dump_json().encode()) < 390_000


class _Client:
    """The table's client, save for what a test changes."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def _with_client(table: Any, client: type[_Client]) -> Any:
    return SimpleNamespace(
        name=table.name,
        meta=SimpleNamespace(client=client(table.meta.client)),
        get_item=table.get_item,
        query=table.query,
    )


def test_dynamodb_sees_when_a_receipt_expires(table: Any, clock: FakeClock) -> None:
    DynamoReceipts(table, clock).save("shop", _receipt("r1"))
    item = table.get_item(Key={"PK": "TENANT#shop", "SK": "RECEIPT#r1"})["Item"]
    assert item["expires_at"] == int(NOW.timestamp()) + 24 * 3600
