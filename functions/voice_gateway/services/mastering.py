"""From what providers say to what listeners hear: one level, no silence too much, no click."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from voice_gateway.domain.audio import SentenceTrimmer, silence
from voice_gateway.domain.mastering import (
    HEARD_SECONDS,
    PROVISIONAL_SECONDS,
    SETTLED_SECONDS,
    Limiter,
    SentenceEdges,
    gain_for,
    level_key,
    loudness,
)
from voice_gateway.domain.text import pause_after

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from numpy.typing import NDArray

    from voice_gateway.domain.speech import SpeechChunk, SpeechRequest
    from voice_gateway.ports import VoiceLevels


@dataclass(frozen=True, slots=True)
class MasteredAudio:
    """Audio to encode; may be empty."""

    samples: NDArray[np.float32]
    sample_rate: int
    provider: str
    voice: str
    ends: bool = False
    """Whether the text ends with it."""


@dataclass(slots=True)
class _Voice:
    """Who speaks, and how loud."""

    key: str
    sample_rate: int
    gain: float | None
    known: bool
    heard: list[NDArray[np.float32]] = field(default_factory=list)
    """Its audio as it came: only of a voice that was not known."""
    waiting: list[NDArray[np.float32]] = field(default_factory=list)
    """What goes out once its gain is known."""

    def seconds(self) -> float:
        return sum(piece.size for piece in self.heard) / self.sample_rate

    def loudness(self) -> float | None:
        return loudness(np.concatenate(self.heard), self.sample_rate) if self.heard else None


class Mastering:
    """Masters one answer.

    The gain belongs to the voice, not to the sentence: a whisper stays quieter than a shout. Where
    nobody has measured the voice yet, its first second is waited for, and its gain guessed by that;
    what was heard in all is remembered for the next time.
    """

    def __init__(self, levels: VoiceLevels, request: SpeechRequest) -> None:
        """Begins an answer.

        Args:
            levels: What is known of voices.
            request: What is spoken.
        """
        self._levels = levels
        self._request = request
        self._sentences = request.sentences
        self._voices: dict[str, _Voice] = {}
        self._sentence: int | None = None
        self._last: SpeechChunk | None = None
        self._ended = False
        # Made when the first chunk tells the rate.
        self._rate: int
        self._limiter: Limiter
        self._trimmer: SentenceTrimmer
        self._edges: SentenceEdges

    async def master(self, chunks: AsyncIterator[SpeechChunk]) -> AsyncGenerator[MasteredAudio]:
        """Yields what goes out, as soon as it can."""
        async for chunk in chunks:
            previous = self._last
            begins = self._sentence != chunk.sentence
            if previous is not None and begins:
                # A sentence that broke off falls silent like any other, instead of clicking.
                held = self._released(await self._voice(previous))
                tail = np.concatenate((self._edges.push(held), self._edges.finish()))
                pause = silence(pause_after(self._sentences[chunk.sentence - 1]), self._rate)
                yield self._out(previous, np.concatenate((tail, pause)))
            if previous is None or chunk.sample_rate != self._rate:
                if previous is not None:
                    yield self._audio(previous, self._limiter.finish())
                self._rate, self._limiter = chunk.sample_rate, Limiter(chunk.sample_rate)
            if begins:
                self._sentence = chunk.sentence
                self._trimmer = SentenceTrimmer(self._rate)
                self._edges = SentenceEdges(self._rate)
            self._last = chunk
            if chunk.gain is not None:
                if (await self._voice(chunk)).gain == chunk.gain:
                    is_end = chunk.sentence == len(self._sentences) - 1
                    self._ended |= is_end
                    whole = np.concatenate((self._limiter.finish(), chunk.samples))
                    self._limiter = Limiter(self._rate)
                    yield self._audio(chunk, whole, ends=is_end)
                    continue
                # Its voice was measured anew since.
                chunk = replace(chunk, samples=chunk.samples / np.float32(chunk.gain))
            trimmed = self._trimmer.push(chunk.samples)
            if chunk.last:
                trimmed = np.concatenate((trimmed, self._trimmer.finish()))
            levelled = self._edges.push(await self._level(chunk, trimmed))
            if not chunk.last:
                yield self._out(chunk, levelled)
                continue
            whole = np.concatenate((levelled, self._edges.finish()))
            if chunk.sentence < len(self._sentences) - 1:
                yield self._out(chunk, whole)
                continue
            self._ended = True
            rest = np.concatenate((self._limiter.push(whole), self._limiter.finish()))
            yield self._audio(chunk, rest, ends=True)
        if self._last is not None and not self._ended:
            yield self._audio(self._last, self._limiter.finish(), ends=True)

    async def remember(self) -> None:
        """Keeps the loudness of voices that nobody knew before and that spoke long enough."""
        for voice in self._voices.values():
            if not voice.known and voice.seconds() >= SETTLED_SECONDS:
                measured = voice.loudness()
                if measured is not None:
                    await self._levels.remember(voice.key, measured)

    async def _level(self, chunk: SpeechChunk, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        voice = await self._voice(chunk)
        if not voice.known and voice.seconds() < HEARD_SECONDS:
            voice.heard.append(samples)
        if voice.gain is None:
            voice.waiting.append(samples)
            if voice.seconds() < PROVISIONAL_SECONDS and not chunk.last:
                return samples[:0]
            return self._released(voice)
        return samples * np.float32(voice.gain)

    def _released(self, voice: _Voice) -> NDArray[np.float32]:
        """Returns what waited for the voice's gain, at that gain."""
        if not voice.waiting:
            return np.zeros(0, dtype=np.float32)
        voice.gain = gain_for(voice.loudness())
        samples = np.concatenate(voice.waiting)
        voice.waiting.clear()
        return samples * np.float32(voice.gain)

    async def _voice(self, chunk: SpeechChunk) -> _Voice:
        key = level_key(self._request, chunk.provider, chunk.voice)
        voice = self._voices.get(key)
        if voice is None or voice.sample_rate != chunk.sample_rate:
            known = await self._levels.find(key)
            gain = None if known is None else gain_for(known)
            voice = _Voice(key, chunk.sample_rate, gain, known is not None)
            self._voices[key] = voice
        return voice

    def _out(self, chunk: SpeechChunk, samples: NDArray[np.float32]) -> MasteredAudio:
        return self._audio(chunk, self._limiter.push(samples))

    def _audio(
        self, chunk: SpeechChunk, samples: NDArray[np.float32], *, ends: bool = False
    ) -> MasteredAudio:
        return MasteredAudio(samples, self._rate, chunk.provider, chunk.voice, ends)
