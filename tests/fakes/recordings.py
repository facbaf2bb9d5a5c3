"""Recordings of nobody: sounds with the traits of speech, of which every measure is known."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soundfile

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE: Final = 48_000
PHRASE: Final = 1.2
PAUSE: Final = 0.5
LEVEL: Final = 0.1
"""Root mean square while somebody speaks."""


@functools.cache
def voice(
    seconds: float, rate: int = RATE, *, hertz: float = 120.0, seed: int = 0
) -> NDArray[np.float32]:
    """Phrases of `PHRASE` seconds after pauses of `PAUSE`: a buzz that glides, with hissing.

    Shape [n]; the pauses are digital silence, and the hissing goes up to the Nyquist frequency.
    """
    random = np.random.default_rng(seed)
    total = round(seconds * rate)
    made = np.zeros(total)
    size, at = round(PHRASE * rate), round(PAUSE * rate)
    while at < total:
        time = np.arange(size) / rate
        pitch = hertz * (1 + 0.08 * np.sin(2 * np.pi * 0.9 * time + random.uniform(0, 6)))
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        buzz = sum(np.sin(k * phase + k * k) / k for k in range(1, 40))
        hiss = random.standard_normal(size) * (np.sin(2 * np.pi * 2.5 * time) > 0.8)
        syllables = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * time)
        phrase = (buzz + 0.5 * hiss) * syllables
        phrase *= LEVEL / np.sqrt(np.mean(phrase**2))
        ramp = round(0.01 * rate)
        phrase[:ramp] *= np.linspace(0, 1, ramp)
        phrase[-ramp:] *= np.linspace(1, 0, ramp)
        cut = min(size, total - at)
        made[at : at + cut] = phrase[:cut]
        at += size + round(PAUSE * rate)
    return made.astype(np.float32)


def white(seconds: float, rms: float, rate: int = RATE, *, seed: int = 1) -> NDArray[np.float32]:
    """White noise of shape [n]."""
    made = np.random.default_rng(seed).standard_normal(round(seconds * rate)) * rms
    return made.astype(np.float32)


def low_passed(
    samples: NDArray[np.float32], cutoff: float, rate: int = RATE
) -> NDArray[np.float32]:
    """Nothing above `cutoff` Hz, as after a change of rate down and up again."""
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(samples.size, 1 / rate) > cutoff] = 0
    return np.fft.irfft(spectrum, samples.size).astype(np.float32)


def encoded(
    samples: NDArray[Any], rate: int = RATE, *, container: str = "WAV", subtype: str = "PCM_16"
) -> bytes:
    """Shape [n] or [n, channels] → the bytes of a file."""
    outlet = io.BytesIO()
    soundfile.write(outlet, samples, rate, format=container, subtype=subtype)
    return outlet.getvalue()
