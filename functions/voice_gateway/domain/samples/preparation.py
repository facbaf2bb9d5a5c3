"""From an accepted sample, the stretch that one provider listens to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from voice_gateway.domain.samples.activity import HOP, runs
from voice_gateway.domain.samples.findings import TARGET_LOUDNESS
from voice_gateway.domain.samples.loudness import integrated_loudness, true_peak
from voice_gateway.domain.samples.signal import SILENT_DB

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from voice_gateway.domain.samples.activity import Activity
    from voice_gateway.domain.samples.requirements import ProviderNeeds

TRUE_PEAK_MOST: Final = -1.0
"""dBTP; EBU R 128."""
_PAUSE: Final = 0.2
"""Seconds without speech between which a window may begin or end."""
_MARGIN: Final = 0.1
"""Seconds of pause that stay at each end."""
_FADE: Final = 0.005
_CLIPPED_LEVEL: Final = 0.98
"""Of the highest value: what comes near it was cut off, or is the loudest moment anyhow."""
_NEARNESS_WEIGHT: Final = 1.0
_CLEAN_WEIGHT: Final = 1.0
_CLIPPED_WEIGHT: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSample:
    """What one provider gets."""

    provider: str
    wav: bytes
    """16 bits, mono."""
    content_hash: str
    """SHA-256 of `wav`: what caches key on."""
    source_hash: str
    """SHA-256 of the original."""
    sample_rate: int
    """Hz."""
    seconds: float
    start: float
    """Seconds into the original."""
    loudness: float
    """LUFS."""
    true_peak: float
    """dBTP."""


def best_window(
    samples: NDArray[np.float32], activity: Activity, needs: ProviderNeeds
) -> tuple[int, int] | None:
    """Chooses the stretch that suits a provider best.

    It begins and ends in pauses, is near the length that the provider likes best, dense with
    speech, and free of clipping and of noises between the words. Where no pauses are to be had, it
    ends at the quietest moment.

    Args:
        samples: Mono, shape [n].
        activity: Of the same samples.
        needs: Of the provider.

    Returns:
        First sample and the one after the last, or None where there is too little speech.
    """
    phrases = _phrases(activity)
    if not phrases:
        return None
    choices = [
        (a, b)
        for i, (a, _) in enumerate(phrases)
        for _, b in phrases[i:]
        if needs.least <= (b - a) * HOP <= needs.most - 2 * _MARGIN
    ]
    if choices:
        flaws = _Flaws(samples, activity)
        start, end = max(choices, key=lambda choice: _score(*choice, flaws=flaws, needs=needs))
    else:
        unbroken = _unbroken(phrases, activity, needs)
        if unbroken is None:
            return None
        start, end = unbroken
    margin = round(_MARGIN / HOP)
    first = max(0, start - margin) * activity.hop
    last = min(min(activity.active.size, end + margin) * activity.hop, samples.size)
    return first, last


def levelled(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Fades both ends, and brings [n] to −23 LUFS, or to −1 dBTP where that is reached before."""
    shaped = samples - np.float32(samples.mean(dtype=np.float64))
    fade = round(_FADE * sample_rate)
    ramp = (0.5 - 0.5 * np.cos(np.pi * np.arange(fade) / fade)).astype(np.float32)
    shaped[:fade] *= ramp
    shaped[shaped.size - fade :] *= ramp[::-1]
    # Twice: what was near the absolute gate of −70 LUFS is measured truly once it is louder.
    for _ in range(2):
        loudness = integrated_loudness(shaped, sample_rate)
        if loudness <= SILENT_DB:
            return shaped
        gain = min(TARGET_LOUDNESS - loudness, TRUE_PEAK_MOST - true_peak(shaped))
        shaped = shaped * np.float32(10 ** (gain / 20))
    return shaped


class _Flaws:
    """How much of a stretch is clipped, spoken or disturbed, in constant time each."""

    def __init__(self, samples: NDArray[np.float32], activity: Activity) -> None:
        frames, hop = activity.active.size, activity.hop
        loud = np.abs(samples[: frames * hop]) >= _CLIPPED_LEVEL * np.max(np.abs(samples))
        clipped = loud.reshape(frames, hop).sum(axis=1) / hop
        disturbed = ~activity.active & (activity.level > activity.noise_floor + 15)
        self._spoken = np.concatenate(([0], np.cumsum(activity.active)))
        self._clipped = np.concatenate(([0.0], np.cumsum(clipped)))
        self._disturbed = np.concatenate(([0], np.cumsum(disturbed)))

    def of(self, start: int, end: int) -> tuple[float, float, float]:
        """Returns the shares of frames [start, end) that are spoken, clipped and disturbed."""
        sums = (self._spoken, self._clipped, self._disturbed)
        spoken, clipped, disturbed = (float(s[end] - s[start]) / (end - start) for s in sums)
        return spoken, clipped, disturbed


def _score(start: int, end: int, *, flaws: _Flaws, needs: ProviderNeeds) -> float:
    seconds = (end - start) * HOP
    spoken, clipped, disturbed = flaws.of(start, end)
    if seconds < needs.best_least:
        nearness = (seconds - needs.least) / (needs.best_least - needs.least)
    elif seconds > needs.best_most:
        nearness = (needs.most - seconds) / (needs.most - needs.best_most)
    else:
        nearness = 1.0
    return (
        spoken + _NEARNESS_WEIGHT * nearness - _CLIPPED_WEIGHT * clipped - _CLEAN_WEIGHT * disturbed
    )


def _phrases(activity: Activity) -> list[tuple[int, int]]:
    """Returns stretches of speech with no pause of `_PAUSE` in them, as frames."""
    phrases: list[tuple[int, int]] = []
    for start, end in runs(activity.active):
        if phrases and (start - phrases[-1][1]) * HOP < _PAUSE:
            phrases[-1] = (phrases[-1][0], end)
        else:
            phrases.append((start, end))
    return phrases


def _unbroken(
    phrases: list[tuple[int, int]], activity: Activity, needs: ProviderNeeds
) -> tuple[int, int] | None:
    """Cuts at the quietest moment of the range that the provider likes best."""
    start, end = phrases[0][0], phrases[-1][1]
    if (end - start) * HOP < needs.least:
        return None
    longest = start + round((needs.most - 2 * _MARGIN) / HOP)
    if end <= longest:
        return start, end
    low = start + round(needs.best_least / HOP)
    high = min(end, start + round(needs.best_most / HOP))
    if high <= low:
        return start, end
    return start, low + int(np.argmin(activity.level[low:high]))
