"""The router: a provider that is made of the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from voice_gateway.domain.chain import FIRST_AUDIO_SECONDS, PATIENCE_SECONDS
from voice_gateway.domain.speech import ProviderCapabilities
from voice_gateway.providers.relay import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from voice_gateway.domain.chain import Quality
    from voice_gateway.domain.health import Failure, Heard
    from voice_gateway.domain.speech import SpeechChunk, SpeechRequest
    from voice_gateway.ports import Clock, HedgeAllowance, ProviderHealth
    from voice_gateway.providers.registry import ProviderRegistry
    from voice_gateway.providers.turn import Turn


class FallbackProvider:
    """A `SpeechProvider` made of the chain that each request names; `Relay` is how."""

    def __init__(
        self,
        registry: ProviderRegistry,
        clock: Clock,
        *,
        health: ProviderHealth,
        hedges: HedgeAllowance,
        patience_seconds: Mapping[Quality, float] = PATIENCE_SECONDS,
        first_audio_seconds: Mapping[Quality, float] = FIRST_AUDIO_SECONDS,
    ) -> None:
        self.registry = registry
        self.clock = clock
        self.health = health
        self.hedges = hedges
        self.patience_seconds = patience_seconds
        self.first_audio_seconds = first_audio_seconds
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The name under which it stands where a provider is wanted."""
        return "fallback"

    @property
    def capabilities(self) -> ProviderCapabilities:
        """The union of the languages of everything registered."""
        providers = [p for n in self.registry.names() if (p := self.registry.get(n)) is not None]
        return ProviderCapabilities(
            languages=frozenset().union(*(p.capabilities.languages for p in providers)),
            cloning=any(p.capabilities.cloning for p in providers),
            pitch=any(p.capabilities.pitch for p in providers),
        )

    async def warm_up(self) -> None:
        """Warms up every registered provider, and the way to their health."""
        await self.health.standings("")
        await self.registry.warm_up(self.registry.names())

    async def aclose(self) -> None:
        """Ends what is still being told of the providers' health, and closes them."""
        await asyncio.gather(*self._telling)
        await self.registry.aclose()

    def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        """Speaks the request's sentences, by as many providers as it takes.

        What happened is written to the request's journal, also when this raises.

        Raises:
            AllProvidersFailedError: The chain ended before the text did.
            ProviderError: A provider refused the request itself (`rejected`).
        """
        self.hedges.asked()
        return Relay(self, request).run()

    def tell(self, turn: Turn, request: SpeechRequest, result: Heard | Failure | None) -> None:
        """Reports a turn to the shared health, behind the listener's back: nobody waits for it."""
        telling = asyncio.get_running_loop().create_task(
            self.health.report(turn.provider, request.tenant_id, result, trial=turn.trial)
        )
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
