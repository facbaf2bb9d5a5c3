from __future__ import annotations

import numpy as np
import pytest

from fakes.recordings import LEVEL, PAUSE, PHRASE, RATE, voice, white
from voice_gateway.domain.samples.activity import HOP, find_activity, runs


@pytest.mark.parametrize("rate", [22_050, 48_000])
@pytest.mark.parametrize("snr", [40, 30, 20, 10])
def test_snr_is_what_it_is(snr: float, rate: int) -> None:
    audio = voice(12, rate) + white(12, LEVEL * 10 ** (-snr / 20), rate)
    assert find_activity(audio, rate).snr == pytest.approx(snr, abs=1.5)


@pytest.mark.parametrize("pause", [0.15, 0.2, 0.25])
@pytest.mark.parametrize("snr", [40, 30, 20, 10])
def test_snr_of_whoever_hardly_pauses(snr: float, pause: float) -> None:
    """Phrases end softly, far below the voice and far above the noise."""
    phrase = voice(PAUSE + PHRASE)[round(PAUSE * RATE) :].copy()
    fade = round(0.1 * RATE)
    phrase[-fade:] *= np.logspace(0, -1.5, fade, dtype=np.float32)
    spoken = np.concatenate((np.zeros(round(pause * RATE), np.float32), phrase))
    audio = np.tile(spoken, 8)
    power = LEVEL**2 * 10 ** (-snr / 10)
    audio += white(audio.size / RATE, float(np.sqrt(power)))
    assert find_activity(audio, RATE).snr == pytest.approx(snr, abs=1)


def test_a_click_in_a_pause_is_no_noise() -> None:
    audio = voice(12) + white(12, 0.0005)
    click = white(0.02, 0.02)
    for phrase in range(7):
        at = round((phrase * (PHRASE + PAUSE) + PAUSE / 2) * RATE)
        audio[at : at + click.size] += click
    assert find_activity(audio, RATE).noise_floor == pytest.approx(-66, abs=1)


def test_the_noise_floor_is_what_it_is() -> None:
    activity = find_activity(voice(12) + white(12, 0.001), RATE)
    assert activity.noise_floor == pytest.approx(-60, abs=0.5)


def test_phrases_are_found_where_they_are() -> None:
    starts = [start * HOP for start, _ in find_activity(voice(10), RATE).segments()]
    expected = [PAUSE + i * (PHRASE + PAUSE) for i in range(len(starts))]
    assert starts == pytest.approx(expected, abs=0.03)
    assert len(starts) == 6


def test_silence_share_counts_the_pauses() -> None:
    audio = voice(17 * (PHRASE + PAUSE))
    share = find_activity(audio, RATE).silence_share
    assert share == pytest.approx(PAUSE / (PHRASE + PAUSE), abs=0.03)


def test_a_dc_offset_is_no_noise() -> None:
    assert find_activity(voice(8) + np.float32(0.05), RATE).snr > 60


def test_usable_is_from_the_first_word_to_the_last() -> None:
    quiet = np.zeros(5 * RATE, np.float32)
    audio = np.concatenate((quiet, voice(2 * (PHRASE + PAUSE)), quiet))
    assert find_activity(audio, RATE).usable_seconds == pytest.approx(2 * PHRASE + PAUSE, abs=0.05)


@pytest.mark.parametrize("size", [0, 1, 479, 480, 5000])
def test_silence_and_next_to_nothing_are_silence(size: int) -> None:
    activity = find_activity(np.zeros(size, np.float32), RATE)
    assert activity.speech_seconds == 0
    assert activity.silence_share == 1
    assert activity.snr == 0
    assert activity.usable_seconds == 0


def test_runs() -> None:
    assert runs(np.array([True, False, True, True])) == [(0, 1), (2, 4)]
    assert runs(np.zeros(0, np.bool_)) == []
