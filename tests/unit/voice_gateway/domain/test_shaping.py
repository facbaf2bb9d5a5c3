from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from fakes.voices import pitch_of, roughness, vowel
from voice_gateway.adapters.voice_shifter import StretchShifter
from voice_gateway.domain.shaping import (
    FIRST_WINDOW_SECONDS,
    SURROUNDINGS_SECONDS,
    SentenceShaper,
)

RATE = 22_050
VOICE = vowel(5, RATE)


def shaped(audio: np.ndarray, piece: int, *, speed: float, pitch: float) -> list[np.ndarray]:
    change = partial(StretchShifter().shift, sample_rate=RATE, speed=speed, pitch=pitch)
    shaper = SentenceShaper(change, RATE, speed=speed)
    out = [shaper.push(audio[i : i + piece]) for i in range(0, audio.size, piece)]
    return [*out, shaper.finish()]


@pytest.mark.parametrize(("speed", "pitch"), [(1, 3), (1.5, 0), (0.7, 0), (1.2, -2)])
def test_splices_cannot_be_heard(speed: float, pitch: float) -> None:
    whole = StretchShifter().shift(VOICE, RATE, speed=speed, pitch=pitch)
    pieces = np.concatenate(shaped(VOICE, 1000, speed=speed, pitch=pitch))
    assert pieces.size == pytest.approx(whole.size, rel=0.01)
    assert pitch_of(pieces, RATE) == pytest.approx(pitch_of(whole, RATE), rel=0.01)
    assert roughness(pieces) < 1.3 * roughness(whole)
    # No splice is a hole or a bump in the level.
    block = RATE // 50
    level = np.square(pieces[: pieces.size // block * block]).reshape(-1, block).mean(1)[5:-5]
    reference = np.square(whole[: whole.size // block * block]).reshape(-1, block).mean(1)[5:-5]
    assert level.min() > 0.5 * reference.min()
    assert level.max() < 2 * reference.max()


def test_the_first_audio_waits_for_the_first_window_alone() -> None:
    first = next(
        index for index, out in enumerate(shaped(VOICE, 441, speed=1, pitch=2)) if out.size
    )
    assert (first + 1) * 441 / RATE <= FIRST_WINDOW_SECONDS + SURROUNDINGS_SECONDS + 0.02


@pytest.mark.parametrize("piece", [500, 5000, 50_000, 200_000])
def test_the_pieces_do_not_change_the_outcome(piece: int) -> None:
    expected = np.concatenate(shaped(VOICE, 1000, speed=1.25, pitch=0))
    assert np.array_equal(np.concatenate(shaped(VOICE, piece, speed=1.25, pitch=0)), expected)


@pytest.mark.parametrize("size", [0, 1, 100, 5000, 10_000, 12_000])
def test_short_sentences(size: int) -> None:
    out = np.concatenate(shaped(VOICE[:size], 300, speed=0.5, pitch=0))
    assert out.size == pytest.approx(2 * size, abs=RATE * 0.02)
    assert np.isfinite(out).all()
