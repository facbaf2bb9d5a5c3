"""A decoded sample, and the measurements that need nothing but its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SILENT_DB: Final = -120.0
"""What the level of digital silence is called: 20 dB below the last bit of 16."""
_ENOUGH_RATE: Final = 44_100
_CLIP_PEAK: Final = 0.1
"""A flat top below −20 dBFS is a small signal's own quantisation, not clipping."""
_CLIP_RUNS: Final = 3
"""Fewer flat tops than these are a single loud moment: every file has one highest sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedSample:
    """What a container really held."""

    container: str
    """Read from the bytes, never from a name: `wav`, `flac`, `mp3`, `ogg`."""
    codec: str
    """`pcm_16`, `float`, `vorbis`, `opus` …"""
    bit_depth: int | None
    """Bits of one value; None for codecs that have no such thing."""
    sample_rate: int
    """Hz."""
    samples: NDArray[np.float32]
    """Shape [channels, n]; full scale is ±1."""

    @property
    def seconds(self) -> float:
        """How long it plays."""
        return int(self.samples.shape[1]) / self.sample_rate


def decibels(power: float) -> float:
    """Returns a power ratio in dB, no lower than digital silence."""
    return 10 * float(np.log10(max(power, 10 ** (SILENT_DB / 10))))


def mono(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mixes [channels, n] to [n].

    The mean of the channels, unless they cancel out or only one carries the voice: then the
    stronger one alone.
    """
    if samples.shape[0] == 1:
        return np.asarray(samples[0])
    mixed = samples.mean(axis=0, dtype=np.float32)
    powers = [_power(channel) for channel in samples]
    strongest = int(np.argmax(powers))
    return np.asarray(mixed if _power(mixed) > powers[strongest] / 2 else samples[strongest])


def thinned(samples: NDArray[np.float32], sample_rate: int) -> tuple[NDArray[np.float32], int]:
    """Brings [n] of a high rate down to 44.1 to 88 kHz, by means of neighbours.

    What they fold down lies above everything audible, and what they take of a voice is less than a
    tenth of a decibel.

    Returns:
        The samples, and their rate in Hz.
    """
    step = sample_rate // _ENOUGH_RATE
    if step < 2:
        return samples, sample_rate
    means = samples[: samples.size // step * step].reshape(-1, step).mean(axis=1)
    return means, round(sample_rate / step)


def clipped_share(samples: NDArray[np.float32]) -> float:
    """Returns the share of values that were cut off, 0 to 1, of the worst channel of [channels, n].

    Flat tops give it away: two or more neighbours within one step of 16 bits of the channel's own
    highest (or lowest) value. What was clipped and then made quieter is still flat.
    """
    return max((_clipped(channel) for channel in samples), default=0.0)


def dc_offset(samples: NDArray[np.float32]) -> float:
    """Returns the mean of the worst channel of [channels, n], full scale 1, without its sign."""
    return float(np.max(np.abs(samples.mean(axis=1, dtype=np.float64)), initial=0))


def _clipped(channel: NDArray[np.float32]) -> float:
    share = 0.0
    for signed in (channel, -channel):
        top = float(signed.max(initial=0))
        if top < _CLIP_PEAK:
            continue
        flat = signed >= top - min(1.01 / 32768, 2e-4 * top)
        edges = np.flatnonzero(np.diff(flat, prepend=False, append=False))
        if np.count_nonzero(edges[1::2] - edges[::2] > 1) >= _CLIP_RUNS:
            share += float(flat.mean())
    return share


def _power(samples: NDArray[np.float32]) -> float:
    return float(np.dot(samples, samples)) / max(samples.size, 1)
