"""What speech costs, and what a budget does to it, through the API."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fakes.audio_cache import FakeAudioCache
from fakes.budgets import FakeBudgets
from fakes.clock import FakeClock
from fakes.levels import FakeVoiceLevels
from fakes.observer import RecordingObserver
from fakes.personalities import FakePersonalities
from fakes.providers import ScriptedProvider
from fakes.receipts import FakeReceipts
from fakes.routing import routed
from fakes.speaking import speech_service
from voice_gateway.adapters.system_clock import SystemClock
from voice_gateway.domain.budget import Budget
from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.personality import Personality, VoiceConfig
from voice_gateway.domain.speech import ProviderCapabilities
from voice_gateway.handlers.speech import create_app
from voice_gateway.providers.cached import CachedProvider
from voice_gateway.providers.registry import ProviderRegistry
from voice_gateway.services.budgets import BudgetService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ENGLISH = frozenset({"en"})
TEXT = "One. Two two."  # 12 characters to bill
MONTH = "2026-03"


def provider(name: str, usd_per_million: float = 0) -> ScriptedProvider:
    return ScriptedProvider(
        name,
        ProviderCapabilities(languages=ENGLISH, usd_per_million_characters=usd_per_million),
    )


class House:
    """A dear provider, a cheap one, our own, and the floor."""

    def __init__(self, *, cached: bool = False) -> None:
        self.google = provider("google", 30)
        self.azure = provider("azure", 16)
        self.piper = provider("piper")
        self.floor = provider("espeak")
        every = (self.google, self.azure, self.piper, self.floor)
        registry = ProviderRegistry({p.name: lambda p=p: p for p in every})  # type: ignore[misc]
        now = FakeClock().now()
        self.config: dict[str, Any] = {"fallback_chain": ["google", "azure"]}
        self.personalities = FakePersonalities(
            Personality(
                id="marcel",
                tenant_id="demo",
                name="Marcel",
                voice_config=VoiceConfig.model_validate(self.config),
                created_at=now,
                updated_at=now,
            )
        )
        self.receipts = FakeReceipts(FakeClock())
        self.budgets = FakeBudgets()
        self.observer = RecordingObserver()
        router = routed(registry, SystemClock())
        self.cache = FakeAudioCache()
        behind = CachedProvider(router, registry, self.cache, FakeVoiceLevels(), SystemClock())
        service = speech_service(
            self.personalities,
            registry,
            router,
            SystemClock(),
            receipts=self.receipts,
            budgets=BudgetService(self.budgets, self.receipts, FakeClock()),
            router=behind if cached else router,
            cache=self.cache,
            observer=self.observer,
        )
        self.app = create_app(service)
        self.requests = 0

    def budget(self, monthly: float, **more: int) -> None:
        self.budgets.put("demo", Budget(monthly_usd=Decimal(str(monthly)), **more))

    @property
    def costs(self) -> dict[str, Decimal]:
        month = self.receipts.month("demo", MONTH)
        return {name: sums.cost_usd for name, sums in month.providers.items()}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    async with made.app.router.lifespan_context(made.app):
        yield made


async def ask(house: House, path: str = "/api/speech", **body: Any) -> httpx.Response:
    """Asks as `demo`, each time with an id of its own."""
    house.requests += 1
    authorizer = {"tenant": "demo", "scopes": "speech:write speech:read"}
    context = {"requestId": f"req-{house.requests}", "authorizer": authorizer}
    headers = {"x-amzn-request-context": json.dumps(context)}
    transport = httpx.ASGITransport(house.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://voice") as client:
        sent = {"text": TEXT, "personality": "marcel", **body}
        return await client.post(path, json=sent, headers=headers)


async def get(
    house: House,
    path: str,
    *,
    method: str = "GET",
    tenant: str = "demo",
    scopes: str = "speech:read",
) -> httpx.Response:
    context = {"requestId": "req-0", "authorizer": {"tenant": tenant, "scopes": scopes}}
    headers = {"x-amzn-request-context": json.dumps(context)}
    transport = httpx.ASGITransport(house.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://voice") as client:
        return await client.request(method, path, headers=headers)


def receipt_of(house: House, answer: httpx.Response) -> dict[str, Any]:
    found = house.receipts.get("demo", answer.headers["x-request-id"])
    return found.model_dump(mode="json")


async def test_a_receipt_says_what_each_attempt_cost(house: House) -> None:
    house.google.fail_with = ProviderError("google", FailureReason.TIMEOUT, "slow")
    house.google.fail_at = (1, 0)
    answer = await ask(house)
    assert "x-speech-budget" not in answer.headers
    receipt = receipt_of(house, answer)
    failed, served = receipt["attempts"][:2]
    # The sentence that was heard, and the one that Google was working on.
    assert (failed["provider"], failed["characters"], failed["cost_usd"]) == ("google", 12, 0.00036)
    assert (served["provider"], served["characters"], served["cost_usd"]) == ("azure", 8, 0.000128)
    assert receipt["cost_usd"] == 0.000488
    assert house.costs == {"google": Decimal("0.00036"), "azure": Decimal("0.000128")}


async def test_what_is_turned_away_is_not_billed(house: House) -> None:
    for reason in (FailureReason.QUOTA, FailureReason.AUTH, FailureReason.UNAVAILABLE):
        house.google.fail_with = ProviderError("google", reason, "no")
        receipt = receipt_of(house, await ask(house))
        assert receipt["attempts"][0]["cost_usd"] == 0


async def test_a_failure_that_was_billed_is_booked_although_nothing_was_heard(
    house: House,
) -> None:
    house.google.fail_with = ProviderError("google", FailureReason.TIMEOUT, "slow")
    answer = await ask(house, strict=True)
    assert answer.status_code == 503
    receipt = receipt_of(house, answer)
    assert (receipt["served"], receipt["complete"], receipt["cost_usd"]) == ([], False, 0.00012)
    assert house.costs == {"google": Decimal("0.00012")}
    assert house.observer.receipts == []
    assert house.observer.mute == ["req-1"]


async def test_who_hangs_up_before_the_first_audio_is_charged_for_what_was_begun(
    house: House,
) -> None:
    house.google.hang_at = (0, 0)
    asking = asyncio.create_task(ask(house))
    while not house.google.asked:
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    while not house.costs:
        await asyncio.sleep(0)
    assert house.costs == {"google": Decimal("0.00012")}


async def test_nobody_asked_is_nothing_booked(house: House) -> None:
    assert (await ask(house, language="fr")).status_code == 422
    assert house.costs == {}


class TestCheapestFirst:
    async def test_of_the_request(self, house: House) -> None:
        answer = await ask(house, optimize="cost")
        receipt = receipt_of(house, answer)
        assert answer.headers["x-speech-provider"] == "azure"
        assert (receipt["asked"]["provider"], receipt["substituted"]) == ("azure", False)

    async def test_of_the_personality_and_the_request_wins(self, house: House) -> None:
        stored = house.personalities.get("demo", "marcel")
        config = VoiceConfig.model_validate({**house.config, "optimize": "cost"})
        character = stored.model_copy(update={"voice_config": config})
        house.personalities.replace(stored, character.model_copy(update={"version": 2}))
        assert (await ask(house)).headers["x-speech-provider"] == "azure"
        answer = await ask(house, optimize="quality")
        assert answer.headers["x-speech-provider"] == "google"

    async def test_a_forced_provider_stays(self, house: House) -> None:
        answer = await ask(house, optimize="cost", provider="google")
        assert answer.headers["x-speech-provider"] == "google"

    async def test_is_one_of_two_words(self, house: House) -> None:
        assert (await ask(house, optimize="speed")).status_code == 422


class TestBudget:
    async def test_within_it_nothing_changes_and_it_is_said(self, house: House) -> None:
        house.budget(1)
        answer = await ask(house)
        assert answer.headers["x-speech-budget"] == "within"
        assert answer.headers["x-speech-provider"] == "google"
        assert receipt_of(house, answer)["budget"] == "within"

    async def test_nearly_spent_the_cheaper_one_speaks_and_it_is_said(self, house: House) -> None:
        house.budget(1, soft_percent=0)
        answer = await ask(house)
        assert answer.headers["x-speech-budget"] == "soft"
        receipt = receipt_of(house, answer)
        assert [turn["provider"] for turn in receipt["served"]] == ["azure"]
        # Google was asked for: the listener was given a substitute.
        assert (receipt["asked"]["provider"], receipt["substituted"]) == ("google", True)
        assert receipt["budget"] == "soft"

    async def test_wholly_spent_only_what_is_free_speaks(self, house: House) -> None:
        house.budget(0)
        answer = await ask(house)
        assert answer.status_code == 200
        assert answer.headers["x-speech-budget"] == "hard"
        receipt = receipt_of(house, answer)
        assert [turn["provider"] for turn in receipt["served"]] == ["espeak"]
        assert [(a["provider"], a["reason"]) for a in receipt["attempts"]] == [
            ("google", "budget"),
            ("azure", "budget"),
            ("espeak", None),
        ]
        assert receipt["cost_usd"] == 0
        assert not house.google.asked
        assert not house.azure.asked

    @pytest.mark.parametrize("only", [{"provider": "google"}, {"strict": True}])
    async def test_wholly_spent_nobody_is_put_in_a_named_one_s_place(
        self, house: House, only: dict[str, Any]
    ) -> None:
        house.budget(0)
        answer = await ask(house, **only)
        assert answer.status_code == 402
        assert "google" in answer.json()["detail"]
        assert house.costs == {}

    async def test_wholly_spent_what_was_spoken_before_is_heard_still(self) -> None:
        house = House(cached=True)
        house.budget(0.0003)  # less than the text costs once
        async with house.app.router.lifespan_context(house.app):
            assert (await ask(house)).headers["x-speech-budget"] == "within"
            again = await ask(house, provider="google")
            assert (again.status_code, again.headers["x-speech-budget"]) == (200, "hard")
            assert receipt_of(house, again)["cost_usd"] == 0
            other = await ask(house, text="Three.")
            assert other.headers["x-speech-provider"] == "espeak"
            assert len(house.google.asked) == 1

    async def test_a_free_provider_can_still_be_named(self, house: House) -> None:
        house.budget(0)
        answer = await ask(house, provider="piper", strict=True)
        assert (answer.status_code, answer.headers["x-speech-provider"]) == (200, "piper")

    async def test_answers_spend_it_until_it_is_gone(self, house: House) -> None:
        """12 characters at 30 dollars a million are 360 millionths."""
        house.budget(0.001, soft_percent=50)
        states = []
        while len(house.google.asked) + len(house.azure.asked) + len(house.floor.asked) < 8:
            answer = await ask(house)
            states.append((answer.headers["x-speech-budget"], answer.headers["x-speech-provider"]))
        assert states == [
            ("within", "google"),
            ("within", "google"),
            ("soft", "azure"),
            ("soft", "azure"),
            *[("hard", "espeak")] * 4,
        ]
        assert sum(house.costs.values()) == Decimal("0.001104")

    async def test_another_tenant_s_budget_is_not_mine(self, house: House) -> None:
        house.budgets.put("other", Budget(monthly_usd=Decimal(0)))
        assert "x-speech-budget" not in (await ask(house)).headers

    async def test_a_table_that_is_away_is_told(self, house: House) -> None:
        house.budgets.broken = True
        assert (await ask(house)).status_code == 503


class TestEstimate:
    ESTIMATE = "/api/speech/estimate"

    async def test_prices_the_chain_and_asks_nobody(self, house: House) -> None:
        answer = await ask(house, self.ESTIMATE)
        assert answer.status_code == 200
        estimate = answer.json()
        assert (estimate["sentences"], estimate["characters"]) == (2, 12)
        assert estimate["cost_usd"] == 0.00036
        assert [(p["provider"], p["usable"], p["cost_usd"]) for p in estimate["providers"]] == [
            ("google", True, 0.00036),
            ("azure", True, 0.000192),
            ("espeak", True, 0.0),
        ]
        assert not house.google.asked
        assert house.costs == {}

    async def test_says_what_speaking_then_costs(self, house: House) -> None:
        estimate = (await ask(house, self.ESTIMATE)).json()
        receipt = receipt_of(house, await ask(house))
        assert receipt["cost_usd"] == estimate["cost_usd"]

    async def test_what_was_spoken_before_costs_nothing(self) -> None:
        house = House(cached=True)
        async with house.app.router.lifespan_context(house.app):
            await ask(house, text="One.")
            google = (await ask(house, self.ESTIMATE)).json()["providers"][0]
            assert (google["characters"], google["cached_characters"]) == (12, 4)
            assert (google["cost_usd"], google["cost_saved_usd"]) == (0.00024, 0.00012)
            receipt = receipt_of(house, await ask(house))
            assert (receipt["cost_usd"], receipt["cost_saved_usd"]) == (0.00024, 0.00012)
            month = house.receipts.month("demo", MONTH)
            assert month.total.cost_saved_usd == Decimal("0.00012")
            assert month.providers["google"].cost_usd == Decimal("0.00036")

    async def test_follows_the_budget(self, house: House) -> None:
        house.budget(0)
        estimate = (await ask(house, self.ESTIMATE)).json()
        assert (estimate["budget"], estimate["cost_usd"]) == ("hard", 0)
        assert [p["usable"] for p in estimate["providers"]] == [False, False, True]

    async def test_knows_who_is_not_here_and_who_cannot(self, house: House) -> None:
        estimate = (await ask(house, self.ESTIMATE, provider="xtts_v2")).json()
        assert [(p["provider"], p["usable"]) for p in estimate["providers"]] == [("xtts_v2", False)]
        estimate = (await ask(house, self.ESTIMATE, language="fr")).json()
        assert {p["usable"] for p in estimate["providers"]} == {False}

    async def test_an_unknown_personality_has_no_price(self, house: House) -> None:
        assert (await ask(house, self.ESTIMATE, personality="nobody")).status_code == 404


class TestProviders:
    async def test_are_told_with_price_and_health(self, house: House) -> None:
        house.google.fail_with = ProviderError("google", FailureReason.QUOTA, "used up")
        await ask(house)
        answer = await get(house, "/api/providers")
        assert answer.status_code == 200
        told = {p["name"]: p for p in answer.json()["providers"]}
        assert list(told) == ["google", "azure", "piper", "espeak"]
        google, azure = told["google"], told["azure"]
        assert (google["languages"], google["usd_per_million_characters"]) == (["en"], 30)
        assert (google["cloning"], google["speed"], google["pitch"]) == (False, True, False)
        assert (google["health"]["open"], google["health"]["reason"]) == (False, "quota")
        assert google["health"]["until"] is not None
        assert (azure["health"]["open"], azure["health"]["good"]) == (True, 1)
        assert azure["health"]["first_audio_ms"]["p50"] is not None
        assert told["piper"]["health"]["first_audio_ms"]["p50"] is None

    async def test_one_tenant_s_refused_keys_are_its_own_trouble(self, house: House) -> None:
        house.google.fail_with = ProviderError("google", FailureReason.AUTH, "no")
        await ask(house)
        mine, theirs = [
            (await get(house, "/api/providers", tenant=tenant)).json()["providers"][0]["health"]
            for tenant in ("demo", "other")
        ]
        assert (mine["open"], theirs["open"]) == (False, True)

    async def test_need_a_right(self, house: House) -> None:
        assert (await get(house, "/api/providers", scopes="speech:write")).status_code == 403


class TestPurge:
    @staticmethod
    async def purge(house: House, query: str = "", **more: str) -> httpx.Response:
        asked = {"scopes": "cache:purge", **more}
        return await get(house, f"/api/cache{query}", method="DELETE", **asked)  # type: ignore[arg-type]

    @staticmethod
    async def hits(house: House, text: str = "One.") -> int:
        hits: int = receipt_of(house, await ask(house, text=text))["cache_hits"]
        return hits

    @pytest.mark.parametrize("query", ["", "?personality=marcel"])
    async def test_what_was_purged_is_spoken_anew(self, query: str) -> None:
        house = House(cached=True)
        async with house.app.router.lifespan_context(house.app):
            assert [await self.hits(house), await self.hits(house)] == [0, 1]
            answer = await self.purge(house, query)
            assert (answer.status_code, answer.json()) == (200, {"purged": 1})
            assert await self.hits(house) == 0
            assert (await self.purge(house, query)).json() == {"purged": 1}
            assert (await self.purge(house, query)).json() == {"purged": 0}

    @pytest.mark.parametrize("query", ["?personality=zac", "?personality=long-gone"])
    async def test_others_keep_what_they_spoke(self, query: str) -> None:
        house = House(cached=True)
        async with house.app.router.lifespan_context(house.app):
            await self.hits(house)
            assert (await self.purge(house, query)).json() == {"purged": 0}
            assert (await self.purge(house, tenant="other")).json() == {"purged": 0}
            assert await self.hits(house) == 1

    @pytest.mark.parametrize(
        "query",
        ["?personalty=marcel", "?personality=", "?personality=*", "?personality=a:b", "?x=1"],
    )
    async def test_a_slip_of_the_pen_purges_nothing(self, query: str) -> None:
        house = House(cached=True)
        async with house.app.router.lifespan_context(house.app):
            await self.hits(house)
            answer = await self.purge(house, query)
            assert answer.status_code == 422, answer.text
            assert await self.hits(house) == 1

    async def test_a_cache_that_does_not_answer_is_no_success(self) -> None:
        house = House(cached=True)
        async with house.app.router.lifespan_context(house.app):
            house.cache.away = True
            assert (await self.purge(house)).status_code == 503

    async def test_needs_a_right_of_its_own(self, house: House) -> None:
        refused = await self.purge(house, scopes="speech:write speech:read")
        assert refused.status_code == 403
