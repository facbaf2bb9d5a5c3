"""How loud a voice goes out, and that nothing in it clips or clicks."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from voice_gateway.domain.audio import SentenceTrimmer
from voice_gateway.domain.samples.loudness import integrated_loudness
from voice_gateway.domain.samples.signal import SILENT_DB

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from voice_gateway.domain.speech import SpeechRequest

TARGET_LUFS: Final = -16.0
CEILING_DB: Final = -1.0
"""dBTP. What encoders and other sample rates add on top stays below full scale."""
GAIN_LIMIT_DB: Final = 20.0
"""A voice is never moved by more: what is that quiet is not a voice."""
PROVISIONAL_SECONDS: Final = 1.0
"""How much of a voice that was never heard before is waited for, to guess its loudness by."""
SETTLED_SECONDS: Final = 3.0
"""How much has to be heard before its loudness is remembered for good."""
HEARD_SECONDS: Final = 15.0
"""As much of it as is ever looked at."""
_SHORTEST_SECONDS: Final = 0.5
_EDGE_SECONDS: Final = 0.005
_LOOK_AHEAD_SECONDS: Final = 0.005
_RELEASE_SECONDS: Final = 0.1
_BIT: Final = 2048
_HALF_TAPS: Final = 8
_PHASES: Final = (0.25, 0.5, 0.75)
_CEILING: Final = 10 ** (CEILING_DB / 20)
_RISES_FROM: Final = 0.7 * _CEILING
"""Between its samples, speech rises above them by 3 dB at the very most."""
_LOUD: Final = 0.5 * _CEILING
_OPEN: Final = 1 - 1e-6
"""A gain this near to 1 is only the rounding of it."""


def loudness(samples: NDArray[np.float32], sample_rate: int) -> float | None:
    """Measures a voice, be it ever so short.

    Args:
        samples: Mono, shape [n], without the silence at its ends.
        sample_rate: Hz.

    Returns:
        LUFS, or None when there is nothing to hear in it.
    """
    if samples.size == 0:
        return None
    # A block of the standard's is 400 ms: a shorter word is repeated until it fills one.
    size = max(samples.size, round(_SHORTEST_SECONDS * sample_rate))
    measured = integrated_loudness(np.resize(samples, size), sample_rate)
    return None if measured <= SILENT_DB else measured


def gain_for(lufs: float | None) -> float:
    """Returns the factor that brings a voice to the target; 1 for one that nobody could measure."""
    if lufs is None:
        return 1.0
    return float(10 ** (np.clip(TARGET_LUFS - lufs, -GAIN_LIMIT_DB, GAIN_LIMIT_DB) / 20))


def level_key(request: SpeechRequest, provider: str, voice: str) -> str:
    """Names a voice's level: a cloned one by its sample too, whose name two tenants may use."""
    scope = f"{request.tenant_id}/{request.sample_path}" if request.sample_path else ""
    return f"{scope}:{provider}:{voice}"


def mastered(samples: NDArray[np.float32], sample_rate: int, gain: float) -> NDArray[np.float32]:
    """Masters a whole sentence, as it would come out in the midst of others.

    It does: the shortest pause between two is longer than the limiter needs to let go.
    """
    trimmer, edges, limiter = (
        SentenceTrimmer(sample_rate),
        SentenceEdges(sample_rate),
        Limiter(sample_rate),
    )
    trimmed = np.concatenate((trimmer.push(samples), trimmer.finish())) * np.float32(gain)
    whole = np.concatenate((edges.push(trimmed), edges.finish()))
    return np.concatenate((limiter.push(whole), limiter.finish()))


class SentenceEdges:
    """Lets a sentence rise from silence and fall back into it, within 5 ms, so that no join clicks.

    The last 5 ms are held back, so that a sentence that breaks off falls as well.
    """

    def __init__(self, sample_rate: int) -> None:
        size = max(1, round(_EDGE_SECONDS * sample_rate))
        self._rise = (0.5 - 0.5 * np.cos(np.pi * (np.arange(size) + 0.5) / size)).astype(np.float32)
        self._risen = 0
        self._held = np.zeros(0, dtype=np.float32)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Takes the next samples; returns those that cannot be the last ones."""
        if self._risen < self._rise.size and samples.size:
            ramp = self._rise[self._risen : self._risen + samples.size]
            samples = np.concatenate((samples[: ramp.size] * ramp, samples[ramp.size :]))
            self._risen += ramp.size
        held = np.concatenate((self._held, samples))
        kept = max(0, held.size - self._rise.size)
        self._held = held[kept:]
        return held[:kept]

    def finish(self) -> NDArray[np.float32]:
        """Returns the rest, which ends in silence."""
        held, self._held = self._held, self._held[:0]
        return held * self._rise[::-1][self._rise.size - held.size :]


class Limiter:
    """Keeps peaks below the ceiling, those between the samples as well.

    It looks 5 ms ahead and turns down in time, so that no peak is cut; then it lets go slowly. What
    stays below the ceiling passes unchanged, 5 ms late.
    """

    def __init__(self, sample_rate: int) -> None:
        self._ahead = round(_LOOK_AHEAD_SECONDS * sample_rate)
        self._release = 1 / (_RELEASE_SECONDS * sample_rate)
        # The input from `_HALF_TAPS` before the next sample to give out. It begins with silence of
        # the length of the look ahead, which is not given out.
        self._input = np.zeros(_HALF_TAPS + self._ahead, dtype=np.float32)
        self._skipped = 0
        self._gains = np.ones(self._ahead)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Takes the next samples; returns those that are ready."""
        # Bit by bit, since most bits of speech are far below the ceiling.
        bits = [samples[i : i + _BIT] for i in range(0, samples.size, _BIT)]
        return np.concatenate([self._push(bit) for bit in bits]) if bits else samples

    def finish(self) -> NDArray[np.float32]:
        """Returns the samples that are still held."""
        return self.push(np.zeros(self._ahead + _HALF_TAPS, dtype=np.float32))

    def _push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        held = np.concatenate((self._input, samples))
        count = max(0, held.size - 2 * _HALF_TAPS - self._ahead)
        self._input = held[count:]
        ready = held[_HALF_TAPS : _HALF_TAPS + count]
        rests = bool(self._gains.min() >= _OPEN)
        if count and not (rests and np.abs(held).max() < _RISES_FROM):
            peaks = _peaks(held)
            if not rests or peaks.max() > _CEILING:
                needed = np.minimum(1, _CEILING / np.maximum(peaks, _CEILING))
                ready = np.asarray(ready * self._turned_down(needed), dtype=np.float32)
        skipped = min(self._ahead - self._skipped, count)
        self._skipped += skipped
        return ready[skipped:]

    def _turned_down(self, needed: NDArray[np.floating]) -> NDArray[np.floating]:
        """Smooths the gains that are needed, so that none is ever exceeded.

        The least of what lies ahead, rising no faster than the release, averaged over as long as it
        looks ahead. For gains of [n], as many fewer as it looks ahead.
        """
        lowest = _least_ahead(needed, self._ahead)
        slope = self._release * np.arange(1, lowest.size + 1)
        gains = slope + np.minimum(np.minimum.accumulate(lowest - slope), self._gains[-1])
        history = np.concatenate((self._gains, gains))
        self._gains = history[lowest.size :]
        sums = np.concatenate(([0.0], np.cumsum(history)))
        return (sums[self._ahead + 1 :] - sums[: -self._ahead - 1]) / (self._ahead + 1)


def _least_ahead(values: NDArray[np.floating], ahead: int) -> NDArray[np.floating]:
    """Returns the least of each value and the `ahead` after it; shape [n − ahead]."""
    reach = 0
    while reach < ahead:
        step = min(reach + 1, ahead - reach)
        values = np.minimum(values[:-step], values[step:])
        reach += step
    return values


def _peaks(samples: NDArray[np.float32]) -> NDArray[np.floating]:
    """Returns the largest magnitude at and after each sample, up to the next one.

    For the samples of [n] that have `_HALF_TAPS` neighbours on both sides: shape [n − 2 · half].
    """
    peaks = np.abs(samples[_HALF_TAPS : 1 - _HALF_TAPS])
    # Only beside a loud sample can it be too loud between two, and few samples are that loud.
    loud = np.flatnonzero(np.maximum(peaks[:-1], peaks[1:]) >= _LOUD)
    peaks = peaks[:-1]
    if loud.size:
        around = samples[loud[:, np.newaxis] + np.arange(1, 2 * _HALF_TAPS + 1)]
        between = np.abs(around @ _between_samples())
        peaks[loud] = np.maximum(peaks[loud], between.max(axis=1))
    return peaks


@cache
def _between_samples() -> NDArray[np.float32]:
    """Returns what interpolates: a windowed sinc for each phase; shape [2 · half, phases]."""
    taps = np.arange(1 - _HALF_TAPS, _HALF_TAPS + 1)
    distances = np.array(_PHASES) - taps[:, np.newaxis]
    window = np.cos(np.pi / (2 * _HALF_TAPS + 1) * distances) ** 2
    weights: NDArray[np.float32] = (np.sinc(distances) * window).astype(np.float32)
    return weights
