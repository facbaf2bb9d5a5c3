from __future__ import annotations

import numpy as np
import pytest

from fakes.recordings import RATE, voice, white
from voice_gateway.domain.samples.activity import find_activity
from voice_gateway.domain.samples.reverberation import reverberation_time


def in_room(rt60: float, seconds: float = 14) -> np.ndarray:
    dry = voice(seconds)
    size = round(rt60 * RATE)
    room = white(rt60, 1.0, seed=3)[:size] * 10 ** (-3 * np.arange(size) / size)
    room[0] += np.sqrt(np.sum(room**2))
    full = dry.size + size
    wet = np.fft.irfft(np.fft.rfft(dry, full) * np.fft.rfft(room, full), full)[: dry.size]
    return (wet * 0.3 / np.abs(wet).max()).astype(np.float32)


@pytest.mark.parametrize("rt60", [0.4, 0.6, 0.8])
def test_the_room_is_estimated(rt60: float) -> None:
    assert reverberation_time(find_activity(in_room(rt60), RATE)) == pytest.approx(rt60, rel=0.25)


def test_what_ends_at_once_is_dry() -> None:
    assert (reverberation_time(find_activity(voice(14), RATE)) or 0) < 0.3


def test_noise_hides_the_room() -> None:
    assert reverberation_time(find_activity(in_room(0.7) + white(14, 0.02), RATE)) is None


def test_a_moment_tells_nothing() -> None:
    assert reverberation_time(find_activity(voice(0.05), RATE)) is None
