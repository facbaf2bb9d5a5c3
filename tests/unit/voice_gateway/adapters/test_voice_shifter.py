from __future__ import annotations

import numpy as np
import pytest

from fakes.voices import pitch_of, timbre, vowel
from voice_gateway.adapters.voice_shifter import StretchShifter
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.providers.espeak import EspeakProvider

RATE = 22_050
VOICE = vowel(1.5, RATE, vibrato=0.002)


@pytest.mark.parametrize("speed", [0.25, 0.7, 0.9, 1.1, 1.5, 2.0, 4.0])
def test_speed_changes_the_length_and_keeps_the_pitch(speed: float) -> None:
    changed = StretchShifter().shift(VOICE, RATE, speed=speed, pitch=0)
    assert changed.size == round(VOICE.size / speed)
    assert pitch_of(changed, RATE) == pytest.approx(pitch_of(VOICE, RATE), rel=0.02)


@pytest.mark.parametrize("semitones", [-5, -2, 1, 4, 7, 12])
def test_pitch_moves_by_semitones_and_keeps_the_length(semitones: float) -> None:
    changed = StretchShifter().shift(VOICE, RATE, speed=1, pitch=semitones)
    assert changed.size == VOICE.size
    moved = 12 * np.log2(pitch_of(changed, RATE) / pitch_of(VOICE, RATE))
    assert moved == pytest.approx(semitones, abs=0.3)


@pytest.mark.parametrize("semitones", [-4, -2, 2, 4])
async def test_the_speaker_stays_the_same(semitones: float) -> None:
    request = SpeechRequest(
        sentences=("Welcome in. Have a look around, and tell me what the evening is for.",),
        language="en",
        chain=("espeak",),
    )
    [chunk] = [chunk async for chunk in EspeakProvider().synthesize(request)]
    changed = StretchShifter().shift(chunk.samples, chunk.sample_rate, speed=1, pitch=semitones)
    before, after = (timbre(audio, chunk.sample_rate) for audio in (chunk.samples, changed))
    # Formants that move with the pitch are some 4 dB off at each of these.
    assert np.sqrt(np.mean((after - before) ** 2)) < 2.0


def test_both_at_once() -> None:
    changed = StretchShifter().shift(VOICE, RATE, speed=1.25, pitch=3)
    assert changed.size == round(VOICE.size / 1.25)
    assert 12 * np.log2(pitch_of(changed, RATE) / pitch_of(VOICE, RATE)) == pytest.approx(
        3, abs=0.3
    )


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
def test_any_rate(rate: int) -> None:
    voice = vowel(0.8, rate)
    changed = StretchShifter().shift(voice, rate, speed=0.8, pitch=-2)
    assert changed.size == round(voice.size / 0.8)
    moved = 12 * np.log2(pitch_of(changed, rate) / pitch_of(voice, rate))
    assert moved == pytest.approx(-2, abs=0.35)


def test_the_same_audio_gives_the_same_samples() -> None:
    first, second = (StretchShifter().shift(VOICE, RATE, speed=1.3, pitch=2) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("size", [0, 1, 7, 500])
def test_pieces_shorter_than_the_librarys_block(size: int) -> None:
    changed = StretchShifter().shift(VOICE[:size], RATE, speed=2, pitch=1)
    assert changed.size == int(size / 2 + 0.5)
    assert np.isfinite(changed).all()


def test_silence_stays_silent() -> None:
    changed = StretchShifter().shift(np.zeros(RATE, np.float32), RATE, speed=0.5, pitch=5)
    assert np.abs(changed).max() < 1e-6
