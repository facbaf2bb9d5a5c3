"""Where somebody speaks, and what is left where nobody does.

Energy alone, on purpose: the two humps of the frames' levels are told apart by Otsu's threshold
(N. Otsu, "A threshold selection method from gray-level histograms", 1979), and what lies close to
speech is counted on neither side, so that soft onsets and the room's tail do not pass for noise.
Where somebody hardly pauses, the noise is seen in the quietest of the moments between the sounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from voice_gateway.domain.samples.signal import SILENT_DB, decibels

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOP: Final = 0.01
"""Seconds of one frame."""
_RANGE: Final = 70.0
"""dB below the loud frames from where everything is equally quiet."""
_FAR: Final = 0.12
"""Seconds around speech that count as neither speech nor noise."""
_ENOUGH: Final = 1.0
"""Seconds of such pauses that tell the noise: in fewer, the ends of words would weigh too much."""
_NEAR: Final = 0.08
"""The same where pauses are short …"""
_SOME: Final = 0.2
"""… and how much of them has to be there."""
_OUTLIER: Final = 10.0
"""Times the median, from where something in a pause is a breath or a click and not the noise."""
_DIP_NEAR: Final = 0.02
"""Seconds around each sound that count as neither within words: half a frame of the spectrum."""
_LEAST_DIPS: Final = 10
_DIP_FLOOR: Final = 15
"""Percent of the dips that surely reach down to the noise …"""
_DIP_RANGE: Final = 4.0
"""… and up to how many times their power others do: soft sounds lie higher."""
_BRIDGED: Final = 0.15
"""Seconds: a shorter gap belongs to the word around it (stops, geminates)."""
_DRIFT: Final = 0.2
"""Seconds over which the mean is taken off: a DC offset is no noise, and the mains still is."""
_SNR_MOST: Final = 90.0


@dataclass(frozen=True, slots=True)
class Activity:
    """Frames of `HOP` seconds, in order."""

    power: NDArray[np.float64]
    """Shape [frames]: mean square."""
    level: NDArray[np.float64]
    """Shape [frames]: dBFS, smoothed over three frames."""
    active: NDArray[np.bool_]
    """Shape [frames]: somebody speaks."""
    quiet: NDArray[np.bool_]
    """Shape [frames]: nobody does, and what is heard is the noise."""
    noise_power: float
    """Mean square of what is there without speech."""
    hop: int
    """Samples of one frame: `HOP` as nearly as the rate allows."""

    @property
    def speech_seconds(self) -> float:
        """How long somebody speaks."""
        return float(self.active.sum()) * HOP

    @property
    def usable_seconds(self) -> float:
        """How long it is from the first word to the end of the last."""
        spoken = np.flatnonzero(self.active)
        return float(spoken[-1] - spoken[0] + 1) * HOP if spoken.size else 0.0

    @property
    def silence_share(self) -> float:
        """The share of the recording in which nobody speaks, 0 to 1."""
        return 1 - float(self.active.mean()) if self.active.size else 1.0

    @property
    def noise_floor(self) -> float:
        """DBFS."""
        return decibels(self.noise_power)

    @property
    def snr(self) -> float:
        """dB, 0 to 90: the speech's power while somebody speaks, over the noise's."""
        if not self.active.any():
            return 0.0
        speech = float(self.power[self.active].mean()) - self.noise_power
        if speech <= 0:
            return 0.0
        return min(max(decibels(speech) - self.noise_floor, 0.0), _SNR_MOST)

    def segments(self) -> list[tuple[int, int]]:
        """Returns the stretches of speech, as frames [start, end)."""
        return runs(self.active)


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Returns the stretches of True, as [start, end)."""
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def find_activity(samples: NDArray[np.float32], sample_rate: int) -> Activity:
    """Finds speech and pauses in mono audio of shape [n]."""
    hop = round(HOP * sample_rate)
    frames = samples.size // hop
    if frames == 0:
        nothing, none = np.zeros(0), np.zeros(0, dtype=np.bool_)
        return Activity(nothing, nothing, none, none, 0.0, hop)
    framed = samples[: frames * hop].reshape(frames, hop)
    mean = framed.mean(axis=1, dtype=np.float64)
    drift = _moving_mean(mean, round(_DRIFT / HOP))
    power = np.einsum("ij,ij->i", framed, framed, dtype=np.float64) / hop
    power = np.maximum(power - 2 * drift * mean + drift**2, 0)
    padded = np.pad(power, 1, mode="edge")
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    level = 10 * np.log10(np.maximum(smooth, 1e-12))
    if level.max() <= SILENT_DB + 10:
        none = np.zeros(frames, dtype=np.bool_)
        return Activity(power, level, none, ~none, float(power.mean()), hop)
    sounding = level > _threshold(level)
    active = _closed(sounding, round(_BRIDGED / HOP))
    quiet = _quiet(power, smooth, active, sounding)
    return Activity(power, level, active, quiet, float(power[quiet].mean()), hop)


def _threshold(level: NDArray[np.float64]) -> float:
    """Otsu's threshold: the one that leaves the two sides most alike within themselves."""
    top = float(np.percentile(level, 95))
    held = np.maximum(level, top - _RANGE)
    counts, edges = np.histogram(held, bins=140)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    apart = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(edges[1:-1][np.argmax(below * above * apart**2)])


def _quiet(
    power: NDArray[np.float64],
    smooth: NDArray[np.float64],
    active: NDArray[np.bool_],
    sounding: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    far = ~_dilated(active, round(_FAR / HOP))
    if far.sum() * HOP >= _ENOUGH:
        return _without_outliers(power, far)
    dips = _dips(power, smooth, sounding)
    near = ~_dilated(active, round(_NEAR / HOP))
    if near.sum() * HOP < _SOME:
        return dips
    # Whatever is in them besides the noise makes them louder.
    return min(_without_outliers(power, near), dips, key=lambda quiet: float(power[quiet].mean()))


def _without_outliers(power: NDArray[np.float64], quiet: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return quiet & (power <= np.median(power[quiet]) * _OUTLIER)


def _dips(
    power: NDArray[np.float64], smooth: NDArray[np.float64], sounding: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The quietest moments between the sounds, within words too: stops reach down to the noise."""
    dips = ~_dilated(sounding, round(_DIP_NEAR / HOP))
    if dips.sum() < _LEAST_DIPS:
        return smooth <= np.percentile(smooth, 2)
    floor = np.percentile(smooth[dips], _DIP_FLOOR, method="lower")
    return dips & (power <= floor * _DIP_RANGE)


def _moving_mean(values: NDArray[np.float64], over: int) -> NDArray[np.float64]:
    width = min(over, values.size)
    if width < 2:
        return values
    total = np.convolve(values, np.ones(width), mode="same")
    return total / np.convolve(np.ones(values.size), np.ones(width), mode="same")


def _dilated(flags: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    if flags.size == 0:
        return flags
    reach = np.concatenate(([0], np.cumsum(flags)))
    at = np.arange(flags.size)
    return reach[np.minimum(at + by + 1, flags.size)] > reach[np.maximum(at - by, 0)]


def _closed(flags: NDArray[np.bool_], gap: int) -> NDArray[np.bool_]:
    """Fills gaps of up to `gap` frames between two stretches of True."""
    filled = flags.copy()
    for start, end in runs(~flags):
        if end - start <= gap and start > 0 and end < flags.size:
            filled[start:end] = True
    return filled
