"""A made voice of known pitch, formants and length, and the measures that find them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FORMANTS = ((700.0, 90.0), (1200.0, 110.0), (2600.0, 160.0))
"""Of an open vowel: centre and bandwidth in Hz."""


def vowel(
    seconds: float,
    rate: int,
    *,
    hertz: float = 120.0,
    formants: Sequence[tuple[float, float]] = FORMANTS,
    vibrato: float = 0.02,
) -> NDArray[np.float32]:
    """A sung vowel: harmonics of a slightly moving pitch, each as loud as the formants make it."""
    time = np.arange(round(seconds * rate)) / rate
    pitch = hertz * (1 + vibrato * np.sin(2 * np.pi * 5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    out = np.zeros(time.size)
    for harmonic in range(1, int(min(4500, rate / 2 * 0.9) / (hertz * (1 + vibrato)))):
        at = harmonic * hertz
        level = sum(1 / (1 + ((at - f) / (b / 2)) ** 2) for f, b in formants)
        out += (level + 0.003) * np.cos(harmonic * phase + harmonic**2)
    return np.asarray(0.4 * out / np.abs(out).max(), dtype=np.float32)


def pitch_of(samples: NDArray[np.float32], rate: int) -> float:
    """The median pitch in Hz, by autocorrelation between 60 and 500 Hz."""
    size = round(0.08 * rate)
    window = np.hanning(size)
    shape = np.fft.irfft(np.abs(np.fft.rfft(window, 4 * size)) ** 2)
    low, high = round(rate / 500), round(rate / 60)
    found = []
    for start in range(0, samples.size - size, size // 2):
        piece = samples[start : start + size] * window
        if np.abs(piece).max() < 0.01:
            continue
        like = np.fft.irfft(np.abs(np.fft.rfft(piece, 4 * size)) ** 2)[:high] / shape[:high]
        best = like[low:].max()
        peaks = [
            lag
            for lag in range(low + 1, high - 1)
            if like[lag] >= 0.9 * best and like[lag - 1] <= like[lag] >= like[lag + 1]
        ]
        if peaks:
            found.append(rate / peaks[0])
    return float(np.median(found))


def timbre(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Who speaks, not what: the smooth long-term spectrum up to 4 kHz in dB, without its mean."""
    size = 1024
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: size // 4]
    power = (np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2).mean(0)
    cepstrum = np.fft.irfft(10 * np.log10(power + 1e-12))
    cepstrum[25:-25] = 0
    smooth = np.fft.rfft(cepstrum).real[: round(4000 * size / rate)]
    return np.asarray(smooth - smooth.mean(), dtype=np.float64)


def roughness(samples: NDArray[np.float32]) -> float:
    """The largest step of the second difference: a click is far above what the voice itself has."""
    return float(np.abs(np.diff(samples, 2)).max())
