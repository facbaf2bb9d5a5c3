"""The voice's pitch, and whether it is alone: a suspicion, not a verdict.

Pitch by autocorrelation (P. Boersma, "Accurate short-term analysis of the fundamental frequency …",
1993: the frame's autocorrelation over the window's own). A second speaker is suspected where
phrases fall into two groups of pitch far apart; two people with like voices stay unnoticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from voice_gateway.domain.samples.activity import HOP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from voice_gateway.domain.samples.activity import Activity

PITCH_RANGE: Final = (65.0, 400.0)
"""Hz."""
_FRAME: Final = 0.04
"""Seconds: two and a half periods of the lowest pitch."""
_VOICED: Final = 0.55
"""The autocorrelation's peak, 0 to 1, from which a frame is voiced."""
_AT_ONCE: Final = 512
_PHRASE: Final = 0.3
"""Seconds of voice from which a stretch has a pitch of its own."""


def pitches(
    samples: NDArray[np.float32], sample_rate: int, activity: Activity
) -> NDArray[np.float64]:
    """Returns the pitch in Hz of every second frame of `activity`, 0 where it is not voiced."""
    # Means of neighbours: the pitch needs no more than some 8 kHz, and no better a filter.
    step = max(1, sample_rate // 8000)
    rate = sample_rate / step
    small = samples[: samples.size // step * step].reshape(-1, step).mean(axis=1)
    size = round(_FRAME * rate)
    every = 2
    frames = (activity.active.size + every - 1) // every
    found = np.zeros(frames)
    starts = np.arange(frames) * every * activity.hop // step
    spoken = np.flatnonzero(activity.active[::every] & (starts + size <= small.size))
    window = np.hanning(size)
    fft = 1 << (2 * size - 1).bit_length()
    low, high = int(rate / PITCH_RANGE[1]), int(rate / PITCH_RANGE[0])
    own = np.fft.irfft(np.abs(np.fft.rfft(window, fft)) ** 2)[:high]
    for at in range(0, spoken.size, _AT_ONCE):
        chosen = spoken[at : at + _AT_ONCE]
        cut = small[starts[chosen, None] + np.arange(size)]
        cut = (cut - cut.mean(axis=1, keepdims=True)) * window
        power = np.fft.irfft(np.abs(np.fft.rfft(cut, fft)) ** 2)[:, :high]
        likeness = power / np.maximum(power[:, :1], 1e-20) / (own / own[0])
        peaks = likeness[:, low:]
        # A shorter period that is nearly as good is the true one: its multiples are, too.
        best = peaks.max(axis=1, keepdims=True)
        first = np.argmax(peaks >= 0.92 * best, axis=1)
        for row, index in enumerate(first):
            while index + 1 < peaks.shape[1] and peaks[row, index + 1] > peaks[row, index]:
                index += 1
            first[row] = index
        voiced = best[:, 0] >= _VOICED
        found[chosen[voiced]] = rate / (first[voiced] + low)
    return found


def median_pitch(pitch: NDArray[np.float64]) -> float | None:
    """Returns the median in Hz of the voiced frames (above 0); None when there are none."""
    voiced = pitch[pitch > 0]
    return float(np.median(voiced)) if voiced.size else None


def pitch_groups(pitch: NDArray[np.float64], activity: Activity) -> float:
    """Returns how many semitones two groups of phrases lie apart, 0 where they are one group."""
    phrases = []
    for start, end in activity.segments():
        voiced = pitch[start // 2 : end // 2]
        voiced = voiced[voiced > 0]
        if voiced.size * 2 * HOP >= _PHRASE:
            phrases.append(12 * np.log2(np.median(voiced)))
    if len(phrases) < 4:
        return 0.0
    ordered = np.sort(phrases)
    gaps = np.diff(ordered)
    cut = int(np.argmax(gaps[1:-1])) + 2 if gaps.size > 2 else 0
    if cut == 0:
        return 0.0
    lower, upper = ordered[:cut], ordered[cut:]
    spread = max(float(lower.std()), float(upper.std()), 0.5)
    apart = float(upper.mean() - lower.mean())
    return apart if apart > 3 * spread else 0.0
