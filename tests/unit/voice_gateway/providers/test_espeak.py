from __future__ import annotations

import asyncio
from contextlib import aclosing

import numpy as np
import pytest

from voice_gateway.domain.audio import is_audible, is_sound
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.providers.espeak import EspeakProvider

PROVIDER = EspeakProvider()


async def spoken(language: str = "en", **more: object) -> list[np.ndarray]:
    values = {"sentences": ("Good evening.",), "language": language, "chain": ("espeak",), **more}
    request = SpeechRequest(**values)  # type: ignore[arg-type]
    return [chunk.samples async for chunk in PROVIDER.synthesize(request)]


@pytest.mark.parametrize(
    "language", ["en", "en-gb", "fr", "fr-ca", "de-DE", "zh-cn", "pt-br", "ja", "ar", "hi", "no"]
)
async def test_speaks_the_language_whatever_the_region(language: str) -> None:
    assert PROVIDER.capabilities.speaks(language)
    (audio,) = await spoken(language)
    assert is_sound(audio)
    assert is_audible(audio)


@pytest.mark.parametrize(
    ("language", "voice"),
    [("en", "en-US"), ("en-GB", "en"), ("fr", "fr"), ("fr-CA", "fr"), ("fr-be", "fr-BE")],
)
async def test_takes_the_region_s_voice_else_the_language_s_usual_one(
    language: str, voice: str
) -> None:
    request = SpeechRequest(sentences=("Oui.",), language=language, chain=("espeak",))
    (chunk,) = [chunk async for chunk in PROVIDER.synthesize(request)]
    assert chunk.voice == voice


async def test_every_sentence_is_a_chunk_of_its_own() -> None:
    request = SpeechRequest(sentences=("One.", "Two."), language="en", chain=("espeak",))
    chunks = [chunk async for chunk in PROVIDER.synthesize(request)]
    assert [(c.sentence, c.last, c.provider) for c in chunks] == [
        (0, True, "espeak"),
        (1, True, "espeak"),
    ]


async def test_speed_and_pitch_have_their_effect() -> None:
    (usual,), (fast,) = await spoken(), await spoken(speed=1.5)
    assert usual.size / fast.size == pytest.approx(1.5, rel=0.15)
    vowel = ("aaaaaaaaaaaaaaaaaah",)
    (low,), (high,) = await spoken(sentences=vowel), await spoken(sentences=vowel, pitch=6.0)
    assert _pitch(high) / _pitch(low) == pytest.approx(2**0.5, rel=0.1)


def _pitch(vowel: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(vowel[4000:12_000], 1 << 15)) ** 2
    correlation = np.fft.irfft(spectrum)
    return 22_050 / (60 + int(correlation[60:400].argmax()))


async def test_markup_is_read_out_and_not_obeyed() -> None:
    (plain,), (marked,) = (
        await spoken(sentences=("Hello.",)),
        await spoken(sentences=('<break time="9s"/>Hello.',)),
    )
    assert marked.size > plain.size
    assert marked.size < plain.size + 6 * 22_050


@pytest.mark.parametrize(
    "voice", ["nobody", "en-us+nobody", "en-us+" + "x" * 100, "!v/m3", "../lang/gmw/en", "en-us+"]
)
async def test_a_voice_that_is_not_there_does_not_take_the_floor_away(voice: str) -> None:
    request = SpeechRequest(
        sentences=("Hi.",), language="en", chain=("espeak",), voices={"espeak": voice}
    )
    (chunk,) = [chunk async for chunk in PROVIDER.synthesize(request)]
    assert chunk.voice == "en-US"
    assert is_audible(chunk.samples)
    assert request.journal.not_applied == {"voice"}


@pytest.mark.parametrize(
    ("pinned", "voice"), [("en-us+f2", "en-US+f2"), ("en-US+m3", "en-US+m3"), ("gmw/en", None)]
)
async def test_a_pinned_voice_is_taken_if_it_is_listed(pinned: str, voice: str | None) -> None:
    request = SpeechRequest(
        sentences=("Hi.",), language="en", chain=("espeak",), voices={"espeak": pinned}
    )
    (chunk,) = [chunk async for chunk in PROVIDER.synthesize(request)]
    assert chunk.voice == (voice or "en-US")


async def test_a_speed_beyond_its_range_is_owned_up_to() -> None:
    request = SpeechRequest(sentences=("Hi.",), language="en", chain=("espeak",), speed=0.25)
    (chunk,) = [chunk async for chunk in PROVIDER.synthesize(request)]
    assert chunk.speed == pytest.approx(80 / 165)


async def test_callers_at_once_do_not_mix() -> None:
    texts = ("Short.", "A sentence that is a good deal longer than the other one.")
    alone = [(await spoken(sentences=(text,)))[0].size for text in texts]
    together = await asyncio.gather(*(spoken(sentences=(texts[i % 2],)) for i in range(20)))
    for index, (audio,) in enumerate(together):
        assert audio.size == pytest.approx(alone[index % 2], rel=0.02)


async def test_hanging_up_ends_it() -> None:
    request = SpeechRequest(sentences=("One.",) * 100, language="en", chain=("espeak",))
    async with aclosing(PROVIDER.synthesize(request)) as chunks:
        await anext(chunks)
    (audio,) = await spoken()
    assert is_audible(audio)
