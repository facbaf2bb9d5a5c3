from __future__ import annotations

import numpy as np
import pytest

from fakes.recordings import LEVEL, RATE, low_passed, voice, white
from voice_gateway.domain.samples.activity import find_activity
from voice_gateway.domain.samples.spectrum import effective_bandwidth, hum_level


def bandwidth(audio: np.ndarray, rate: int = RATE) -> float:
    return effective_bandwidth(audio, rate, find_activity(audio, rate))


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
@pytest.mark.parametrize("cutoff", [3400, 4000, 8000])
def test_where_it_was_cut_off_is_found(cutoff: float, rate: int) -> None:
    audio = low_passed(voice(8, rate), cutoff, rate)
    assert bandwidth(audio, rate) == pytest.approx(cutoff, abs=300)


def test_noise_that_came_later_does_not_hide_it() -> None:
    call = low_passed(voice(8), 4000) + white(8, LEVEL * 10 ** (-25 / 20))
    assert bandwidth(call) == pytest.approx(4000, abs=400)


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
@pytest.mark.parametrize("hertz", [100.0, 180.0])
@pytest.mark.parametrize("drawn", ["lines", "steps"])
def test_a_call_is_found_below_the_images_of_itself(rate: int, hertz: float, drawn: str) -> None:
    call = voice(8, 8000, hertz=hertz)
    at = np.arange(8 * rate) * 8000 / rate
    wide = np.interp(at, np.arange(call.size), call) if drawn == "lines" else call[at.astype(int)]
    audio = wide.astype(np.float32) + white(8, 1e-4, rate)
    assert bandwidth(audio, rate) == 4000


def test_a_wide_voice_is_wide() -> None:
    assert bandwidth(voice(8)) > 20_000


def test_silence_has_no_bandwidth() -> None:
    assert bandwidth(np.zeros(RATE, np.float32)) == 0


@pytest.mark.parametrize("mains", [50.0, 60.0])
@pytest.mark.parametrize("dbfs", [-40.0, -60.0])
def test_the_mains_is_heard_and_measured(mains: float, dbfs: float) -> None:
    time = np.arange(10 * RATE) / RATE
    hum = 10 ** (dbfs / 20) * np.sqrt(2) * np.sin(2 * np.pi * mains * time)
    hertz, level = hum_level(voice(10, hertz=87.0) + hum.astype(np.float32), RATE)
    assert hertz == mains
    assert level == pytest.approx(dbfs, abs=4)


@pytest.mark.parametrize("hertz", [100.0, 118.0, 180.0, 240.0])
def test_a_voice_does_not_hum(hertz: float) -> None:
    assert hum_level(voice(10, hertz=hertz) + white(10, 0.001), RATE)[0] == 0


def test_less_than_a_second_is_too_short_to_tell() -> None:
    assert hum_level(np.ones(1000, np.float32), RATE)[0] == 0
