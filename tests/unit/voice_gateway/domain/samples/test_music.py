from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fakes.recordings import LEVEL, RATE, voice, white
from voice_gateway.domain.samples.activity import find_activity
from voice_gateway.domain.samples.music import changing_tones, low_energy_share

if TYPE_CHECKING:
    from numpy.typing import NDArray


def test_what_never_rests_has_no_quiet_frames() -> None:
    noise = find_activity(white(5, LEVEL), RATE)
    assert low_energy_share(noise) < 0.2
    assert low_energy_share(find_activity(voice(5), RATE)) > 0.2
    assert low_energy_share(find_activity(white(0.2, LEVEL), RATE)) == 1


def notes(seconds: float, rate: int, *, beat: float) -> NDArray[np.float32]:
    """A note after the other, of mean square 1, each with two harmonics."""
    random, size = np.random.default_rng(4), round(beat * rate)
    time = np.arange(size) / rate
    heard = [
        sum(np.sin(2 * np.pi * hertz * k * time) / k for k in (1, 2, 3))
        for hertz in random.choice([330, 392, 440, 523, 587, 659], round(seconds / beat) + 1)
    ]
    made = np.concatenate(heard)[: round(seconds * rate)]
    return (made / np.sqrt(np.mean(made**2))).astype(np.float32)


def measured(background: NDArray[np.float32], rate: int = RATE) -> float:
    audio = voice(12, rate) + background
    return changing_tones(audio, rate, find_activity(audio, rate))


@pytest.mark.parametrize("rate", [24_000, 44_100, 192_000])
@pytest.mark.parametrize("below", [15, 25])
def test_music_is_heard_in_the_pauses(below: float, rate: int) -> None:
    level = np.float32(LEVEL * 10 ** (-below / 20))
    assert measured(notes(12, rate, beat=0.6) * level, rate) > 0.1


def test_a_fan_that_whines_is_no_music() -> None:
    whine = notes(12, RATE, beat=13) * np.float32(LEVEL / 10)
    assert measured(whine) < 0.05
    assert measured(whine + white(12, LEVEL / 30)) < 0.05


@pytest.mark.parametrize("level", [0, 1e-5, LEVEL / 30, LEVEL / 3])
def test_noise_is_no_music(level: float) -> None:
    assert measured(white(12, level)) < 0.05


def test_without_pauses_nobody_can_tell() -> None:
    music = notes(5, RATE, beat=0.6) * np.float32(LEVEL)
    assert changing_tones(music, RATE, find_activity(music, RATE)) == 0
    nothing = np.zeros(0, np.float32)
    assert changing_tones(nothing, RATE, find_activity(nothing, RATE)) == 0
