"""The router: asks the chain's providers in turn, and never says a sentence twice."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from voice_gateway.domain.audio import is_audible, is_sound
from voice_gateway.domain.billing import billed_sentences, charge
from voice_gateway.domain.chain import PATIENCE_SECONDS
from voice_gateway.domain.errors import AllProvidersFailedError, FailureReason, ProviderError
from voice_gateway.domain.personality import AdvancedSettings
from voice_gateway.domain.receipt import Attempt, Outcome
from voice_gateway.domain.speech import ProviderCapabilities

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from voice_gateway.domain.chain import Quality
    from voice_gateway.domain.speech import SpeechChunk, SpeechRequest
    from voice_gateway.ports import Clock, SpeechProvider
    from voice_gateway.providers.registry import ProviderRegistry

CANCELLED: Final = "cancelled"

_log = logging.getLogger(__name__)


class _Turn:
    """One provider's turn: what it has said so far, counted in the whole request's sentences."""

    def __init__(
        self, provider: SpeechProvider, request: SpeechRequest, first: int, started: float
    ) -> None:
        self.provider = provider.name
        self._sentences = request.sentences
        self._capabilities = provider.capabilities
        self._pinned = request.voices.get(provider.name)
        self.first = first
        self.next_unspoken = first
        self.voice: str | None = None
        self.started = started
        self.first_audio: float | None = None
        self.in_sentence = False
        """Whether the last sentence heard is still missing its end."""
        self.skipped = 0
        self.paused = 0.0
        """Seconds that the listener took, not the provider."""

    @property
    def mute(self) -> bool:
        """Whether nothing of the whole text has been heard, from this provider or one before."""
        return self.first == 0 and self.first_audio is None

    def heard(self, chunk: SpeechChunk, now: float) -> None:
        self.voice = chunk.voice
        self.next_unspoken = self.first + chunk.sentence + 1
        self.in_sentence = not chunk.last
        if self.first_audio is None:
            self.first_audio = now

    def skip(self, sentence: int) -> None:
        self.skipped += 1
        self.next_unspoken = self.first + sentence + 1

    def attempt(
        self, outcome: Outcome, now: float, why: ProviderError | str | None = None
    ) -> Attempt:
        failure = why if isinstance(why, ProviderError) else None
        reason = failure.reason.value if failure else cast(str | None, why)
        begun = self._sentences[self.first : self.next_unspoken]
        billed = billed_sentences(
            self._sentences[self.first :],
            len(begun),
            cut=self.in_sentence,
            outcome=outcome,
            reason=reason,
        )
        characters, cost = charge(self._capabilities, self.voice or self._pinned, billed)
        return Attempt(
            provider=self.provider,
            outcome=outcome,
            reason=reason,
            detail=failure.detail if failure else None,
            voice=self.voice,
            sentences=len(begun),
            cut=self.in_sentence,
            skipped=self.skipped,
            characters=characters,
            cost_usd=cost,
            first_audio_ms=_ms(self.first_audio, self.started),
            elapsed_ms=round((now - self.started - self.paused) * 1000, 1),
        )


class FallbackProvider:
    """A `SpeechProvider` made of the chain that each request names.

    - A provider that is not here, or does not speak the language, or cannot clone for a strict
      request, is passed over.
    - One that fails hands over to the next at the first sentence of which nothing was heard. Empty,
      silent or non-finite audio is a failure: a sentence's audio is held back until something in it
      can be heard. Only when nobody is left to ask is a silent sentence skipped.
    - Whoever takes over keeps the rest of the text.
    - `rejected` ends the request: the fault is in what was asked.

    What happened is written to the request's journal, also when this raises.
    """

    def __init__(
        self,
        registry: ProviderRegistry,
        clock: Clock,
        *,
        patience_seconds: Mapping[Quality, float] = PATIENCE_SECONDS,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._patience_seconds = patience_seconds

    @property
    def name(self) -> str:
        """The name under which it stands where a provider is wanted."""
        return "fallback"

    @property
    def capabilities(self) -> ProviderCapabilities:
        """The union of the languages of everything registered."""
        providers = [p for n in self._registry.names() if (p := self._registry.get(n)) is not None]
        return ProviderCapabilities(
            languages=frozenset().union(*(p.capabilities.languages for p in providers)),
            cloning=any(p.capabilities.cloning for p in providers),
            pitch=any(p.capabilities.pitch for p in providers),
        )

    async def warm_up(self) -> None:
        """Warms up every registered provider."""
        await self._registry.warm_up(self._registry.names())

    async def aclose(self) -> None:
        """Closes the providers that were built."""
        await self._registry.aclose()

    async def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        """Speaks the request's sentences, by as many providers as it takes.

        Raises:
            AllProvidersFailedError: The chain ended before the text did.
            ProviderError: A provider refused the request itself (`rejected`).
        """
        attempts = request.journal.attempts
        spoken = 0
        for position, name in enumerate(request.chain):
            provider = self._registry.get(name)
            passed_over = _why_pass_over(provider, request)
            if provider is None or passed_over is not None:
                attempts.append(
                    Attempt(provider=name, outcome=Outcome.PASSED_OVER, reason=passed_over)
                )
                continue
            turn = _Turn(provider, request, spoken, self._clock.monotonic())
            try:
                rest_of_chain = request.chain[position + 1 :]
                async with aclosing(
                    self._take_turn(provider, request, turn, rest_of_chain)
                ) as chunks:
                    async for chunk in chunks:
                        handed_over = self._clock.monotonic()
                        yield chunk
                        turn.paused += self._clock.monotonic() - handed_over
            except ProviderError as error:
                attempts.append(turn.attempt(Outcome.FAILED, self._clock.monotonic(), error))
                _note_not_applied(provider, request, turn)
                if not error.retryable:
                    raise
                spoken = turn.next_unspoken
                if spoken == len(request.sentences):
                    # Nobody can say the rest of a sentence, and its listener must not take what
                    # came for the whole.
                    if turn.in_sentence or turn.mute:
                        raise AllProvidersFailedError(attempts) from None
                    return
            except (GeneratorExit, asyncio.CancelledError):
                attempts.append(turn.attempt(Outcome.SERVED, self._clock.monotonic(), CANCELLED))
                raise
            else:
                attempts.append(turn.attempt(Outcome.SERVED, self._clock.monotonic()))
                _note_not_applied(provider, request, turn)
                return
        raise AllProvidersFailedError(attempts)

    async def _take_turn(
        self,
        provider: SpeechProvider,
        request: SpeechRequest,
        turn: _Turn,
        rest_of_chain: tuple[str, ...],
    ) -> AsyncGenerator[SpeechChunk]:
        """Yields audible chunks only, numbered as the whole request's sentences are.

        Raises:
            ProviderError: The provider failed, was too slow, or its audio is no speech.
        """
        rest = replace(request, sentences=request.sentences[turn.first :])
        finished = 0
        held: list[SpeechChunk] = []
        async with aclosing(provider.synthesize(rest)) as chunks:
            while (chunk := await self._next(chunks, request, turn)) is not None:
                if chunk.sentence != finished:
                    raise _bad(turn, "gave its sentences out of order")
                if not is_sound(chunk.samples):
                    raise _bad(turn, "gave samples that are no numbers")
                held.append(chunk)
                if turn.in_sentence or any(is_audible(c.samples) for c in held):
                    for ready in held:
                        turn.heard(ready, self._clock.monotonic())
                        yield replace(ready, sentence=turn.first + ready.sentence)
                    held.clear()
                if chunk.last:
                    if held:
                        if self._anybody(rest_of_chain, request):
                            raise _bad(turn, "gave a silent sentence")
                        held.clear()
                        turn.skip(chunk.sentence)
                    finished += 1
        if finished < len(rest.sentences):
            raise _bad(turn, "stopped before the text was spoken")
        if turn.mute:
            raise _bad(turn, "gave nothing to hear")

    def _anybody(self, names: tuple[str, ...], request: SpeechRequest) -> bool:
        return any(_why_pass_over(self._registry.get(name), request) is None for name in names)

    async def _next(
        self, chunks: AsyncGenerator[SpeechChunk], request: SpeechRequest, turn: _Turn
    ) -> SpeechChunk | None:
        budget = self._patience_seconds[request.quality]
        if turn.first_audio is None:
            budget -= self._clock.monotonic() - turn.started
        if request.deadline is not None:
            budget = min(budget, request.deadline - self._clock.monotonic())
        try:
            async with asyncio.timeout(budget):
                return await anext(chunks, None)
        except TimeoutError:
            waited = "first" if turn.first_audio is None else "next"
            detail = f"no {waited} audio within {max(budget, 0):.1f} s"
            raise ProviderError(turn.provider, FailureReason.TIMEOUT, detail) from None
        except (ProviderError, AllProvidersFailedError):
            raise
        except Exception as error:
            # A provider's bug must not leave the listener mute; its message may hold their text.
            kind = type(error).__name__
            _log.error("provider %s raised %s, an error of no known kind", turn.provider, kind)
            detail = f"an error of no known kind ({kind})"
            raise ProviderError(turn.provider, FailureReason.UNAVAILABLE, detail) from None


def _why_pass_over(provider: SpeechProvider | None, request: SpeechRequest) -> str | None:
    if provider is None:
        return "not_configured"
    if not provider.capabilities.speaks(request.language):
        return "language"
    if request.strict and request.sample_path is not None and not provider.capabilities.cloning:
        return "cannot_clone"
    if provider.name in request.too_dear:
        return "budget"
    return None


def _note_not_applied(provider: SpeechProvider, request: SpeechRequest, turn: _Turn) -> None:
    """Says which settings whoever spoke could not follow."""
    if turn.next_unspoken == turn.first:
        return
    can = provider.capabilities
    if request.pitch != 0 and not can.pitch:
        request.journal.not_applied.add("pitch")
    if request.speed != 1 and not can.speed:
        request.journal.not_applied.add("speed")
    if request.advanced != AdvancedSettings() and not can.advanced:
        request.journal.not_applied.add("advanced")
    if request.sample_path is not None and not can.cloning:
        request.journal.not_applied.add("sample_path")


def _bad(turn: _Turn, detail: str) -> ProviderError:
    return ProviderError(turn.provider, FailureReason.BAD_AUDIO, detail)


def _ms(then: float | None, start: float) -> float | None:
    return None if then is None else round((then - start) * 1000, 1)
