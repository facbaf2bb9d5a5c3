"""What the frequencies tell: how far up the voice goes, and whether the mains sings along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from voice_gateway.domain.samples.signal import SILENT_DB, decibels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from voice_gateway.domain.samples.activity import Activity

_BAND: Final = 125.0
"""Hz: bands are narrow enough to see a filter's edge, wide enough to be steady."""
_FRAMES_AT_ONCE: Final = 512
_PRESENT_OVER_NOISE: Final = 4.0
"""dB by which the loudest moments of a band exceed its pauses where the voice reaches it."""
_PRESENT_BELOW_PEAK: Final = 75.0
"""dB below the strongest band from where nothing is the voice any more: a resampler's leakage."""
_TELEPHONE: Final = 4000.0
"""Hz: where a telephone's voice ends."""
_IMAGE_GROUP: Final = 4
_IMAGE_GROUPS: Final = 4
_IMAGE: Final = 0.6
"""How much steadier mirrored bands go together than others where one is the other's image: real
voices, noisy or not, were found above 0.85, images below 0.5."""
_LEAST_MOMENTS: Final = 20
_MAINS: Final = (50.0, 60.0)
_HARMONICS: Final = 4
_PROMINENT: Final = 12.0
"""dB by which a line stands out of its neighbours before it counts."""


def effective_bandwidth(
    samples: NDArray[np.float32], sample_rate: int, activity: Activity
) -> float:
    """Returns up to which frequency, in Hz, the voice really goes.

    A band belongs to the voice when its loud moments rise over the same band's pauses. Noise that
    was recorded over a telephone call fills the upper bands all the time, and is not taken for
    voice; nor are the images that a crude resampler makes of such a call.

    Args:
        samples: Mono, shape [n].
        sample_rate: Hz.
        activity: Of the same samples.
    """
    levels, centres = _band_levels(samples, sample_rate)
    frame = _frame_size(sample_rate)
    moments = np.minimum(
        (np.arange(levels.shape[0]) * frame + frame // 2) // activity.hop,
        activity.active.size - 1,
    )
    speaking, pausing = activity.active[moments], activity.quiet[moments]
    if not speaking.any():
        return 0.0
    if _mirrors(levels[speaking]):
        return _TELEPHONE
    loud = np.percentile(levels[speaking], 97, axis=0)
    rest = (
        np.percentile(levels[pausing], 90, axis=0)
        if pausing.sum() >= 3
        else np.full(loud.size, SILENT_DB)
    )
    present = (loud > rest + _PRESENT_OVER_NOISE) & (loud > loud.max() - _PRESENT_BELOW_PEAK)
    # Two of three neighbours: a lonely band is chance.
    steady = np.convolve(present, np.ones(3), mode="same") >= 2
    return float(centres[np.flatnonzero(steady)[-1]] + _BAND / 2) if steady.any() else 0.0


def hum_level(samples: NDArray[np.float32], sample_rate: int) -> tuple[float, float]:
    """Looks for the mains, 50 or 60 Hz with harmonics.

    In windows of a second a voice moves and a hum does not: each line's level is that of the
    windows in which it is weakest, and it counts where it stands out of its neighbours there too.

    Args:
        samples: Mono, shape [n].
        sample_rate: Hz.

    Returns:
        The mains frequency in Hz (0 for none), and the level of all its lines together, in dBFS.
    """
    size = sample_rate
    if samples.size < size:
        return 0.0, SILENT_DB
    window = np.hanning(size)
    # A sine of amplitude a peaks at (a · sum(window) / 2)²: this makes it a mean square, a²/2.
    scale = 2 / window.sum() ** 2
    top = round(max(_MAINS) * _HARMONICS) + 20
    spectra = np.stack(
        [
            np.abs(np.fft.rfft(samples[start : start + size] * window)[:top]) ** 2 * scale
            for start in range(0, samples.size - size + 1, size // 2)
        ]
    )
    steady = np.percentile(spectra, 20, axis=0)
    best = (0.0, SILENT_DB)
    for mains in _MAINS:
        lines = [round(mains * k) for k in range(1, _HARMONICS + 1)]
        level = [float(steady[line - 1 : line + 2].max()) for line in lines]
        around = [
            float(np.median(np.r_[steady[line - 12 : line - 4], steady[line + 5 : line + 13]]))
            for line in lines
        ]
        stands = [
            decibels(a) - decibels(b) > _PROMINENT for a, b in zip(level, around, strict=True)
        ]
        # A steady low voice may sit on one harmonic; on the fundamental or on two it is the mains.
        if stands[0] or (stands[1] and stands[2]):
            total = decibels(sum(p for p, counts in zip(level, stands, strict=True) if counts))
            if total > best[1]:
                best = (mains, total)
    return best


def _mirrors(levels: NDArray[np.float64]) -> bool:
    """Tells whether what is above `_TELEPHONE` is the mirror image of what is below.

    Who draws lines between the samples of a call, or repeats them, mirrors its bands: each goes up
    and down with its image. In a voice, no band goes with the mirrored one more than with others.

    Args:
        levels: dB, shape [frames, bands], of the moments in which somebody speaks.
    """
    edge, reach = round(_TELEPHONE / _BAND), _IMAGE_GROUP * _IMAGE_GROUPS
    if levels.shape[0] < _LEAST_MOMENTS or levels.shape[1] < edge + reach:
        return False
    power = 10 ** (levels[:, edge - reach : edge + reach] / 10)
    # Away from the edge, on either side.
    sides = (power[:, :reach][:, ::-1], power[:, reach:])
    shape = (levels.shape[0], _IMAGE_GROUPS, _IMAGE_GROUP)
    below, above = (10 * np.log10(side.reshape(shape).sum(axis=2)) for side in sides)
    loud = below >= np.median(below, axis=0)

    def apart(shift: int) -> float:
        difference = np.where(loud, np.roll(above, shift, axis=1) - below, np.nan)
        return float(np.median(np.nanstd(difference, axis=0)))

    return apart(0) < _IMAGE * apart(_IMAGE_GROUPS // 2)


def _frame_size(sample_rate: int) -> int:
    return 1 << round(float(np.log2(sample_rate * 0.03)))


def _band_levels(
    samples: NDArray[np.float32], sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns levels in dB, shape [frames, bands], and the bands' centres in Hz."""
    frame = _frame_size(sample_rate)
    window = np.hanning(frame).astype(np.float32)
    hertz = np.fft.rfftfreq(frame, 1 / sample_rate)
    bands = int(sample_rate / 2 // _BAND)
    starts = np.searchsorted(hertz, np.arange(bands) * _BAND)
    count = samples.size // frame
    framed = samples[: count * frame].reshape(count, frame)
    levels = np.empty((count, bands))
    for at in range(0, count, _FRAMES_AT_ONCE):
        power = np.abs(np.fft.rfft(framed[at : at + _FRAMES_AT_ONCE] * window)) ** 2
        levels[at : at + _FRAMES_AT_ONCE] = np.add.reduceat(power, starts, axis=1)
    levels = 10 * np.log10(np.maximum(levels / frame**2, 10 ** (SILENT_DB / 10)))
    return levels, (np.arange(bands, dtype=np.float64) + 0.5) * np.float64(_BAND)
