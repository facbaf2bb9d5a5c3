"""A pitch tracker for clean speech of one voice: normalised autocorrelation and a parabola."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["track"]

_PERIODS: Final = 2.6
"""Window length, in periods of the lowest pitch: fewer lose the peak, more smear the glides."""
_VOICED: Final = 0.45
"""Normalised autocorrelation above which a frame counts as periodic."""
_QUIET: Final = 1e-3
"""Root-mean-square amplitude under which a frame counts as silent."""
_SHORTEST_SOUND: Final = 4
"""Frames; periodic islands shorter than this are chance."""
_BATCH: Final = 4096


def track(
    audio: NDArray[np.float32], *, frames: int, hop: int, rate: int, lowest: float, highest: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Track the pitch, one value at the centre of every hop.

    Args:
        audio: [samples] in [-1, 1].
        frames: How many hops to answer for.
        hop: Samples between two answers.
        rate: Samples a second.
        lowest: No pitch below this, in Hz.
        highest: No pitch above this, in Hz.

    Returns:
        Pitch in Hz [frames], carried in a straight line (on a log scale) through what is not
        voiced, and whether each frame is voiced [frames].
    """
    window = int(_PERIODS * rate / lowest) // 2 * 2
    size = 1 << (2 * window - 1).bit_length()
    shape = np.hanning(window).astype(np.float32)
    shortest, longest = int(rate / highest), min(int(rate / lowest) + 2, window - 1)
    # A windowed signal correlates less at a long lag; this is by how much.
    taper = np.fft.irfft(np.abs(np.fft.rfft(shape, size)) ** 2)[: longest + 2]
    taper /= taper[0]
    left = window // 2 - hop // 2
    padded = np.pad(audio, (left, window + frames * hop))
    starts = np.arange(frames) * hop
    pitch = np.empty(frames, np.float32)
    voiced = np.empty(frames, bool)
    for first in range(0, frames, _BATCH):
        part = starts[first : first + _BATCH]
        pieces = padded[part[:, None] + np.arange(window)]
        level = np.sqrt((pieces**2).mean(1))
        pieces = (pieces - pieces.mean(1, keepdims=True)) * shape
        power = np.abs(np.fft.rfft(pieces, size)) ** 2
        curve = np.fft.irfft(power)[:, : longest + 2]
        curve = curve / (curve[:, :1] + 1e-9) / taper
        lag, strength = _peak(curve, shortest, longest)
        pitch[first : first + _BATCH] = rate / lag
        voiced[first : first + _BATCH] = (strength > _VOICED) & (level > _QUIET)
    voiced = _without_islands(voiced)
    return _carry(_steady(pitch, voiced), voiced), voiced


def _peak(
    curve: NDArray[np.float64], shortest: int, longest: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the lag [frames] and the height [frames] of the best peak of each row."""
    lags = np.arange(shortest, longest)
    # Twice the period fits as well as the period: prefer the shorter one by a hair.
    favour = 1.0 - 0.06 * (lags - shortest) / (longest - shortest)
    best = (curve[:, shortest:longest] * favour).argmax(1) + shortest
    rows = np.arange(len(curve))
    # That hair can also push a peak one lag down its own slope: climb back.
    around = np.stack([curve[rows, best + step] for step in (-1, 0, 1)])
    best = np.clip(best + around.argmax(0) - 1, shortest, longest - 1)
    before, here, after = curve[rows, best - 1], curve[rows, best], curve[rows, best + 1]
    bend = before - 2 * here + after
    shift = np.where(np.abs(bend) > 1e-9, 0.5 * (before - after) / np.where(bend == 0, 1, bend), 0)
    is_peak = (here >= before) & (here >= after)  # else the range cuts a slope, as in a hiss
    return best + np.clip(shift, -0.5, 0.5), np.where(is_peak, here, 0.0)


def _without_islands(voiced: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Forget what is voiced for so short a time that it must be chance."""
    edges = np.diff(np.concatenate([[0], voiced.astype(np.int8), [0]]))
    kept = voiced.copy()
    for start, stop in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        if stop - start < _SHORTEST_SOUND:
            kept[start:stop] = False
    return kept


def _steady(pitch: NDArray[np.float32], voiced: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Replace lone outliers, such as octave errors at the edge of a sound, by the local median."""
    index = np.flatnonzero(voiced)
    if len(index) < 5:
        return pitch
    values = pitch[index]
    around = np.lib.stride_tricks.sliding_window_view(np.pad(values, 7, mode="edge"), 15)
    median = np.median(around, axis=1)
    steady = pitch.copy()
    steady[index] = np.where(np.abs(values / median - 1) > 0.18, median, values)
    return steady


def _carry(pitch: NDArray[np.float32], voiced: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Draw the pitch through the frames that have none."""
    index = np.flatnonzero(voiced)
    if len(index) == 0:
        return np.full_like(pitch, float(np.median(pitch)) if len(pitch) else 100.0)
    drawn = np.interp(np.arange(len(pitch)), index, np.log(pitch[index]))
    return np.exp(drawn).astype(np.float32)
