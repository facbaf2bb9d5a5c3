"""How far one recording is from another: the yardsticks of the judge, in numpy alone."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["clicks", "harmonicity", "log_mel", "long_term_spectrum", "mel_cepstrum", "warp"]

_Array = NDArray[np.float64]

_RATE: Final = 22050
_SIZE: Final = 1024
_WINDOW: Final = 512
_BANDS: Final = 40
_FLOOR: Final = 1e-5


def log_mel(audio: NDArray[np.float32], hop: int) -> _Array:
    """Give the log mel spectrum [frames, 40], one frame centred on the middle of each hop."""
    frames = len(audio) // hop
    padded = np.pad(audio.astype(np.float64), (_WINDOW // 2 - hop // 2, _WINDOW))
    pieces = padded[(np.arange(frames) * hop)[:, None] + np.arange(_WINDOW)]
    magnitude = np.abs(np.fft.rfft(pieces * np.hanning(_WINDOW), _SIZE))
    return np.log(magnitude @ _filters() + _FLOOR * _WINDOW)


def mel_cepstrum(log_spectrum: _Array) -> _Array:
    """Give cepstral coefficients 1 to 13 [frames, 13], without the loudness, of a log mel one."""
    order, bands = np.arange(1, 14), np.arange(_BANDS) + 0.5
    return log_spectrum @ (np.sqrt(2 / _BANDS) * np.cos(np.pi / _BANDS * np.outer(bands, order)))


def warp(ours: _Array, theirs: _Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Align two sequences [frames, features] by dynamic time warping.

    Returns:
        The indices into both along the cheapest path.
    """
    squares = (ours**2).sum(1)[:, None] + (theirs**2).sum(1)[None] - 2 * ours @ theirs.T
    cost = np.sqrt(np.maximum(squares, 0))
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0
    for diagonal in range(rows + columns - 1):  # all cells of an anti-diagonal at once
        i = np.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        j = diagonal - i
        best = np.minimum(np.minimum(total[i, j], total[i, j + 1]), total[i + 1, j])
        total[i + 1, j + 1] = cost[i, j] + best
    i, j = rows, columns
    path = []
    while i and j:
        path.append((i - 1, j - 1))
        step = int(np.argmin([total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]]))
        i, j = i - (step < 2), j - (step != 1)
    pairs = np.array(path[::-1])
    return pairs[:, 0], pairs[:, 1]


def harmonicity(audio: NDArray[np.float32], pitch: NDArray[np.float32], hop: int) -> float:
    """Give the median harmonic-to-noise ratio, in dB, of the frames that have a pitch.

    Args:
        audio: [samples].
        pitch: [frames] in Hz, 0 where there is none.
        hop: Samples between two values of ``pitch``.
    """
    ratios = []
    for frame in np.flatnonzero(pitch > 0)[::4]:
        period = _RATE / pitch[frame]
        half = int(2 * period)
        centre = frame * hop + hop // 2
        piece = audio[max(0, centre - half) : centre + half].astype(np.float64)
        lag = round(period)
        strengths = []
        for shift in range(lag - 2, lag + 3):
            a, b = piece[:-shift], piece[shift:]
            strengths.append((a @ b) / (np.sqrt((a @ a) * (b @ b)) + 1e-12))
        strength = min(max(strengths), 1 - 1e-5)
        if strength > 0:
            ratios.append(10 * np.log10(strength / (1 - strength)))
    return float(np.median(ratios)) if ratios else 0.0


def long_term_spectrum(audio: NDArray[np.float32]) -> _Array:
    """Give the power spectrum of all that is not silence, in dB, in 40 mel bands."""
    frames = np.exp(log_mel(audio, 256))
    level = frames.sum(1)
    loud = frames[level > 0.01 * level.max()]
    return 10 * np.log10((loud**2).mean(0))


def clicks(audio: NDArray[np.float32]) -> int:
    """Count clicks: a millisecond whose sharpest bend stands far out of the 10 ms around it.

    A pulse train bends sharply once a period, so a click has to be sharper than its neighbours on
    both sides by a factor, and audible.
    """
    block = _RATE // 1000
    bend = np.abs(np.diff(audio.astype(np.float64), 3))
    sharpest = bend[: len(bend) // block * block].reshape(-1, block).max(1)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(sharpest, 12), 25).copy()
    around[:, 11:14] = 0
    before, after = around[:, :11].max(1), around[:, 14:].max(1)
    return int(((sharpest > 6 * np.maximum(before, after)) & (sharpest > 0.05)).sum())


def _filters() -> _Array:
    """Give triangular mel filters [bins, bands] over the whole range."""
    frequency = np.linspace(0, _RATE / 2, _SIZE // 2 + 1)
    top = 2595 * np.log10(1 + _RATE / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, _BANDS + 2) / 2595) - 1)
    up = (frequency[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    down = (corners[2:] - frequency[:, None]) / (corners[2:] - corners[1:-1])
    return np.maximum(0, np.minimum(up, down))
