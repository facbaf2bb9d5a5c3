"""What was spoken before is not spoken again."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from voice_gateway.domain.audio_cache import (
    CachedSentence,
    Claim,
    Lookup,
    sentence_key,
    sentence_keys,
    why_not_keep,
)
from voice_gateway.domain.billing import charge
from voice_gateway.domain.chain import FLOOR, PATIENCE_SECONDS
from voice_gateway.domain.mastering import gain_for, level_key, mastered
from voice_gateway.domain.receipt import Attempt, Outcome
from voice_gateway.domain.speech import Journal, SpeechChunk, is_voice
from voice_gateway.providers.ahead import Ahead
from voice_gateway.providers.candidates import unsuited
from voice_gateway.providers.relay import CANCELLED
from voice_gateway.providers.speaking import LAST_RESORT_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from voice_gateway.domain.audio_cache import SentenceKey
    from voice_gateway.domain.speech import ProviderCapabilities, SpeechRequest
    from voice_gateway.ports import AudioCache, Clock, SpeechProvider, VoiceLevels
    from voice_gateway.providers.registry import ProviderRegistry

_RENEW_AFTER_SECONDS: Final = 4.0


@dataclass(frozen=True, slots=True)
class _Expected:
    """Who speaks a request if all is well."""

    name: str
    can: ProviderCapabilities
    passed_over: tuple[Attempt, ...]
    """Who was asked for before it, and cannot."""


class CachedProvider:
    """The router, behind what is kept of the audio that the expected provider would make.

    Sentences that are kept go out at once; those between them are spoken meanwhile, each run of
    neighbours in one request, so that an engine carries its style from one to the next. What two
    callers want at once is spoken once. When somebody else takes over, the rest of the text is
    theirs, whatever is kept of the others: one change of voice a failure.

    The floor is not kept: it speaks as quickly as a cache answers.
    """

    def __init__(
        self,
        router: SpeechProvider,
        registry: ProviderRegistry,
        cache: AudioCache,
        levels: VoiceLevels,
        clock: Clock,
    ) -> None:
        self.router = router
        self.registry = registry
        self.cache = cache
        self.levels = levels
        self.clock = clock
        self._tidying: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The router's."""
        return self.router.name

    @property
    def capabilities(self) -> ProviderCapabilities:
        """The router's."""
        return self.router.capabilities

    async def warm_up(self) -> None:
        """Warms the router up, and the way to the cache."""
        await self.cache.look_up([])
        await self.router.warm_up()

    async def aclose(self) -> None:
        """Ends what is still being kept, and closes the router."""
        await asyncio.gather(*self._tidying)
        await self.router.aclose()

    async def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        """Speaks the sentences in order, from the cache as far as it has them.

        What happened is written to the request's journal when this ends.

        Raises:
            AllProvidersFailedError: The router's.
            ProviderError: The router's.
        """
        expected = None if request.fresh else self._expected(request)
        if expected is None or expected.name == FLOOR:
            async with aclosing(self.router.synthesize(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        answer = _Answer(self, request, expected)
        try:
            async with aclosing(answer.speak()) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            await answer.close()
        request.journal.afterwards.extend(answer.keeping)

    def tidy(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Does something that no listener waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)
        return task

    def _expected(self, request: SpeechRequest) -> _Expected | None:
        """Finds who is asked first. What a budget forbids to ask may still be kept."""
        passed_over: list[Attempt] = []
        for name in request.chain:
            provider = self.registry.get(name)
            reason = unsuited(provider, request)
            if provider is not None and reason is None:
                return _Expected(name, provider.capabilities, tuple(passed_over))
            passed_over.append(Attempt(provider=name, outcome=Outcome.PASSED_OVER, reason=reason))
        return None


@dataclass(frozen=True, slots=True)
class _Begun:
    """A run of missing sentences that is spoken before its turn."""

    start: int
    journal: Journal
    ahead: Ahead


class _Answer:
    """One request's way through the cache."""

    def __init__(self, door: CachedProvider, request: SpeechRequest, expected: _Expected) -> None:
        self._door = door
        self._request = request
        self._expected = expected
        self._keys = sentence_keys(request, expected.name, expected.can)
        self._lookups: list[Lookup | Claim | CachedSentence] = []
        self._claims: dict[int, Claim] = {}
        self._since: Claim | None = None
        """Tells how old this answer is."""
        self._renewed = door.clock.monotonic()
        self._ahead: _Begun | None = None
        self._taken_over_by: str | None = None
        self._story: list[Attempt | Journal] = []
        """What happened, in the order in which it is heard."""
        self.keeping: list[asyncio.Task[None]] = []

    async def speak(self) -> AsyncGenerator[SpeechChunk]:
        """Yields the whole text."""
        self._lookups = await self._door.cache.look_up(self._keys)
        self._claims = {
            i: found for i, found in enumerate(self._lookups) if isinstance(found, Claim)
        }
        self._since = next(iter(self._claims.values()), None)
        position, end = 0, len(self._keys)
        while position < end:
            if not self._is_missing(position):
                self._begin_ahead(position)
                if (sentence := await self._kept(position)) is not None:
                    yield self._from_cache(position, sentence)
                    position += 1
                    continue
            stop = self._stop(position)
            async with aclosing(self._run(position, stop)) as chunks:
                async for chunk in chunks:
                    yield chunk
            position = stop

    async def close(self) -> None:
        """Ends what is under way, and writes the journal."""
        await self._drop_ahead()
        self._give_up(0, len(self._keys))
        journal = self._request.journal
        if not any(isinstance(part, Journal) for part in self._story):
            # The router was not asked, so it could not tell.
            journal.attempts.extend(self._expected.passed_over)
        for part in self._story:
            if isinstance(part, Attempt):
                journal.attempts.append(part)
                journal.not_applied |= self._expected.can.lacks(self._request)
            else:
                journal.attempts.extend(part.attempts)
                journal.not_applied |= part.not_applied

    def _is_missing(self, position: int) -> bool:
        """Tells whether a sentence has to be spoken, as far as is known beforehand."""
        return (
            self._taken_over_by is not None
            or self._lookups[position] is Lookup.UNKNOWN
            or isinstance(self._lookups[position], Claim)
        )

    def _stop(self, position: int) -> int:
        """Returns the end of the run of missing sentences that begins here."""
        stop = position + 1
        if self._is_missing(position):
            while stop < len(self._keys) and self._is_missing(stop):
                stop += 1
        return stop

    def _begin_ahead(self, position: int) -> None:
        """Has the next missing sentences spoken while those before them go out."""
        if self._ahead is not None:
            return
        start = position + 1
        while start < len(self._keys) and not self._is_missing(start):
            start += 1
        if start < len(self._keys):
            journal = Journal()
            spoken = self._spoken(start, self._stop(start), journal)
            self._ahead = _Begun(start, journal, Ahead(spoken))

    async def _drop_ahead(self) -> None:
        """Ends what was begun ahead and is heard by nobody: it may cost something all the same."""
        if (begun := self._ahead) is not None:
            self._ahead = None
            await begun.ahead.aclose()
            _only_heard(begun.journal, 0, cut=False)
            self._story.append(begun.journal)

    async def _kept(self, position: int) -> CachedSentence | None:
        key, cache, found = self._keys[position], self._door.cache, self._lookups[position]
        if isinstance(found, CachedSentence):
            return found
        if found is Lookup.KEPT:
            return await cache.fetch(key)
        seconds = PATIENCE_SECONDS[self._request.quality]
        if self._request.deadline is not None:
            left = self._request.deadline - self._door.clock.monotonic()
            seconds = min(seconds, left - LAST_RESORT_SECONDS)
        return await cache.wait_for(key, seconds)

    def _from_cache(self, position: int, sentence: CachedSentence) -> SpeechChunk:
        text = self._request.sentences[position]
        _, saved = charge(self._expected.can, self._request, sentence.voice, [text])
        before = self._story[-1] if self._story else None
        if isinstance(before, Attempt) and before.voice == sentence.voice:
            self._story[-1] = before.model_copy(
                update={
                    "sentences": before.sentences + 1,
                    "cost_saved_usd": before.cost_saved_usd + saved,
                }
            )
        else:
            attempt = Attempt(
                provider=self._expected.name,
                outcome=Outcome.CACHED,
                voice=sentence.voice,
                match=sentence.match,
                sentences=1,
                cost_saved_usd=saved,
            )
            self._story.append(attempt)
        return SpeechChunk(
            samples=sentence.samples,
            sample_rate=sentence.sample_rate,
            sentence=position,
            last=True,
            provider=self._expected.name,
            voice=sentence.voice,
            match=sentence.match,
            words=sentence.words,
            gain=sentence.gain,
        )

    async def _run(self, start: int, stop: int) -> AsyncGenerator[SpeechChunk]:
        """Yields missing sentences, which may have been begun ahead."""
        begun, journal = self._ahead, Journal()
        if begun is not None and begun.start == start:
            self._ahead, journal = None, begun.journal
            chunks = begun.ahead.chunks()
        else:
            begun, chunks = None, self._spoken(start, stop, journal)
        self._story.append(journal)
        heard, cut = 0, False
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    if chunk.provider != self._expected.name and self._taken_over_by is None:
                        self._taken_over_by = chunk.provider
                        self._give_up(stop, len(self._keys))
                        await self._drop_ahead()
                    heard, cut = chunk.sentence + 1 - start, not chunk.last
                    yield chunk
        except (GeneratorExit, asyncio.CancelledError):
            if begun is not None:
                await begun.ahead.aclose()
                _only_heard(journal, heard, cut=cut)
            raise
        finally:
            if begun is not None:
                await begun.ahead.aclose()
            # Also of what nobody could say: whoever waits for it may try.
            self._give_up(start, stop)

    async def _spoken(self, start: int, stop: int, journal: Journal) -> AsyncGenerator[SpeechChunk]:
        """Yields what the router makes of some sentences, and keeps it."""
        request, chain = self._request, self._request.chain
        if self._taken_over_by is not None:
            chain = chain[chain.index(self._taken_over_by) :]
        some = replace(
            request, sentences=request.sentences[start:stop], chain=chain, journal=journal
        )
        pieces: list[SpeechChunk] = []
        async with aclosing(self._door.router.synthesize(some)) as chunks:
            async for chunk in chunks:
                here = replace(chunk, sentence=start + chunk.sentence)
                if pieces and pieces[0].sentence != here.sentence:
                    pieces.clear()  # it broke off
                pieces.append(here)
                if here.last:
                    self._keep(pieces)
                    pieces = []
                await self._renew()
                yield here

    def _keep(self, pieces: list[SpeechChunk]) -> None:
        first = pieces[0]
        position, sentence = first.sentence, self._request.sentences[first.sentence]
        provider = self._door.registry.get(first.provider)
        if self._lookups[position] is Lookup.UNKNOWN or provider is None or provider.name == FLOOR:
            return
        samples = np.concatenate([piece.samples for piece in pieces])
        is_whole = len({(p.provider, p.voice, p.sample_rate) for p in pieces}) == 1
        # Another voice than the pinned one is not what is asked for the next time.
        is_asked = is_voice(first.voice, self._request.voices.get(provider.name))
        refused = why_not_keep(
            samples,
            first.sample_rate,
            sentence=sentence,
            language=self._request.language,
            speed=self._request.speed,
        )
        if not is_whole or not is_asked or refused is not None:
            self._give_up(position, position + 1)
            return
        key, claim = self._keys[position], None
        if provider.name == self._expected.name:
            claim = self._claims.pop(position, None)
        else:
            key = sentence_key(self._request, sentence, provider.name, provider.capabilities)
        kept = CachedSentence(
            samples=samples,
            sample_rate=first.sample_rate,
            voice=first.voice,
            match=first.match,
            words=tuple(word for piece in pieces for word in piece.words),
        )
        self.keeping.append(self._door.tidy(self._keep_mastered(key, kept, claim, provider.name)))

    async def _keep_mastered(
        self, key: SentenceKey, sentence: CachedSentence, claim: Claim | None, provider: str
    ) -> None:
        """Keeps a sentence ready to go out, where its voice's level is known by now."""
        name = level_key(self._request, provider, sentence.voice)
        if (level := await self._door.levels.find(name)) is not None:
            gain = gain_for(level)
            samples = await asyncio.to_thread(
                mastered, sentence.samples, sentence.sample_rate, gain
            )
            sentence = replace(sentence, samples=samples, gain=gain)
        await self._door.cache.keep(key, sentence, claim, since=self._since)

    def _give_up(self, start: int, stop: int) -> None:
        """Lets others speak what is still claimed of these sentences."""
        claims = [self._claims.pop(i) for i in range(start, stop) if i in self._claims]
        if claims:
            self.keeping.append(self._door.tidy(self._door.cache.give_up(claims)))

    async def _renew(self) -> None:
        now = self._door.clock.monotonic()
        if self._claims and now - self._renewed > _RENEW_AFTER_SECONDS:
            self._renewed = now
            await self._door.cache.renew([*self._claims.values()])


def _only_heard(journal: Journal, heard: int, *, cut: bool) -> None:
    """Takes out of a journal what was made ahead and reached nobody; what it cost stays.

    Args:
        journal: Of a run that the listener did not hear to its end.
        heard: How many of its sentences were begun aloud.
        cut: Whether the last of these broke off.
    """
    for place, told in enumerate(journal.attempts):
        if told.sentences > heard or (told.sentences == heard > 0 and cut):
            journal.attempts[place] = told.model_copy(
                update={
                    "reason": CANCELLED if told.outcome is Outcome.SERVED else told.reason,
                    "sentences": heard,
                    "cut": cut and heard > 0,
                    "skipped": min(told.skipped, heard),
                }
            )
        heard = max(0, heard - told.sentences)
