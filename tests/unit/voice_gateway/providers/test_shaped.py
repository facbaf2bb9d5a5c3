from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fakes.providers import ScriptedProvider, tone
from voice_gateway.adapters.voice_shifter import StretchShifter
from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.speech import ProviderCapabilities, SpeechChunk, SpeechRequest
from voice_gateway.providers.shaped import ShapedProvider

RATE = 16_000
REQUEST = SpeechRequest(sentences=("One.", "Two."), language="en", chain=("piper",))
ABLE = ProviderCapabilities(languages=frozenset({"en"}), speed=True, pitch=True)
UNABLE = ProviderCapabilities(languages=frozenset({"en"}), speed=False, pitch=False)


def provider(can: ProviderCapabilities) -> ScriptedProvider:
    return ScriptedProvider("piper", can, chunks=4, seconds=1.0)


async def spoken(inner: ScriptedProvider, request: SpeechRequest) -> list[SpeechChunk]:
    return [chunk async for chunk in ShapedProvider(inner, StretchShifter()).synthesize(request)]


def seconds(chunks: list[SpeechChunk], sentence: int) -> float:
    return sum(c.samples.size / c.sample_rate for c in chunks if c.sentence == sentence)


async def test_what_the_provider_can_do_is_left_to_it() -> None:
    inner = provider(ABLE)
    chunks = await spoken(inner, replace(REQUEST, speed=2.0, pitch=3.0))
    assert (inner.requests[0].speed, inner.requests[0].pitch) == (2.0, 3.0)
    assert seconds(chunks, 0) == 1.0


async def test_what_it_lacks_is_done_to_its_audio() -> None:
    inner = provider(UNABLE)
    chunks = await spoken(inner, replace(REQUEST, speed=2.0, pitch=3.0))
    assert (inner.requests[0].speed, inner.requests[0].pitch) == (1.0, 0.0)
    for sentence in (0, 1):
        assert seconds(chunks, sentence) == pytest.approx(0.5, abs=0.01)
        assert [c.last for c in chunks if c.sentence == sentence][-1]
        assert sum(c.last for c in chunks if c.sentence == sentence) == 1
    audio = np.concatenate([c.samples for c in chunks if c.sentence == 0])
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(audio.size)))
    assert spectrum.argmax() * RATE / audio.size == pytest.approx(220 * 2 ** (3 / 12), rel=0.02)


async def test_nothing_asked_nothing_touched() -> None:
    chunks = await spoken(provider(UNABLE), REQUEST)
    assert len(chunks) == 8
    assert np.array_equal(chunks[0].samples, tone(0.25, rate=RATE))


async def test_what_the_provider_fell_short_of_is_made_up_for() -> None:
    inner = provider(ABLE)
    inner.spoken_speed = 2.0
    chunks = await spoken(inner, replace(REQUEST, speed=4.0))
    assert seconds(chunks, 0) == pytest.approx(0.5, abs=0.01)
    assert all(c.speed is None for c in chunks)


async def test_the_first_audio_comes_before_the_sentence_ends() -> None:
    inner = provider(UNABLE)
    stream = ShapedProvider(inner, StretchShifter()).synthesize(replace(REQUEST, pitch=2.0))
    first = await anext(stream)
    assert first.samples.size
    assert not first.last
    await stream.aclose()
    assert inner.closed == 1


async def test_it_is_the_provider_in_all_else() -> None:
    shaped = ShapedProvider(provider(UNABLE), StretchShifter())
    assert shaped.name == "piper"
    assert shaped.capabilities == ABLE
    inner = provider(UNABLE)
    inner.fail_with = ProviderError("piper", FailureReason.UNAVAILABLE, "gone")
    inner.fail_at = (1, 2)
    with pytest.raises(ProviderError):
        await spoken(inner, replace(REQUEST, pitch=2.0))


async def test_what_is_no_sound_is_left_to_whoever_judges_it() -> None:
    inner = provider(UNABLE)
    inner.audio = np.full(4000, np.nan, np.float32)
    chunks = await spoken(inner, replace(REQUEST, pitch=2.0))
    assert all(np.isnan(chunk.samples).all() for chunk in chunks)
