from __future__ import annotations

import numpy as np
import pytest

from fakes.recordings import LEVEL, RATE, voice, white
from voice_gateway.domain.samples.activity import find_activity
from voice_gateway.domain.samples.company import median_pitch, pitch_groups, pitches


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("hertz", [90.0, 130.0, 210.0, 300.0])
def test_the_pitch_is_found(hertz: float, rate: int) -> None:
    audio = voice(5, rate, hertz=hertz)
    found = pitches(audio, rate, find_activity(audio, rate))
    assert np.median(found[found > 0]) == pytest.approx(hertz, rel=0.06)


def test_noise_has_no_pitch() -> None:
    audio = voice(5) * np.float32(0.001) + white(5, LEVEL)
    found = pitches(audio, RATE, find_activity(audio, RATE))
    assert np.count_nonzero(found) < 0.05 * found.size


def test_two_voices_far_apart_are_two_groups() -> None:
    turns = np.concatenate([voice(5, hertz=hertz) for hertz in (110.0, 200.0, 110.0, 200.0)])
    activity = find_activity(turns, RATE)
    apart = pitch_groups(pitches(turns, RATE, activity), activity)
    assert apart == pytest.approx(12 * np.log2(200 / 110), abs=1)


def test_one_voice_is_one_group() -> None:
    audio = voice(20)
    activity = find_activity(audio, RATE)
    assert pitch_groups(pitches(audio, RATE, activity), activity) == 0


def test_the_median_pitch_is_that_of_the_voiced_frames() -> None:
    assert median_pitch(np.array([0, 100, 0, 120, 110.0])) == 110
    assert median_pitch(np.zeros(4)) is None
