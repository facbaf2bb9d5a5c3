"""Loudness and true peak after ITU-R BS.1770-4, in numpy.

The standard's two K-weighting filters are applied in the frequency domain, block by block. Its
coefficients are given for 48 kHz only; at another rate each frequency is looked up where the
bilinear transform of the same analogue filter puts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from voice_gateway.domain.samples.signal import SILENT_DB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# BS.1770-4, tables 1 and 2: numerator, denominator.
_SHELF: Final = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285),
    (1.0, -1.69065929318241, 0.73248077421585),
)
_HIGH_PASS: Final = (
    (1.0, -2.0, 1.0),
    (1.0, -1.99004745483398, 0.99007225036621),
)
_TABLE_RATE: Final = 48_000
_OFFSET: Final = -0.691
_ABSOLUTE_GATE: Final = -70.0
_RELATIVE_GATE: Final = -10.0
_GATE_STEP: Final = 0.1
"""Seconds: blocks of 400 ms overlap by three quarters."""
_STEPS_A_BLOCK: Final = 4
_STEPS_AT_ONCE: Final = 20
"""Filtered together: longer transforms leave the processor's cache at high rates."""
_SETTLED: Final = 0.5
"""Seconds after which the filters have forgotten what came before, by far more than 100 dB."""
_OVERSAMPLING: Final = 4


def integrated_loudness(samples: NDArray[np.float32], sample_rate: int) -> float:
    """Measures the gated loudness of mono audio.

    Args:
        samples: Shape [n], full scale 1.
        sample_rate: Hz.

    Returns:
        LUFS; −120 for silence and for anything shorter than one block of 400 ms.
    """
    step = round(_GATE_STEP * sample_rate)
    energies = [
        np.einsum("ij,ij->i", block, block)
        for block in _weighted(samples, sample_rate, step * _STEPS_AT_ONCE, step)
    ]
    power = np.concatenate(energies) / step if energies else np.zeros(0)
    if power.size < _STEPS_A_BLOCK:
        return SILENT_DB
    blocks = np.convolve(power, np.full(_STEPS_A_BLOCK, 1 / _STEPS_A_BLOCK), mode="valid")
    level = _OFFSET + 10 * np.log10(np.maximum(blocks, 1e-12))
    kept = level > _ABSOLUTE_GATE
    if not kept.any():
        return SILENT_DB
    gate = _OFFSET + 10 * np.log10(blocks[kept].mean()) + _RELATIVE_GATE
    kept &= level > gate
    return float(_OFFSET + 10 * np.log10(blocks[kept].mean()))


def true_peak(samples: NDArray[np.float32]) -> float:
    """Returns the highest value between the samples of [n] too, in dBTP, at four times the rate."""
    if samples.size == 0:
        return SILENT_DB
    peak = float(np.max(np.abs(samples)))
    size, margin = 1 << 15, 256
    for start in range(0, samples.size, size - 2 * margin):
        piece = samples[start : start + size]
        spectrum = np.fft.rfft(piece, size)
        fine = np.fft.irfft(spectrum, size * _OVERSAMPLING) * _OVERSAMPLING
        # The ends of a block ring: they are the next block's middle, but for the audio's own ends.
        low = 0 if start == 0 else margin
        high = piece.size if start + size >= samples.size else size - margin
        peak = max(peak, float(np.max(np.abs(fine[low * 4 : high * 4]), initial=0)))
    return 20 * float(np.log10(max(peak, 10 ** (SILENT_DB / 20))))


def k_response(hertz: NDArray[np.floating], sample_rate: int) -> NDArray[np.complex128]:
    """Returns the response of both filters together at each frequency."""
    warped = np.tan(np.pi * np.minimum(hertz / sample_rate, 0.4999999))
    angle = 2 * np.arctan(warped * sample_rate / _TABLE_RATE)
    delay = np.exp(-1j * angle)
    response = np.ones(hertz.size, dtype=np.complex128)
    for top, bottom in (_SHELF, _HIGH_PASS):
        response *= np.polyval(top[::-1], delay) / np.polyval(bottom[::-1], delay)
    return response


def _weighted(
    samples: NDArray[np.float32], sample_rate: int, stride: int, step: int
) -> Iterator[NDArray[np.float64]]:
    """Yields the filtered audio as rows of one gate step each, the incomplete last one left out.

    Overlap-save: each block is filtered with what went before it, and only its own part is kept.
    """
    before = round(_SETTLED * sample_rate)
    size = 1 << (before + stride - 1).bit_length()
    stride = (size - before) // step * step
    response = k_response(np.fft.rfftfreq(size, 1 / sample_rate), sample_rate)
    for start in range(0, samples.size // step * step, stride):
        first = max(0, start - before)
        piece = samples[first : start + stride]
        filtered = np.fft.irfft(np.fft.rfft(piece, size) * response, size)
        own = filtered[start - first : piece.size]
        yield own[: own.size // step * step].reshape(-1, step)
