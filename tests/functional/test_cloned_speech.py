"""Which voices the speech service lets be cloned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from fakes.observer import RecordingObserver
from fakes.providers import ScriptedProvider
from fakes.routing import routed
from fakes.sample_house import SampleHouse, bad_recording, good_recording
from fakes.speaking import speech_service
from voice_gateway.adapters.system_clock import SystemClock
from voice_gateway.domain.chain import Quality
from voice_gateway.domain.errors import InvalidRequestError
from voice_gateway.domain.personality import Character, VoiceConfig
from voice_gateway.domain.samples.sample import original_path
from voice_gateway.domain.speech import ProviderCapabilities
from voice_gateway.providers.registry import ProviderRegistry
from voice_gateway.services.chosen_samples import ChosenSamples
from voice_gateway.services.speech_requests import SpeechCommand
from voice_gateway.services.voice_consents import ConsentStatement

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voice_gateway.domain.receipt import Receipt
    from voice_gateway.domain.speech import SpeechChunk, SpeechRequest

STATEMENT = ConsentStatement(speaker="Zoé", attested_by="Max", by="key-1")


@dataclass
class Cloner(ScriptedProvider):
    """Remembers what it was given to clone."""

    capabilities: ProviderCapabilities = field(
        default_factory=lambda: ProviderCapabilities(
            languages=frozenset({"en", "fr"}), cloning=True
        )
    )
    given: list[SpeechRequest] = field(default_factory=list)

    async def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        self.given.append(request)
        async for chunk in super().synthesize(request):
            yield chunk


class Shop:
    def __init__(self) -> None:
        self.house = SampleHouse()
        self.cloner = Cloner("xtts_v2")
        self.observer = RecordingObserver()
        registry = ProviderRegistry({"xtts_v2": lambda: self.cloner})
        self.service = speech_service(
            self.house.repository,
            registry,
            routed(registry, SystemClock()),
            SystemClock(),
            samples=ChosenSamples(self.house.samples),
            observer=self.observer,
        )

    async def speak(self, **changes: Any) -> Receipt:
        command: dict[str, Any] = {
            "tenant_id": "shop",
            "request_id": "r",
            "personality_id": "marcel",
            "text": "Bonjour.",
            "quality": Quality.HIGH,
        }
        answer = await self.service.speak(SpeechCommand(**{**command, **changes}))
        async for _ in answer.audio:
            pass
        await self.service.aclose()
        return self.observer.receipts[-1][1]

    def speak_from(self, path: str) -> None:
        config = VoiceConfig(language="fr", sample_path=path)
        character = Character(name="Marcel", voice_config=config)
        self.house.personalities.change("shop", "marcel", lambda _: character)


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_with_consent_the_sample_is_cloned(shop: Shop) -> None:
    sample = shop.house.validated()
    shop.house.consents.give("shop", "marcel", STATEMENT)
    receipt = await shop.speak(strict=True)
    (given,) = shop.cloner.given
    assert given.sample_path == sample.path
    assert given.windows == {window.provider: window for window in sample.windows}
    assert (receipt.sample_refused, receipt.substituted) == (None, False)


async def test_what_the_sample_measures_is_wanted_only_where_it_may_be_cloned(shop: Shop) -> None:
    sample = shop.house.validated()
    await shop.speak()
    shop.house.consents.give("shop", "marcel", STATEMENT)
    await shop.speak()
    before, after = (given.wanted for given in shop.cloner.given)
    assert before is not None
    assert after is not None
    assert sample.report is not None
    assert sample.report.measurements is not None
    assert (before.pitch_hz, after.pitch_hz) == (None, sample.report.measurements.pitch_hz)
    assert after.known


async def _no_consent(shop: Shop) -> str:
    shop.house.validated()
    return "consent_missing"


async def _not_validated(shop: Shop) -> str:
    made = shop.house.api.upload(shop.house.order(), good_recording())
    shop.speak_from(made.path)
    return "sample_not_validated"


async def _rejected(shop: Shop) -> str:
    shop.speak_from(shop.house.validated(bad_recording()).path)
    return "sample_not_validated"


async def _revoked(shop: Shop) -> str:
    shop.house.validated()
    shop.house.consents.give("shop", "marcel", STATEMENT)
    await shop.speak()
    shop.cloner.given.clear()
    # Nobody has worked anything off yet.
    shop.house.consents.revoke("shop", "marcel", "key-1")
    return "sample_gone"


async def _unknown(shop: Shop) -> str:
    shop.speak_from(original_path("shop", "0" * 32))
    return "sample_gone"


async def _no_sample_s_path(shop: Shop) -> str:
    shop.speak_from("tenants/shop/samples/1/clean.wav")
    return "sample_gone"


async def _another_recording(shop: Shop) -> str:
    sample = shop.house.validated()
    shop.house.consents.give("shop", "marcel", STATEMENT)
    shop.house.files.write(sample.path, good_recording(180.0))
    shop.house.care.attend("shop", sample.id)
    return "consent_missing"


@pytest.mark.parametrize(
    "arrange",
    [
        _no_consent,
        _not_validated,
        _rejected,
        _revoked,
        _unknown,
        _no_sample_s_path,
        _another_recording,
    ],
)
async def test_without_it_nobody_gets_the_sample(shop: Shop, arrange: Any) -> None:
    reason = await arrange(shop)
    receipt = await shop.speak()
    (given,) = shop.cloner.given
    assert (given.sample_path, given.windows) == (None, {})
    assert receipt.sample_refused == reason
    assert receipt.substituted
    with pytest.raises(InvalidRequestError) as caught:
        await shop.speak(strict=True)
    assert caught.value.field == "strict"
    assert reason in caught.value.message
    assert len(shop.cloner.given) == 1


async def test_without_a_sample_there_is_nothing_to_refuse(shop: Shop) -> None:
    receipt = await shop.speak()
    assert (receipt.sample_refused, receipt.substituted) == (None, False)
