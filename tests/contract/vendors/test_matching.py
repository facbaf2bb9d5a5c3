"""From each vendor's real catalogue to the voice that it is asked for, through the router."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fakes.clock import FakeClock
from fakes.personalities import FakePersonalities
from fakes.providers import ScriptedProvider
from fakes.routing import routed
from fakes.samples import FakeSamples
from fakes.voice_matches import FakeVoiceMatches
from voice_gateway.adapters.voice_shifter import StretchShifter
from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.personality import Personality, VoiceConfig
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.domain.voice_match import traits_of
from voice_gateway.domain.voices import Gender
from voice_gateway.providers.registry import ProviderRegistry
from voice_gateway.providers.shaped import ShapedProvider
from voice_gateway.services.chosen_samples import ChosenSamples
from voice_gateway.services.voice_matching import VoiceMatching

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes.vendors import Vendors
    from voice_gateway.domain.receipt import Attempt

    from .conftest import Provider

pytestmark = pytest.mark.integration

NOW = FakeClock().now()


@pytest.fixture
def registry(make: Callable[..., Provider]) -> ProviderRegistry:
    down = ProviderError("piper", FailureReason.UNAVAILABLE, "away")
    found: dict[str, Any] = {name: make(name) for name in ("google", "azure", "watson")}
    found["piper"] = ScriptedProvider("piper", fail_with=down)
    shifter = StretchShifter()
    return ProviderRegistry(
        {name: lambda p=p: ShapedProvider(p, shifter) for name, p in found.items()}
    )


async def taken_over(
    registry: ProviderRegistry, vendor: str, config: VoiceConfig, **more: Any
) -> Attempt:
    request = SpeechRequest(
        sentences=("Good evening.",),
        language=config.language,
        chain=("piper", vendor),
        wanted=traits_of(config, None),
        **more,
    )
    async for _ in routed(registry, FakeClock()).synthesize(request):
        pass
    failed, served = request.journal.attempts
    assert (failed.provider, served.provider) == ("piper", vendor)
    return served


@pytest.mark.parametrize("vendor", ["google", "azure", "watson"])
@pytest.mark.parametrize("gender", [Gender.FEMALE, Gender.MALE])
async def test_what_is_shown_is_what_speaks(
    registry: ProviderRegistry, vendors: Vendors, vendor: str, gender: Gender
) -> None:
    config = VoiceConfig(language="en-US", gender=gender)
    marcel = Personality(
        id="marcel",
        tenant_id="shop",
        name="Marcel",
        voice_config=config,
        created_at=NOW,
        updated_at=NOW,
    )
    store = FakeVoiceMatches()
    matching = VoiceMatching(
        FakePersonalities(marcel), ChosenSamples(FakeSamples()), registry, store, FakeClock()
    )
    shown = await matching.match("shop", "marcel")
    assert shown.unavailable == {}
    assert set(shown.voices) == {"google", "azure", "watson"}
    assert store.find("shop", "marcel") == shown

    served = await taken_over(registry, vendor, config)
    (call,) = vendors.settled(vendor)
    best = shown.voices[vendor]
    assert (served.voice, served.match) == (best.voice, best.score) == (call["voice"], 1.0)
    # The catalogue was asked for once, for both.
    assert len(vendors.calls(vendor, "voices")) == 1


@pytest.mark.parametrize(
    ("vendor", "pin"),
    [
        ("google", "en-US-Neural2-C"),
        ("azure", "en-US-JennyNeural"),
        ("watson", "en-US_AllisonV3Voice"),
    ],
)
async def test_a_pinned_voice_speaks_and_is_compared(
    registry: ProviderRegistry, vendor: str, pin: str
) -> None:
    config = VoiceConfig(language="en-US", gender=Gender.MALE)
    served = await taken_over(registry, vendor, config, voices={vendor: pin})
    assert served.voice == pin
    assert served.match is not None
    assert served.match < 0.5
