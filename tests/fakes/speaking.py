"""The speech service with everything around it in memory, for tests of a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakes.audio_cache import FakeAudioCache
from fakes.budgets import FakeBudgets
from fakes.levels import FakeVoiceLevels
from fakes.observer import RecordingObserver
from fakes.receipts import FakeReceipts
from fakes.samples import FakeSamples
from fakes.tenants import FakeTenants
from fakes.usage import FakeUsage
from fakes.voice_matches import FakeVoiceMatches
from voice_gateway.adapters.audio_codec import audio_encoder
from voice_gateway.domain.tiers import Plan, Tier
from voice_gateway.services.budgets import BudgetService
from voice_gateway.services.chosen_samples import ChosenSamples
from voice_gateway.services.quota import CharacterQuota
from voice_gateway.services.speech import SpeechService
from voice_gateway.services.voice_matching import VoiceMatching

if TYPE_CHECKING:
    from voice_gateway.ports import Clock, PersonalityRepository
    from voice_gateway.providers.fallback import FallbackProvider
    from voice_gateway.providers.registry import ProviderRegistry


def speech_service(
    personalities: PersonalityRepository,
    registry: ProviderRegistry,
    chain: FallbackProvider,
    clock: Clock,
    **parts: Any,
) -> SpeechService:
    """One whose tenants have the largest tier and no budget, and whose cache nobody reads.

    Args:
        personalities: Who may speak.
        registry: By whom.
        chain: Asks them in turn, and knows how they are.
        clock: Of the answers.
        parts: Replace what they name.
    """
    samples = parts.get("samples") or ChosenSamples(FakeSamples())
    receipts = parts.get("receipts") or FakeReceipts(clock)
    told: dict[str, Any] = {
        "samples": samples,
        "receipts": receipts,
        "budgets": BudgetService(FakeBudgets(), receipts, clock),
        "quota": CharacterQuota(FakeTenants(Plan(tier=Tier.ENTERPRISE)), FakeUsage(), clock),
        "router": chain,
        "cache": FakeAudioCache(),
        "encoders": audio_encoder,
        "levels": FakeVoiceLevels(),
        "observer": RecordingObserver(),
        "health": chain.health,
        "matching": VoiceMatching(personalities, samples, registry, FakeVoiceMatches(), clock),
        **parts,
    }
    return SpeechService(personalities=personalities, providers=registry, clock=clock, **told)
