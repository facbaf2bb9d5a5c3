from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.providers import tone
from fakes.voices import roughness, vowel
from voice_gateway.domain.mastering import (
    CEILING_DB,
    TARGET_LUFS,
    Limiter,
    SentenceEdges,
    gain_for,
    loudness,
)
from voice_gateway.domain.samples.loudness import integrated_loudness, true_peak

RATE = 24_000


def through(stage: Limiter | SentenceEdges, audio: np.ndarray, piece: int) -> np.ndarray:
    out = [stage.push(audio[i : i + piece]) for i in range(0, audio.size, piece)]
    return np.concatenate([*out, stage.finish()])


@pytest.mark.parametrize("level", [0.1, 0.3, 1.0])
def test_every_voice_comes_out_at_the_target(level: float) -> None:
    voice = vowel(3, RATE) * np.float32(level)
    out = voice * np.float32(gain_for(loudness(voice, RATE)))
    assert integrated_loudness(out, RATE) == pytest.approx(TARGET_LUFS, abs=0.1)


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.39])
def test_a_word_too_short_for_the_standard_is_measured_too(seconds: float) -> None:
    assert loudness(vowel(3, RATE, vibrato=0)[: round(seconds * RATE)], RATE) == pytest.approx(
        integrated_loudness(vowel(3, RATE, vibrato=0), RATE), abs=1.5
    )


def test_silence_has_no_loudness_and_is_left_alone() -> None:
    assert loudness(np.zeros(RATE, np.float32), RATE) is None
    assert loudness(np.zeros(0, np.float32), RATE) is None
    assert gain_for(None) == 1


def test_what_is_hardly_there_is_not_blown_up() -> None:
    assert gain_for(-90) == pytest.approx(10)
    assert gain_for(20) == pytest.approx(0.1)


@pytest.mark.parametrize("piece", [1, 97, 5000, 100_000])
def test_what_is_quiet_enough_passes_unchanged(piece: int) -> None:
    audio = tone(0.3, rate=RATE)
    assert np.array_equal(through(Limiter(RATE), audio, piece), audio)


@pytest.mark.parametrize("rate", [8000, 24_000, 48_000])
@pytest.mark.parametrize("kind", ["loud", "burst", "between", "noise", "clicks"])
def test_nothing_comes_out_above_the_ceiling(kind: str, rate: int) -> None:
    time = np.arange(rate)
    random = np.random.default_rng(5)
    audio = {
        "loud": vowel(1, rate) * 8,
        "burst": np.where((time > rate // 2) & (time < rate // 2 + 40), 3.0, 0.1),
        # A quarter of the rate, at the phase where the samples miss the peaks by 3 dB.
        "between": 1.2 * np.sin(np.pi / 2 * time + np.pi / 4),
        "noise": random.normal(0, 0.6, rate),
        "clicks": (random.random(rate) > 0.999) * 4.0,
    }[kind].astype(np.float32)
    out = through(Limiter(rate), audio, 700)
    assert out.size == audio.size
    # What no voice has, energy up to half the rate, has peaks that sixteen taps see only nearly.
    assert true_peak(out) <= CEILING_DB + (1.5 if kind == "noise" else 0.2)
    assert np.abs(out).max() <= 10 ** (CEILING_DB / 20) + 1e-6


@settings(deadline=None)
@given(st.integers(20, 3000), st.integers(0, 2**32 - 1))
def test_the_pieces_do_not_change_what_is_limited(piece: int, seed: int) -> None:
    audio = np.random.default_rng(seed).normal(0, 0.5, 6000).astype(np.float32)
    whole = through(Limiter(RATE), audio, audio.size)
    assert np.allclose(through(Limiter(RATE), audio, piece), whole, atol=1e-5)


def test_limiting_adds_no_click() -> None:
    voice = vowel(1, RATE) * np.float32(4)
    assert roughness(through(Limiter(RATE), voice, 480)) < roughness(voice)


@pytest.mark.parametrize("piece", [1, 60, 10_000])
@pytest.mark.parametrize("size", [0, 1, 50, 150, 5000])
def test_sentences_begin_and_end_in_silence(piece: int, size: int) -> None:
    audio = np.full(size, 0.5, np.float32)
    out = through(SentenceEdges(RATE), audio, piece)
    assert out.size == size
    if size:
        assert max(abs(out[0]), abs(out[-1])) < 0.01
        joined = np.concatenate((out, out))
        assert np.abs(np.diff(joined)).max() < 0.02
    if size == 5000:
        assert np.array_equal(out[200:-200], audio[200:-200])
