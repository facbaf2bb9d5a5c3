from collections.abc import Callable
from types import ModuleType

import numpy as np

RATE, HOP = 22050, 128
Script = Callable[[str], ModuleType]


def test_warping_finds_a_stretched_copy(script: Script) -> None:
    original = np.random.default_rng(0).normal(size=(40, 13))
    i, j = script("measures").warp(np.repeat(original, 2, axis=0), original)
    np.testing.assert_array_equal(j, i // 2)


def test_cepstrum_ignores_loudness(script: Script) -> None:
    measures = script("measures")
    audio = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    loud, soft = (measures.mel_cepstrum(measures.log_mel(g * audio, HOP)) for g in (1.0, 0.5))
    assert np.abs(loud - soft).max() < 0.01


def test_clicks_are_counted_and_pulses_are_not(script: Script) -> None:
    measures = script("measures")
    tone = (0.2 * np.sin(2 * np.pi * 110 * np.arange(RATE) / RATE)).astype(np.float32)
    pulses = tone.copy()
    pulses[::200] += 0.5
    clicked = tone.copy()
    clicked[[5000, 15000]] += 0.5
    assert measures.clicks(tone) == 0
    assert measures.clicks(pulses) == 0
    assert measures.clicks(clicked) == 2


def test_harmonicity_falls_with_noise(script: Script) -> None:
    tone = np.sin(2 * np.pi * 105 * np.arange(RATE) / RATE)
    noise = np.random.default_rng(0).normal(size=RATE)
    pitch = np.full(RATE // HOP, 105, np.float32)
    clean, hoarse = (
        script("measures").harmonicity((tone + g * noise).astype(np.float32), pitch, HOP)
        for g in (0.01, 0.5)
    )
    assert clean > 25
    assert -2 < hoarse < 6
