"""Whether there is music: a suspicion, not a verdict.

Music alone gives itself away by few frames that are much quieter than their surroundings
(J. Saunders, "Real-time discrimination of broadcast speech/music", ICASSP 1996, and the "low-energy
frames" of Scheirer and Slaney, 1997). Behind a voice it is heard in the pauses: a note stays where
it is for a while, and the next pause has other notes. Noises and voices keep no tone; the mains and
a fan keep theirs for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from voice_gateway.domain.samples.activity import HOP, runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from voice_gateway.domain.samples.activity import Activity

_LOW_ENERGY: Final = 0.5
"""Of the mean of the second around it."""
_FRAME: Final = 0.06
"""Seconds, about: long enough to tell notes apart, and three of them end within a pause."""
_NOTES: Final = (300.0, 3000.0)
"""Hz: above what hums, below what hisses."""
_DEPTH: Final = 3.0
"""Nepers, 26 dB: what lies further below a frame's loudest line is not told apart, so that the hiss
between the tones is nothing and hum alone has no tones."""
_AROUND: Final = 9
"""Bins whose mean is taken off, so that lines are compared and not the noise's colour."""
_LONGEST_PAUSE: Final = 2.0
"""Seconds of a pause that are enough: a recording may be one long pause."""
_LEAST_PAUSES: Final = 3
_STEADY: Final = 0.5
"""The likeness of moments of one pause from which there are tones: music was found above 0.7,
noises, babble and rooms below 0.3."""


def low_energy_share(activity: Activity) -> float:
    """Returns the share of frames far below the mean of their second: speech has many."""
    power = activity.power
    second = round(1 / HOP)
    if power.size < second:
        return 1.0
    around = np.convolve(power, np.full(second, 1 / second), mode="same")
    # A pause says nothing about what is heard: music has them at its ends only.
    heard = activity.active
    return float((power[heard] < _LOW_ENERGY * around[heard]).mean()) if heard.any() else 1.0


def changing_tones(samples: NDArray[np.float32], sample_rate: int, activity: Activity) -> float:
    """Returns how much more alike the tones are within a pause than from one pause to the others.

    Args:
        samples: Mono, shape [n].
        sample_rate: Hz.
        activity: Of the same samples.

    Returns:
        0 to 1; 0 too where there are no tones, or too few pauses to tell.
    """
    most = round(_LONGEST_PAUSE / HOP)
    heard = (
        _lines(samples[a * activity.hop : min(b, a + most) * activity.hop], sample_rate)
        for a, b in runs(activity.quiet)
    )
    pauses = [lines for lines in heard if len(lines) > 2]
    if len(pauses) < _LEAST_PAUSES:
        return 0.0
    # Every second frame: neighbours share half of their samples.
    within = np.median(np.concatenate([(p[2:] * p[:-2]).sum(axis=1) for p in pauses]))
    if within < _STEADY:
        return 0.0
    total, count = sum(p.sum(axis=0) for p in pauses), sum(map(len, pauses))
    # Music comes back to the same notes: it is enough that a quarter of the moments have others.
    across = np.percentile(
        np.concatenate([p @ (total - p.sum(axis=0)) / (count - len(p)) for p in pauses]), 25
    )
    return float(np.clip(within - across, 0, 1))


def _lines(pause: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Returns what stands out of the spectrum, shape [frames, bins], each frame of length 1."""
    size = 1 << round(float(np.log2(sample_rate * _FRAME)))
    if pause.size < size:
        return np.zeros((0, 0))
    low, high = (round(hertz * size / sample_rate) for hertz in _NOTES)
    framed = np.lib.stride_tricks.sliding_window_view(pause, size)[:: size // 2]
    level = np.log(np.abs(np.fft.rfft(framed * np.hanning(size))) + 1e-9)
    level = np.maximum(level, level.max(axis=1, keepdims=True) - _DEPTH)[:, low:high]
    around = np.lib.stride_tricks.sliding_window_view(level, _AROUND, axis=1).mean(axis=2)
    edge = _AROUND // 2
    lines = level[:, edge : edge + around.shape[1]] - around
    lines -= lines.mean(axis=1, keepdims=True)
    return np.asarray(lines / np.maximum(np.linalg.norm(lines, axis=1, keepdims=True), 1e-9))
