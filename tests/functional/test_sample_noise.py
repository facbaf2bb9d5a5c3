"""The noise behind a voice that hardly pauses: the one in the repository, reading on."""

import numpy as np
import pytest
import sample_material as material
from numpy.typing import NDArray

from voice_gateway.domain.samples.activity import find_activity
from voice_gateway.domain.samples.spectrum import effective_bandwidth

RATE = 48_000


@pytest.fixture(scope="module", params=material.PIPER_SPEAKERS)
def reading(request: pytest.FixtureRequest) -> NDArray[np.float64]:
    return material.reading(request.param, 12, RATE, np.random.default_rng(5))


def test_what_is_added_is_all_the_noise(reading: NDArray[np.float64]) -> None:
    activity = find_activity(reading.astype(np.float32), RATE)
    assert np.percentile(activity.level, 1) < -80
    assert activity.snr > 55
    assert activity.quiet.sum() < 100  # and it hardly pauses


@pytest.mark.parametrize("kind", ["white", "pink", "babble"])
@pytest.mark.parametrize("snr", [40, 30, 20, 10])
def test_snr_is_what_it_is(reading: NDArray[np.float64], kind: str, snr: float) -> None:
    noisy = material.with_noise(reading, RATE, kind, snr, np.random.default_rng(6))
    assert find_activity(noisy.astype(np.float32), RATE).snr == pytest.approx(snr, abs=3)


@pytest.mark.parametrize("how", ["steps", "lines"])
def test_a_call_that_was_drawn_wide_is_found_out(reading: NDArray[np.float64], how: str) -> None:
    wide = material.drawn_wide(reading, RATE, 8000, how).astype(np.float32)
    assert effective_bandwidth(wide, RATE, find_activity(wide, RATE)) == 4000
    own = reading.astype(np.float32)
    assert effective_bandwidth(own, RATE, find_activity(own, RATE)) > 8500
