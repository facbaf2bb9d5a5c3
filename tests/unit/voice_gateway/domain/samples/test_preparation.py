from __future__ import annotations

import numpy as np
import pytest

from fakes.recordings import RATE, voice, white
from voice_gateway.domain.samples.activity import find_activity
from voice_gateway.domain.samples.loudness import integrated_loudness, true_peak
from voice_gateway.domain.samples.preparation import best_window, levelled
from voice_gateway.domain.samples.requirements import NEEDS, ProviderNeeds

XTTS, STYLETTS = NEEDS


def window(audio: np.ndarray, needs: ProviderNeeds) -> tuple[int, int]:
    chosen = best_window(audio, find_activity(audio, RATE), needs)
    assert chosen is not None
    return chosen


@pytest.mark.parametrize("needs", NEEDS, ids=lambda needs: needs.provider)
def test_from_plenty_the_length_it_likes_best_is_cut_at_pauses(needs: ProviderNeeds) -> None:
    audio = voice(40)
    start, end = window(audio, needs)
    assert needs.best_least <= (end - start) / RATE <= needs.best_most + 0.2
    edge = RATE // 20
    assert np.abs(audio[start : start + edge]).max() == 0
    assert np.abs(audio[end - edge : end]).max() == 0


def test_what_is_just_enough_is_taken_whole() -> None:
    start, end = window(voice(7.2), XTTS)
    assert (end - start) / RATE >= XTTS.least


def test_too_little_gives_nothing() -> None:
    audio = voice(2.0)
    assert best_window(audio, find_activity(audio, RATE), STYLETTS) is None


def test_silence_gives_nothing() -> None:
    audio = np.zeros(20 * RATE, np.float32)
    assert best_window(audio, find_activity(audio, RATE), STYLETTS) is None


def test_the_clipped_part_is_left_out() -> None:
    first, second = voice(20), voice(20)
    limit = np.quantile(np.abs(first), 0.9)
    start, _ = window(np.concatenate((np.clip(first, -limit, limit) / limit, second)), STYLETTS)
    assert start >= 19 * RATE


def test_the_stretch_with_a_noise_in_its_pauses_is_left_out() -> None:
    first = voice(20).copy()
    first[: 20 * RATE][np.abs(first) == 0] += 0.0004
    clicks = first.copy()
    for at in range(RATE // 5, 20 * RATE, round(1.7 * RATE)):
        clicks[at : at + RATE // 10] += 0.006 * white(0.1, 1.0)
    start, _ = window(np.concatenate((clicks, first)), STYLETTS)
    assert start >= 17 * RATE


def test_without_pauses_it_is_cut_at_the_quietest_moment() -> None:
    breathless = np.concatenate([voice(1.7)[RATE // 2 :] for _ in range(40)])
    audio = np.concatenate((np.zeros(RATE, np.float32), breathless, np.zeros(RATE, np.float32)))
    start, end = window(audio, XTTS)
    assert XTTS.least <= (end - start) / RATE <= XTTS.most


@pytest.mark.parametrize("gain", [0.01, 0.1, 3.0])
def test_it_gets_the_loudness_of_broadcast(gain: float) -> None:
    made = levelled(voice(6) * np.float32(gain), RATE)
    assert integrated_loudness(made, RATE) == pytest.approx(-23, abs=0.1)


def test_the_true_peak_is_guarded() -> None:
    spiky = voice(6) * np.float32(0.05)
    spiky[RATE::RATE] = 1.0
    made = levelled(spiky, RATE)
    assert true_peak(made) == pytest.approx(-1, abs=0.1)
    assert integrated_loudness(made, RATE) < -23


def test_ends_are_soft_centred_and_the_original_is_left_alone() -> None:
    original = voice(6) + np.float32(0.05)
    kept = original.copy()
    made = levelled(original, RATE)
    assert np.array_equal(original, kept)
    assert abs(float(made.mean())) < 1e-3
    assert made[0] == 0
    assert made.dtype == np.float32


def test_silence_stays_silent() -> None:
    assert not levelled(np.zeros(RATE, np.float32), RATE).any()
