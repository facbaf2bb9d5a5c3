"""One provider at work on the rest of a text, watched: patience, order, audible sound."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.audio import is_audible, is_sound
from voice_gateway.domain.chain import FLOOR
from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.speech import Journal, SpeechChunk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from voice_gateway.domain.speech import SpeechRequest
    from voice_gateway.ports import Clock, SpeechProvider
    from voice_gateway.providers.turn import Turn

AHEAD: Final = 2
"""Pieces that a provider may be ahead of its listener."""
LAST_RESORT_SECONDS: Final = 1.0
"""Kept of a request's time for whoever comes next, so that a slow provider leaves nobody mute."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Skipped:
    """A sentence that nobody can say."""

    sentence: int


@dataclass(frozen=True, slots=True)
class _Ready:
    """What a listener gets next."""

    skipped: tuple[int, ...]
    """Sentences passed over before it."""
    chunk: SpeechChunk | None
    """None at the end."""


class Speaking:
    """Runs in a task of its own, until it is closed; iterate it to hear.

    Gives audible pieces only, numbered as the whole text's sentences are. A sentence's audio is
    held back until something in it can be heard, so that a provider that "succeeds" with silence is
    never heard.

    Attributes:
        provider: Who speaks.
        turn: What was heard.
        begun: Set when something can be heard, or when it is known that nothing will.
        failure: Why it ended, when it failed; a listener gets to it after what was audible.
        silent: The sentence whose silence was the failure.
    """

    def __init__(
        self,
        provider: SpeechProvider,
        request: SpeechRequest,
        turn: Turn,
        *,
        clock: Clock,
        patience: float,
        anybody_else: Callable[[], bool],
    ) -> None:
        """Starts it.

        Args:
            provider: Who speaks.
            request: The whole text.
            turn: From which sentence on.
            clock: For patience.
            patience: Seconds that it may take to the first audio, and from one piece to the next.
            anybody_else: Tells whether others are left who could say what this one cannot.
        """
        self.provider = provider
        self.turn = turn
        self.begun = asyncio.Event()
        self.failure: ProviderError | None = None
        self.silent: int | None = None
        self._request = request
        self._journal = Journal()
        self._clock = clock
        self._patience = patience
        self._anybody_else = anybody_else
        self._ready: asyncio.Queue[_Ready] = asyncio.Queue(AHEAD)
        self._work = asyncio.get_running_loop().create_task(self._speak())

    @property
    def audible(self) -> bool:
        """Whether something of it can be heard."""
        return self.turn.first_audio is not None

    def __aiter__(self) -> Speaking:
        """Is its own iterator."""
        return self

    async def __anext__(self) -> SpeechChunk:
        """Returns the next piece.

        Raises:
            ProviderError: It failed, was too slow, or its audio is no speech.
        """
        ready = await self._ready.get()
        for sentence in ready.skipped:
            self.turn.skip(sentence)
        if ready.chunk is not None:
            self.turn.heard(ready.chunk)
            return ready.chunk
        if self.failure is not None:
            raise self.failure
        raise StopAsyncIteration

    async def begins_within(self, seconds: float) -> bool:
        """Waits until it is known whether there is something to hear; tells whether it is."""
        try:
            async with asyncio.timeout(seconds):
                await self.begun.wait()
        except TimeoutError:
            return False
        return True

    async def aclose(self) -> None:
        """Ends the work at once."""
        self._work.cancel()
        await asyncio.wait({self._work})

    def not_applied(self) -> set[str]:
        """Says which settings of the request whoever spoke could not follow."""
        if self.turn.next_unspoken == self.turn.first:
            return set()
        return self._journal.not_applied | self.provider.capabilities.lacks(self._request)

    async def _speak(self) -> None:
        # Skipped sentences wait for the next piece: nobody listens before the first one is there.
        skipped: tuple[int, ...] = ()
        try:
            async with aclosing(self._audible()) as pieces:
                async for piece in pieces:
                    if isinstance(piece, _Skipped):
                        skipped += (piece.sentence,)
                        continue
                    if self.turn.first_audio is None:
                        self.turn.first_audio = self._clock.monotonic()
                        self.begun.set()
                    await self._ready.put(_Ready(skipped, piece))
                    skipped = ()
        except ProviderError as error:
            self.failure = error
        except Exception as error:
            # A provider's bug must not leave the listener mute; its message may hold their text.
            kind = type(error).__name__
            _log.error("provider %s raised %s, an error of no known kind", self.turn.provider, kind)
            self.failure = self._unavailable(f"an error of no known kind ({kind})")
        self.begun.set()
        await self._ready.put(_Ready(skipped, None))

    async def _audible(self) -> AsyncGenerator[SpeechChunk | _Skipped]:
        first = self.turn.first
        # A journal of its own: who loses a race must leave nothing in the receipt.
        rest = replace(
            self._request, sentences=self._request.sentences[first:], journal=self._journal
        )
        finished, in_sentence = 0, False
        held: list[SpeechChunk] = []
        async with aclosing(self.provider.synthesize(rest)) as chunks:
            while (chunk := await self._next(chunks)) is not None:
                if chunk.sentence != finished:
                    raise self._bad("gave its sentences out of order")
                if not is_sound(chunk.samples):
                    raise self._bad("gave samples that are no numbers")
                held.append(chunk)
                if in_sentence or is_audible(chunk.samples):
                    in_sentence = not chunk.last
                    self.turn.came(first + chunk.sentence, whole=chunk.last)
                    for ready in held:
                        yield replace(ready, sentence=first + ready.sentence)
                    held.clear()
                if chunk.last:
                    if held:
                        self._say_nothing(first + chunk.sentence)
                        held.clear()
                        self.turn.came(first + chunk.sentence, whole=True)
                        yield _Skipped(first + chunk.sentence)
                    finished += 1
        if finished < len(rest.sentences):
            raise self._bad("stopped before the text was spoken")
        if first == 0 and not self.audible:
            raise self._bad("gave nothing to hear")

    def _say_nothing(self, sentence: int) -> None:
        """A silent sentence is a failure, unless the floor gave it and nobody else is left.

        Raises:
            ProviderError: It is one.
        """
        if self.provider.name != FLOOR or self._anybody_else():
            self.silent = sentence
            raise self._bad("gave a silent sentence")

    async def _next(self, chunks: AsyncGenerator[SpeechChunk]) -> SpeechChunk | None:
        budget, short_of_time = self._budget()
        try:
            async with asyncio.timeout(budget):
                return await anext(chunks, None)
        except TimeoutError:
            waited = "next" if self.audible else "first"
            detail = f"no {waited} audio within {max(budget, 0):.1f} s"
            if short_of_time:
                detail += ", all the time that was left"
            raise ProviderError(
                self.turn.provider, FailureReason.TIMEOUT, detail, of_request=short_of_time
            ) from None
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise self._unavailable("cancelled itself") from None

    def _budget(self) -> tuple[float, bool]:
        """How long the next piece may take, and whether the request's own end is what bounds it."""
        now = self._clock.monotonic()
        budget = self._patience if self.audible else self._patience - (now - self.turn.started)
        if self._request.deadline is None:
            return budget, False
        left = self._request.deadline - now
        if self._anybody_else():
            left -= LAST_RESORT_SECONDS
        return min(budget, left), left < budget

    def _unavailable(self, detail: str) -> ProviderError:
        return ProviderError(self.turn.provider, FailureReason.UNAVAILABLE, detail)

    def _bad(self, detail: str) -> ProviderError:
        return ProviderError(self.turn.provider, FailureReason.BAD_AUDIO, detail)
