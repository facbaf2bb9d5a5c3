"""A provider that does exactly what its script says."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from voice_gateway.domain.speech import ProviderCapabilities, SpeechChunk, WordTiming
from voice_gateway.domain.voice_match import likeness
from voice_gateway.providers.cloud import voice_for

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from numpy.typing import NDArray

    from voice_gateway.domain.speech import SpeechRequest
    from voice_gateway.domain.voices import Voice

RATE = 16_000


def tone(seconds: float, *, rate: int = RATE, hertz: float = 220.0) -> NDArray[np.float32]:
    """A sine at half of full scale, mono."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


@dataclass
class ScriptedProvider:
    """Speaks a tone a sentence, in `chunks` pieces; breaks off where it is told to."""

    name: str
    capabilities: ProviderCapabilities = field(
        default_factory=lambda: ProviderCapabilities(languages=frozenset({"en"}))
    )
    chunks: int = 2
    seconds: float = 0.2
    """Of each sentence."""
    rate: int = RATE
    fail_with: BaseException | None = None
    fail_at: tuple[int, int] = (0, 0)
    """Sentence and chunk before which it fails."""
    hang_at: tuple[int, int] | None = None
    """Sentence and chunk before which it hangs for good."""
    wait: float = 0.0
    """Seconds before the first piece of each request."""
    audio: NDArray[np.float32] | None = None
    """Given instead of the tone's pieces."""
    voice: str | None = None
    """Spoken in whatever voice was asked for."""
    spoken_speed: float | None = None
    """What it could do of the speed that was asked for."""
    match: float | None = None
    """How like the wanted voice it says that it is."""
    words: bool = False
    """Whether it tells when each piece is heard, as if it were a word."""
    asked: list[tuple[str, ...]] = field(default_factory=list)
    """The sentences of every request."""
    requests: list[SpeechRequest] = field(default_factory=list)
    closed: int = 0
    """How many requests came to their end, one way or another."""

    async def warm_up(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to close."""

    async def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        """Follows the script."""
        self.asked.append(request.sentences)
        self.requests.append(request)
        try:
            await asyncio.sleep(self.wait)
            for sentence in range(len(request.sentences)):
                for index in range(self.chunks):
                    await asyncio.sleep(0)
                    here = (sentence, index)
                    if self.hang_at == here:
                        await asyncio.Event().wait()
                    if self.fail_with is not None and self.fail_at == here:
                        raise self.fail_with
                    piece = tone(self.seconds / self.chunks, rate=self.rate)
                    yield SpeechChunk(
                        samples=piece if self.audio is None else self.audio,
                        sample_rate=self.rate,
                        sentence=sentence,
                        last=index == self.chunks - 1,
                        provider=self.name,
                        voice=self.voice or request.voices.get(self.name, f"{self.name}-default"),
                        speed=self.spoken_speed,
                        match=self.match,
                        words=self._word(index),
                    )
        finally:
            self.closed += 1

    def _word(self, index: int) -> tuple[WordTiming, ...]:
        length = self.seconds / self.chunks
        word = WordTiming(f"word-{index}", index * length, (index + 1) * length)
        return (word,) if self.words else ()


@dataclass
class CataloguedProvider(ScriptedProvider):
    """Knows its voices, and speaks in the one that fits."""

    catalogue: tuple[Voice, ...] = ()
    broken: BaseException | None = None
    """Raised by whoever asks for the voices."""
    listed: int = 0

    async def voices(self) -> tuple[Voice, ...]:
        """Lists them."""
        self.listed += 1
        if self.broken is not None:
            raise self.broken
        return self.catalogue

    async def voice_for(self, request: SpeechRequest) -> Voice:
        """Chooses as the vendors do."""
        return voice_for(self.name, await self.voices(), request, ())

    async def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        """Follows the script, in that voice."""
        voice = await self.voice_for(request)
        match = likeness(request.wanted, request.language, voice)
        async with aclosing(super().synthesize(request)) as chunks:
            async for chunk in chunks:
                yield replace(chunk, voice=voice.name, match=match)
