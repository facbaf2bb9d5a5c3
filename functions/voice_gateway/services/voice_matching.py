"""Which voices each provider has, and which of them is most like a personality's own."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, TypeVar

from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.domain.voice_match import VoiceMatches, basis_of, match_of, traits_of
from voice_gateway.domain.voices import Voice
from voice_gateway.ports import VoiceCatalogue

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from voice_gateway.ports import (
        Clock,
        PersonalityRepository,
        ProviderDirectory,
        SpeechProvider,
        VoiceMatchStore,
    )
    from voice_gateway.services.chosen_samples import ChosenSamples

PATIENCE_SECONDS: Final = 5.0
"""How long a vendor's catalogue may take; the SDK's import may be a part of it."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class VoiceMatching:
    """Works out for a personality who would speak for it where; nobody's speech waits for it.

    A request is matched by the provider that speaks it, which knows its voices anyway. This here
    asks all of them the same question beforehand, so that an owner can see the answers and pin
    others.
    """

    def __init__(
        self,
        personalities: PersonalityRepository,
        samples: ChosenSamples,
        providers: ProviderDirectory,
        store: VoiceMatchStore,
        clock: Clock,
    ) -> None:
        self._personalities = personalities
        self._samples = samples
        self._providers = providers
        self._store = store
        self._clock = clock

    async def match(self, tenant_id: str, personality_id: str) -> VoiceMatches:
        """Asks every provider that has named voices, and stores what they say.

        Raises:
            NotFoundError: The tenant has no such personality.
            StorageUnavailableError: The table did not answer.
        """
        personality = await asyncio.to_thread(self._personalities.get, tenant_id, personality_id)
        sample = await asyncio.to_thread(self._samples.chosen, personality)
        config = personality.voice_config
        wanted = traits_of(config, sample)
        request = SpeechRequest(
            sentences=(),
            language=wanted.language,
            chain=(),
            quality=config.quality,
            wanted=wanted,
            speed=config.speed,
            pitch=config.pitch,
        )
        answers = await self._answers(request)
        found = [match_of(wanted, v) for v in answers.values() if isinstance(v, Voice)]
        found.sort(key=lambda match: -match.score)
        matches = VoiceMatches(
            basis=basis_of(config, sample),
            made_at=self._clock.now(),
            voices={match.provider: match for match in found},
            unavailable={name: why for name, why in answers.items() if isinstance(why, str)},
        )
        await asyncio.to_thread(self._store.save, tenant_id, personality_id, matches)
        return matches

    async def _answers(self, request: SpeechRequest) -> dict[str, Voice | str | None]:
        """Asks every provider at once who would speak it; a text says why one cannot tell."""
        able: list[VoiceCatalogue] = []
        for name in self._providers.names():
            provider = self._providers.get(name)
            if provider is None or not provider.capabilities.speaks(request.language):
                continue
            if isinstance(provider, VoiceCatalogue):
                able.append(provider)
        answers = await asyncio.gather(*(answer_of(each.voice_for(request)) for each in able))
        return {each.name: answer for each, answer in zip(able, answers, strict=True)}


async def voices_of(provider: SpeechProvider) -> tuple[Voice, ...] | str:
    """Lists a provider's voices, none of one without named ones; or says why it cannot tell."""
    return await answer_of(provider.voices()) if isinstance(provider, VoiceCatalogue) else ()


async def answer_of(asked: Awaitable[_T]) -> _T | str:
    """Returns what a catalogue answers, or the `FailureReason` of its failure; never raises."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asked
    except TimeoutError:
        return FailureReason.TIMEOUT.value
    except ProviderError as error:
        return error.reason.value
    except Exception as error:
        # One provider's bug must not hide the others.
        _log.error("a catalogue raised %s, an error of no known kind", type(error).__name__)
        return FailureReason.UNAVAILABLE.value
