"""A provider that does exactly what its script says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from voice_gateway.domain.speech import ProviderCapabilities, SpeechChunk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from numpy.typing import NDArray

    from voice_gateway.domain.speech import SpeechRequest

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
                    )
        finally:
            self.closed += 1
