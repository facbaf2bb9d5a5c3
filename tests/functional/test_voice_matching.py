"""Who speaks for a personality when its own provider cannot, from the catalogues to the receipt."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fakes.audio_cache import FakeAudioCache
from fakes.clock import FakeClock
from fakes.events import lambda_context, rest_event
from fakes.levels import FakeVoiceLevels
from fakes.observer import RecordingObserver
from fakes.personalities import FakePersonalities
from fakes.providers import CataloguedProvider, ScriptedProvider
from fakes.routing import routed
from fakes.samples import FakeSamples
from fakes.speaking import speech_service
from fakes.tenants import FakeTenants
from fakes.voice_matches import FakeVoiceMatches
from voice_gateway.adapters.system_clock import SystemClock
from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.personality import Character, VoiceConfig
from voice_gateway.domain.receipt import Outcome
from voice_gateway.domain.speech import ProviderCapabilities
from voice_gateway.domain.voices import Gender, Voice
from voice_gateway.handlers.personalities import create_app as personalities_app
from voice_gateway.handlers.rest import serve
from voice_gateway.handlers.speech import create_app
from voice_gateway.providers.cached import CachedProvider
from voice_gateway.providers.registry import ProviderRegistry
from voice_gateway.providers.shaped import ShapedProvider
from voice_gateway.services import voice_matching
from voice_gateway.services.chosen_samples import ChosenSamples
from voice_gateway.services.personalities import PersonalityService
from voice_gateway.services.voice_matching import VoiceMatching

if TYPE_CHECKING:
    from voice_gateway.domain.receipt import Receipt

MATCH = "/api/personalities/marcel/voice/match"
DOWN = ProviderError("piper", FailureReason.UNAVAILABLE, "away")
PRICED = ProviderCapabilities(
    languages=frozenset({"en"}), price_of_voice=lambda name: 30.0 if "hd" in name else 16.0
)


def voice(provider: str, name: str, gender: Gender, language: str = "en-US") -> Voice:
    return Voice(
        provider=provider,
        name=name,
        languages=(language,),
        gender=gender,
        voice_class="neural",
        sample_rate=16_000,
        streaming=True,
    )


GOOGLE = (
    voice("google", "a-woman", Gender.FEMALE),
    voice("google", "b-man-hd", Gender.MALE),
    voice("google", "c-man-gb", Gender.MALE, "en-GB"),
)
AZURE = (voice("azure", "jenny", Gender.FEMALE), voice("azure", "neutral", Gender.NEUTRAL))


class House:
    """The speech function and the personalities function over one table."""

    def __init__(self) -> None:
        self.piper = ScriptedProvider("piper", seconds=0.6, fail_with=DOWN)
        self.google = CataloguedProvider("google", PRICED, seconds=0.6, catalogue=GOOGLE)
        self.azure = CataloguedProvider("azure", PRICED, seconds=0.6, catalogue=AZURE)
        self.espeak = ScriptedProvider("espeak")
        providers = (self.piper, self.google, self.azure, self.espeak)
        registry = ProviderRegistry(
            {p.name: lambda p=p: ShapedProvider(p, NoShifter()) for p in providers}  # type: ignore[misc]
        )
        self.personalities = FakePersonalities()
        samples = ChosenSamples(FakeSamples())
        self.service = PersonalityService(self.personalities, FakeClock(), tenants=FakeTenants())
        matches = FakeVoiceMatches()
        self.observer = RecordingObserver()
        router = routed(registry, SystemClock())
        cache = FakeAudioCache()
        self.speech = create_app(
            speech_service(
                self.personalities,
                registry,
                router,
                SystemClock(),
                samples=samples,
                router=CachedProvider(router, registry, cache, FakeVoiceLevels(), SystemClock()),
                cache=cache,
                observer=self.observer,
                matching=VoiceMatching(self.personalities, samples, registry, matches, FakeClock()),
            )
        )
        self._rest = personalities_app(self.service, samples, matches)
        self.describe(gender=Gender.MALE)

    def describe(self, **config: Any) -> None:
        character = Character(name="Marcel", voice_config=self.config(**config))
        if self.personalities.list("demo", limit=1)[0]:
            self.service.change("demo", "marcel", lambda _: character)
        else:
            self.service.create("demo", character)

    @staticmethod
    def config(**config: Any) -> VoiceConfig:
        chain = {"fallback_chain": ("piper", "google", "azure"), "language": "en-us"}
        return VoiceConfig.model_validate({**chain, **config})

    async def ask(self, method: str, path: str, body: object = None, **context: str) -> Any:
        found = {
            "tenant": "demo",
            "scopes": "speech:write speech:read personalities:write",
            **context,
        }
        async with (
            self.speech.router.lifespan_context(self.speech),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(self.speech), base_url="http://voice"
            ) as client,
        ):
            headers = {"x-amzn-request-context": json.dumps({"authorizer": found})}
            return await client.request(method, path, json=body, headers=headers)

    async def speak(self, text: str = "Hi.", **more: Any) -> Receipt:
        body = {"text": text, "personality": "marcel", **more}
        answer = await self.ask("POST", "/api/speech", body)
        assert answer.status_code == 200, answer.text
        return self.observer.receipts[-1][1]

    def voice(self, **headers: str) -> dict[str, Any]:
        authorizer = {"tenant": "demo", "scopes": "personalities:read"}
        path = "/api/personalities/marcel/voice"
        event = rest_event("GET", path, authorizer=authorizer, headers=headers)
        answer = serve(self._rest, event, lambda_context())
        assert answer["statusCode"] == 200
        shown: dict[str, Any] = json.loads(answer["body"])
        return shown


class NoShifter:
    def shift(self, samples: Any, sample_rate: int, *, speed: float, pitch: float) -> Any:
        raise AssertionError((sample_rate, speed, pitch, samples.size))


@pytest.fixture
def house() -> House:
    return House()


class TestSpeech:
    async def test_a_substitute_takes_the_voice_that_is_most_like(self, house: House) -> None:
        receipt = await house.speak()
        (served,) = receipt.served
        assert (served.provider, served.voice, served.match) == ("google", "b-man-hd", 1.0)
        failed, spoke = receipt.attempts
        assert (failed.match, spoke.match) == (None, 1.0)
        assert receipt.substituted
        # Nobody else's catalogue was asked for it.
        assert house.azure.listed == 0

    async def test_a_worse_likeness_is_owned_up_to(self, house: House) -> None:
        house.google.fail_with = ProviderError("google", DOWN.reason, DOWN.detail)
        (served,) = (await house.speak()).served
        assert (served.provider, served.voice) == ("azure", "neutral")
        assert served.match is not None
        assert 0.5 < served.match < 1

    async def test_a_pin_overrides_and_is_compared_all_the_same(self, house: House) -> None:
        house.describe(gender=Gender.MALE, voices={"google": "a-woman"})
        (served,) = (await house.speak()).served
        assert served.voice == "a-woman"
        assert served.match is not None
        assert served.match < 0.5

    async def test_where_nothing_is_known_the_provider_chooses_and_nothing_is_compared(
        self, house: House
    ) -> None:
        house.describe()
        (served,) = (await house.speak()).served
        assert (served.voice, served.match) == ("a-woman", None)

    async def test_what_comes_from_the_cache_is_as_like_as_it_was(self, house: House) -> None:
        house.describe(gender=Gender.MALE, fallback_chain=("google",))
        first, second = await house.speak(), await house.speak()
        assert [a.outcome for a in second.attempts] == [Outcome.CACHED]
        assert first.served == second.served
        assert second.attempts[0].match == 1.0
        house.describe(gender=Gender.FEMALE, fallback_chain=("google",))
        assert (await house.speak()).served[0].voice == "a-woman"

    async def test_strict_takes_no_substitute_however_like(self, house: House) -> None:
        body = {"text": "Hi.", "personality": "marcel", "strict": True}
        answer = await house.ask("POST", "/api/speech", body)
        assert answer.status_code == 503
        assert house.google.asked == []

    async def test_another_region_than_the_personality_s_may_be_asked_for(
        self, house: House
    ) -> None:
        (served,) = (await house.speak(language="en-GB")).served
        assert (served.voice, served.match) == ("c-man-gb", 1.0)


class TestMatches:
    async def test_are_worked_out_stored_and_shown(self, house: House) -> None:
        assert house.voice()["matches"] is None
        answer = await house.ask("POST", MATCH)
        assert answer.status_code == 200
        found = answer.json()
        assert list(found["voices"]) == ["google", "azure"]
        assert found["voices"]["google"] == {
            "provider": "google",
            "voice": "b-man-hd",
            "score": 1.0,
            "parts": {"gender": 1.0, "language": 1.0},
        }
        assert found["unavailable"] == {}
        assert house.voice()["matches"] == found

    async def test_are_apart_from_the_pins(self, house: House) -> None:
        await house.ask("POST", MATCH)
        house.describe(gender=Gender.MALE, voices={"google": "a-woman"})
        shown = house.voice()
        assert shown["voices"] == {"google": "a-woman"}
        assert shown["matches"]["voices"]["google"]["voice"] == "b-man-hd"
        again = (await house.ask("POST", MATCH)).json()
        assert again["voices"] == shown["matches"]["voices"]

    @pytest.mark.parametrize(
        "changed", [{"gender": "female"}, {"gender": "male", "language": "en-gb"}]
    )
    async def test_of_another_voice_are_not_shown(
        self, house: House, changed: dict[str, Any]
    ) -> None:
        await house.ask("POST", MATCH)
        house.describe(**changed)
        assert house.voice()["matches"] is None
        await house.ask("POST", MATCH)
        assert house.voice()["matches"]["voices"]["google"]["score"] == 1.0

    async def test_a_known_version_is_sent_again_for_their_sake(self, house: House) -> None:
        await house.ask("POST", MATCH)
        assert house.voice(**{"if-none-match": '"1"'})["matches"] is not None

    async def test_one_vendor_that_fails_hides_no_other(self, house: House) -> None:
        house.google.broken = ProviderError("google", FailureReason.AUTH, "no")
        found = (await house.ask("POST", MATCH)).json()
        assert list(found["voices"]) == ["azure"]
        assert found["unavailable"] == {"google": "auth"}

    async def test_of_another_tenant_s_personality_there_are_none(self, house: House) -> None:
        assert (await house.ask("POST", MATCH, tenant="other")).status_code == 404

    async def test_need_the_right_to_write(self, house: House) -> None:
        answer = await house.ask("POST", MATCH, scopes="personalities:read speech:write")
        assert answer.status_code == 403


class TestProviders:
    async def listed(self, house: House) -> dict[str, Any]:
        answer = await house.ask("GET", "/api/providers")
        assert answer.status_code == 200
        return {p["name"]: p for p in answer.json()["providers"]}

    async def test_are_told_with_their_voices(self, house: House) -> None:
        told = await self.listed(house)
        assert told["google"]["voices"][1] == {
            "name": "b-man-hd",
            "languages": ["en-US"],
            "gender": "male",
            "voice_class": "neural",
            "usd_per_million_characters": 30.0,
            "streaming": True,
        }
        assert told["piper"]["voices"] == []
        assert {p["voices_unavailable"] for p in told.values()} == {None}

    @pytest.mark.parametrize(
        ("broken", "reason"),
        [
            (ProviderError("google", FailureReason.QUOTA, "used up"), "quota"),
            (KeyError("voices"), "unavailable"),
        ],
    )
    async def test_one_that_fails_is_told_without_them(
        self, house: House, broken: Exception, reason: str
    ) -> None:
        house.google.broken = broken
        told = await self.listed(house)
        assert (told["google"]["voices"], told["google"]["voices_unavailable"]) == (None, reason)
        assert len(told["azure"]["voices"]) == 2

    async def test_one_that_does_not_answer_keeps_nobody_waiting(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(voice_matching, "PATIENCE_SECONDS", 0.01)

        async def hang() -> tuple[Voice, ...]:
            await asyncio.Event().wait()
            raise AssertionError

        monkeypatch.setattr(house.google, "voices", hang)
        told = await self.listed(house)
        assert told["google"]["voices_unavailable"] == "timeout"
        assert len(told["azure"]["voices"]) == 2
