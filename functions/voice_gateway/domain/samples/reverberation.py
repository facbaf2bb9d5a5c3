"""How long the room rings, from the recording alone.

The level falls in straight lines (in dB) wherever sound breaks off, and no faster than the room
lets it: the typical slope of the free decays gives the time of 60 dB. After H. W. Löllmann et al.,
"An improved algorithm for blind reverberation time estimation" (IWAENC 2010), with least squares in
place of maximum likelihood. Speech has decays of its own, so a dry room reads as about 0.2 s; it is
an estimate, good enough to tell a dry room from a bathroom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from voice_gateway.domain.samples.activity import HOP, runs

if TYPE_CHECKING:
    from voice_gateway.domain.samples.activity import Activity

_LEAST_FALL: Final = 15.0
"""dB: a shorter decay says more about the sound than about the room."""
_LEAST_SECONDS: Final = 0.08
_OVER_NOISE: Final = 8.0
"""dB: below, the noise bends the line."""
_LEAST_DECAYS: Final = 3
_LEAST_SNR: Final = 28.0
"""dB: with less, no decay is left to see but the voice's own."""


def reverberation_time(activity: Activity) -> float | None:
    """Returns the estimated RT60 in seconds, or None where too few decays are free of noise."""
    level = activity.level
    if level.size < 10 or activity.snr < _LEAST_SNR:
        return None
    smooth = np.convolve(level, np.full(5, 0.2), mode="same")
    falling = (np.diff(smooth, append=smooth[-1]) < 0) & (
        level > activity.noise_floor + _OVER_NOISE
    )
    times = []
    for start, end in runs(falling):
        fall = smooth[start] - smooth[end - 1]
        if fall < _LEAST_FALL or (end - start) * HOP < _LEAST_SECONDS:
            continue
        # The first decibels are still the sound itself.
        decay = level[start:end][level[start:end] < level[start] - 3]
        if decay.size >= 5:
            slope = np.polyfit(np.arange(decay.size) * HOP, decay, 1)[0]
            if slope < 0:
                times.append(-60 / slope)
    return float(np.median(times)) if len(times) >= _LEAST_DECAYS else None
