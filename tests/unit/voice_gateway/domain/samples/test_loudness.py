"""Against the figures of ITU-R BS.1770-4 and the test signals of EBU Tech 3341.

Those signals are stereo; in one channel the same tone reads 3.01 dB lower.
"""

from __future__ import annotations

import numpy as np
import pytest

from fakes.recordings import low_passed, voice
from voice_gateway.domain.samples.loudness import integrated_loudness, k_response, true_peak
from voice_gateway.domain.samples.signal import SILENT_DB

ONE_CHANNEL = -3.01


def tone(seconds: float, dbfs: float, rate: int, hertz: float = 1000.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (10 ** (dbfs / 20) * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


@pytest.mark.parametrize("rate", [22_050, 24_000, 44_100, 48_000, 96_000])
def test_the_standards_own_figure(rate: int) -> None:
    # BS.1770-4: a 0 dB FS sine at 997 Hz in one channel reads −3.01 LKFS.
    assert integrated_loudness(tone(5, 0, rate, 997), rate) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize("dbfs", [-23.0, -33.0])
def test_ebu_3341_cases_1_and_2(dbfs: float) -> None:
    measured = integrated_loudness(tone(20, dbfs, 48_000), 48_000)
    assert measured == pytest.approx(dbfs + ONE_CHANNEL, abs=0.1)


@pytest.mark.parametrize(
    "parts",
    [
        [(10, -36), (60, -23), (10, -36)],
        [(10, -72), (10, -36), (60, -23), (10, -36), (10, -72)],
        [(20, -26), (20.1, -20), (20, -26)],
    ],
    ids=["case 3: relative gate", "case 4: absolute gate", "case 5"],
)
def test_ebu_3341_gating(parts: list[tuple[float, float]]) -> None:
    audio = np.concatenate([tone(seconds, dbfs, 48_000) for seconds, dbfs in parts])
    assert integrated_loudness(audio, 48_000) == pytest.approx(-23 + ONE_CHANNEL, abs=0.1)


def test_the_weighting_is_that_of_the_tables() -> None:
    # Published response of the two filters: flat at 997 Hz once −0.691 dB is counted, +4 dB on top.
    decibel = 20 * np.log10(np.abs(k_response(np.array([38.0, 997.0, 10_000.0]), 48_000)))
    assert decibel == pytest.approx([-6.0, 0.691, 4.0], abs=0.1)


def test_every_rate_hears_the_same() -> None:
    speech = low_passed(voice(6, 96_000), 10_000, 96_000)
    half = np.fft.irfft(np.fft.rfft(speech)[: speech.size // 4 + 1], speech.size // 2) / 2
    low = integrated_loudness(half.astype(np.float32), 48_000)
    assert low == pytest.approx(integrated_loudness(speech, 96_000), abs=0.1)


def test_blocks_leave_no_seams() -> None:
    # An impulse every 10 s: wherever a block's edge falls, the energy must be the same.
    audio = np.zeros(48_000 * 40, np.float32)
    audio[24_000::480_000] = 1
    whole = integrated_loudness(audio, 48_000)
    shifted = integrated_loudness(np.roll(audio, 4_800 * 37), 48_000)
    assert shifted == pytest.approx(whole, abs=1e-3)


@pytest.mark.parametrize("size", [0, 100, 19_199])
def test_less_than_a_block_has_no_loudness(size: int) -> None:
    assert integrated_loudness(np.ones(size, np.float32), 48_000) == SILENT_DB


def test_silence_has_no_loudness() -> None:
    assert integrated_loudness(np.zeros(96_000, np.float32), 48_000) == SILENT_DB


def test_the_true_peak_lies_between_the_samples() -> None:
    # A quarter of the rate at 45°: every sample is at −3.01 dB, the wave itself at 0.
    audio = np.sin(np.pi / 2 * np.arange(100_000) + np.pi / 4).astype(np.float32)
    fade = np.hanning(2000)[:1000]
    audio[:1000] *= fade
    audio[-1000:] *= fade[::-1]
    assert 20 * np.log10(np.abs(audio).max()) == pytest.approx(-3.01, abs=0.01)
    assert true_peak(audio) == pytest.approx(0, abs=0.05)


def test_nothing_has_no_peak() -> None:
    assert true_peak(np.zeros(0, np.float32)) == SILENT_DB
