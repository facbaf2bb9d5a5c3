from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

RATE, HOP = 22050, 128
Script = Callable[[str], ModuleType]


def buzz(pitch: np.ndarray) -> np.ndarray:
    """Sum ten harmonics of a pitch given for every sample."""
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    return (0.05 * sum(np.sin(h * phase) / h for h in range(1, 11))).astype(np.float32)


@pytest.mark.parametrize(("low", "high"), [(80, 80), (85, 110), (150, 150), (230, 170)])
def test_follows_a_glide_within_one_percent(script: Script, low: float, high: float) -> None:
    truth = np.linspace(low, high, 100 * HOP)
    limits = (50.0, 190.0) if max(low, high) < 130 else (95.0, 330.0)
    pitch, voiced = script("pitch").track(
        buzz(truth), frames=100, hop=HOP, rate=RATE, lowest=limits[0], highest=limits[1]
    )
    inner = slice(8, -8)
    assert voiced[inner].all()
    np.testing.assert_allclose(pitch[inner], truth[HOP // 2 :: HOP][inner], rtol=0.01)


def test_noise_and_silence_have_no_pitch_and_carry_the_neighbours(script: Script) -> None:
    hiss = np.random.default_rng(0).normal(0, 0.05, 60 * HOP)
    voice = buzz(np.full(60 * HOP, 100.0))
    audio = np.concatenate([voice, hiss, np.zeros(60 * HOP), voice]).astype(np.float32)
    pitch, voiced = script("pitch").track(
        audio, frames=240, hop=HOP, rate=RATE, lowest=50.0, highest=190.0
    )
    assert voiced[70:110].mean() < 0.1
    assert not voiced[130:170].any()
    np.testing.assert_allclose(pitch[130:170], 100, rtol=0.15)


def test_silence_alone_gives_finite_numbers(script: Script) -> None:
    pitch, voiced = script("pitch").track(
        np.zeros(20 * HOP, np.float32), frames=20, hop=HOP, rate=RATE, lowest=50.0, highest=190.0
    )
    assert np.isfinite(pitch).all()
    assert not voiced.any()
