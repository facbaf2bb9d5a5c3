from __future__ import annotations

import numpy as np
import pytest

from fakes.recordings import low_passed, voice
from voice_gateway.domain.samples.loudness import integrated_loudness
from voice_gateway.domain.samples.signal import (
    SILENT_DB,
    clipped_share,
    dc_offset,
    decibels,
    mono,
    thinned,
)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("gain", [1.0, 0.4])
def test_clipping_is_measured_even_after_it_was_made_quieter(share: float, gain: float) -> None:
    speech = voice(4)
    limit = np.quantile(np.abs(speech), 1 - share)
    cut = np.clip(speech, -limit, limit) * np.float32(gain * 0.99 / limit)
    cut = np.rint(cut * 32767).astype(np.float32) / 32768
    assert clipped_share(cut[None]) == pytest.approx(share, rel=0.1)


def test_the_worst_channel_counts() -> None:
    speech = voice(4)
    limit = np.quantile(np.abs(speech), 0.99)
    both = np.stack((speech, np.clip(speech, -limit, limit)))
    assert clipped_share(both) == pytest.approx(0.01, rel=0.1)


def test_speech_that_is_whole_has_no_flat_tops() -> None:
    for seed in range(5):
        speech = np.rint(voice(4, seed=seed) * 32767).astype(np.float32) / 32768
        assert clipped_share(speech[None]) == 0


def test_silence_is_not_clipped() -> None:
    assert clipped_share(np.zeros((2, 1000), np.float32)) == 0


def test_dc_offset_is_that_of_the_worst_channel() -> None:
    silence = np.zeros(1000, np.float32)
    assert dc_offset(np.stack((silence, silence - 0.03))) == pytest.approx(0.03)


def test_mono_is_the_mean() -> None:
    left = voice(2)
    assert mono(np.stack((left, left))) == pytest.approx(left)


@pytest.mark.parametrize("right", [-1.0, 0.0])
def test_channels_that_cancel_or_say_nothing_do_not_take_the_voice_away(right: float) -> None:
    left = voice(2)
    mixed = mono(np.stack((left, left * np.float32(right))))
    assert np.sqrt(np.mean(mixed**2)) == pytest.approx(np.sqrt(np.mean(left**2)))


def test_nothing_is_quieter_than_silence() -> None:
    assert decibels(0) == SILENT_DB
    assert decibels(1) == 0


@pytest.mark.parametrize("rate", [88_200, 133_333, 192_000])
def test_high_rates_are_thinned_and_as_loud(rate: int) -> None:
    audio = low_passed(voice(4, rate), 12_000, rate)
    thin, thin_rate = thinned(audio, rate)
    assert 44_100 <= thin_rate < 88_200
    assert thin.size / thin_rate == pytest.approx(audio.size / rate, abs=0.001)
    loudness = integrated_loudness(audio, rate)
    assert integrated_loudness(thin, thin_rate) == pytest.approx(loudness, abs=0.1)


@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_other_rates_stay_as_they_are(rate: int) -> None:
    audio = voice(4, rate)
    assert thinned(audio, rate) == (audio, rate)
