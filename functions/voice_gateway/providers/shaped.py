"""A provider with the speed and the pitch that it lacks."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from voice_gateway.domain.audio import is_sound
from voice_gateway.domain.shaping import SentenceShaper
from voice_gateway.domain.speech import WordTiming
from voice_gateway.ports import VoiceCatalogue

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voice_gateway.domain.speech import ProviderCapabilities, SpeechChunk, SpeechRequest
    from voice_gateway.domain.voices import Voice
    from voice_gateway.ports import SpeechProvider, VoiceShifter


class ShapedProvider:
    """Is the provider that it is made of, and follows speed and pitch in any case.

    What the provider can do itself is left to it, sounding better than any change afterwards. The
    rest is applied to its audio, sentence by sentence and still streaming.
    """

    def __init__(self, provider: SpeechProvider, shifter: VoiceShifter) -> None:
        self._provider = provider
        self._shifter = shifter

    @property
    def name(self) -> str:
        """The provider's registered name."""
        return self._provider.name

    @property
    def capabilities(self) -> ProviderCapabilities:
        """The provider's own, and speed and pitch."""
        return replace(self._provider.capabilities, speed=True, pitch=True)

    async def voices(self) -> tuple[Voice, ...]:
        """The provider's own; none of one that has no names for them.

        Raises:
            ProviderError: The provider's.
        """
        return await self._provider.voices() if isinstance(self._provider, VoiceCatalogue) else ()

    async def voice_for(self, request: SpeechRequest) -> Voice | None:
        """Who would speak a request; None where the provider does not tell.

        Raises:
            ProviderError: The provider's.
        """
        if not isinstance(self._provider, VoiceCatalogue):
            return None
        return await self._provider.voice_for(request)

    async def warm_up(self) -> None:
        """Warms the provider up."""
        await self._provider.warm_up()

    async def aclose(self) -> None:
        """Closes the provider."""
        await self._provider.aclose()

    async def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        """Speaks as the provider does, at the speed and pitch that were asked for.

        Raises:
            ProviderError: The provider's.
        """
        can = self._provider.capabilities
        asked = replace(
            request,
            speed=request.speed if can.speed else 1.0,
            pitch=request.pitch if can.pitch else 0.0,
        )
        shaper: SentenceShaper | None = None
        words: list[WordTiming] = []
        async with aclosing(self._provider.synthesize(asked)) as chunks:
            async for chunk in chunks:
                speed = request.speed / (asked.speed if chunk.speed is None else chunk.speed)
                pitch = request.pitch - (asked.pitch if chunk.pitch is None else chunk.pitch)
                # What is no sound is for the router to judge.
                if (speed == 1 and pitch == 0) or not is_sound(chunk.samples):
                    yield chunk
                    continue
                if shaper is None:
                    change = partial(
                        self._shifter.shift,
                        sample_rate=chunk.sample_rate,
                        speed=speed,
                        pitch=pitch,
                    )
                    shaper = SentenceShaper(change, chunk.sample_rate, speed=speed)
                # Some 20 ms for each second of speech: the loop has others to serve meanwhile.
                samples = await asyncio.to_thread(shaper.push, chunk.samples)
                words.extend(chunk.words)
                if chunk.last:
                    rest = await asyncio.to_thread(shaper.finish)
                    samples, shaper = np.concatenate((samples, rest)), None
                if samples.size or chunk.last:
                    told = tuple(
                        WordTiming(word.word, word.start / speed, word.end / speed)
                        for word in words
                    )
                    words.clear()
                    yield replace(chunk, samples=samples, speed=None, pitch=None, words=told)
