"""One text on its way from provider to provider."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.chain import FLOOR
from voice_gateway.domain.errors import AllProvidersFailedError, ProviderError
from voice_gateway.domain.receipt import Outcome
from voice_gateway.providers.candidates import Candidate, Candidates
from voice_gateway.providers.speaking import Speaking
from voice_gateway.providers.turn import Turn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voice_gateway.domain.health import Failure, Heard
    from voice_gateway.domain.speech import SpeechChunk, SpeechRequest
    from voice_gateway.providers.fallback import FallbackProvider

CANCELLED: Final = "cancelled"


class Relay:
    """Hands a request's sentences on until all are spoken, and says none twice.

    - A provider that is not here, does not speak the language, cannot clone for a strict request,
      or is left alone for its health, is passed over.
    - One that lets its listener wait beyond the first-audio budget gets company, if the allowance
      permits: the next one starts beside it. Whoever is heard first goes on, the other one ends.
    - One that fails hands over to the next at the first sentence of which nothing was heard: what
      broke off in the middle is not finished by another voice, and not repeated. Empty, silent or
      non-finite audio is a failure. Only what the floor cannot say either is skipped.
    - Whoever takes over keeps the rest of the text.
    - `rejected` ends the request: the fault is in what was asked.
    """

    def __init__(self, router: FallbackProvider, request: SpeechRequest) -> None:
        self._router = router
        self._request = request
        self._candidates = Candidates(router.registry, router.health, request)
        self._working: list[Speaking] = []
        self._waits: list[float] = []
        """Seconds after which those that failed want to be asked again."""
        self._doubted: Speaking | None = None
        """Who gave a silent sentence: at fault only once somebody else has said it."""

    async def run(self) -> AsyncGenerator[SpeechChunk]:
        """Speaks.

        Raises:
            AllProvidersFailedError: The chain ended before the text did.
            ProviderError: A provider refused the request itself (`rejected`).
        """
        spoken = 0
        try:
            while (candidate := await self._candidates.next()) is not None:
                speaking = self._start(candidate, spoken)
                try:
                    speaking = await self._first_heard(speaking)
                    async for chunk in speaking:
                        self._note(speaking, chunk)
                        handed_over = self._now()
                        yield chunk
                        speaking.turn.paused += self._now() - handed_over
                except ProviderError as error:
                    await self._fail(speaking, error)
                    if not error.retryable:
                        raise
                    if speaking.turn.over:
                        # Nobody can say the rest of a sentence, and its listener must not take what
                        # came for the whole.
                        if speaking.turn.in_sentence or speaking.turn.mute:
                            raise self._nobody() from None
                        return
                    spoken = speaking.turn.next_unspoken
                else:
                    done = speaking.turn.success(self._now())
                    await self._end(speaking, Outcome.SERVED, None, done)
                    return
        except BaseException:
            # The listener hung up, if anybody is still at work.
            for beside, speaking in reversed(tuple(enumerate(self._working))):
                outcome = Outcome.HEDGE_LOST if beside else Outcome.SERVED
                await self._end(speaking, outcome, CANCELLED, speaking.turn.beginning())
            raise
        finally:
            if self._doubted is not None:
                self._router.tell(self._doubted.turn, self._request, None)
        raise self._nobody()

    async def _first_heard(self, leader: Speaking) -> Speaking:
        """Waits for the first audio; returns whoever goes on, when the other one has ended."""
        budget = self._router.first_audio_seconds[self._request.quality]
        if await leader.begins_within(budget) or (rival := await self._rival(leader)) is None:
            return leader
        waiting = {asyncio.ensure_future(each.begun.wait()) for each in (leader, rival)}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
        first, second = (leader, rival) if leader.begun.is_set() else (rival, leader)
        if first.failure is not None and not first.audible and first.failure.retryable:
            await self._fail(first, first.failure)
            return second
        await self._end(second, Outcome.HEDGE_LOST, None, None)
        if second is rival:
            await self._candidates.put_back(Candidate(rival.provider, trial=False))
        return first

    async def _rival(self, leader: Speaking) -> Speaking | None:
        """Starts the next one beside, if that is worth it and the allowance permits."""
        if not self._candidates.worth_a_hedge() or not await self._router.hedges.take():
            return None
        candidate = await self._candidates.next()
        if candidate is None or leader.begun.is_set() or candidate.provider.name == FLOOR:
            if candidate is not None:
                await self._candidates.put_back(candidate)
            return None
        return self._start(candidate, leader.turn.first, hedge=True)

    def _start(self, candidate: Candidate, first: int, *, hedge: bool = False) -> Speaking:
        turn = Turn(
            candidate.provider,
            self._request,
            first=first,
            started=self._now(),
            trial=candidate.trial,
            hedge=hedge,
        )
        speaking = Speaking(
            candidate.provider,
            self._request,
            turn,
            clock=self._router.clock,
            patience=self._router.patience_seconds[self._request.quality],
            anybody_else=lambda: len(self._working) > 1 or self._candidates.anybody(),
        )
        self._working.append(speaking)
        return speaking

    def _note(self, speaking: Speaking, chunk: SpeechChunk) -> None:
        """Tells at once what a piece that was heard proves."""
        doubted, turn = self._doubted, speaking.turn
        if doubted is not None and doubted.silent == chunk.sentence and doubted.failure:
            self._router.tell(doubted.turn, self._request, doubted.turn.failure(doubted.failure))
            self._doubted = None
        if turn.trial:
            self._router.tell(turn, self._request, turn.beginning())
            turn.trial = False

    async def _fail(self, speaking: Speaking, error: ProviderError) -> None:
        if error.retry_after_seconds is not None:
            self._waits.append(error.retry_after_seconds)
        told = speaking.turn.failure(error)
        if speaking.silent is None:
            await self._end(speaking, Outcome.FAILED, error, told)
            return
        await self._close(speaking, Outcome.FAILED, error)
        if self._doubted is not None:
            self._router.tell(self._doubted.turn, self._request, None)
        self._doubted = speaking

    async def _end(
        self,
        speaking: Speaking,
        outcome: Outcome,
        why: ProviderError | str | None,
        told: Heard | Failure | None,
    ) -> None:
        await self._close(speaking, outcome, why)
        self._router.tell(speaking.turn, self._request, told)

    async def _close(
        self, speaking: Speaking, outcome: Outcome, why: ProviderError | str | None
    ) -> None:
        self._working.remove(speaking)
        await speaking.aclose()
        journal = self._request.journal
        journal.attempts.append(speaking.turn.attempt(outcome, self._now(), why))
        journal.not_applied |= speaking.not_applied()

    def _nobody(self) -> AllProvidersFailedError:
        waits = self._waits
        if (at := self._candidates.retry_at) is not None:
            waits = [*waits, max(0.0, (at - self._router.clock.now()).total_seconds())]
        return AllProvidersFailedError(self._request.journal.attempts, min(waits, default=None))

    def _now(self) -> float:
        return self._router.clock.monotonic()
