"""Samples to mel spectrograms and other rates, as torchaudio does both.

torchaudio itself is not needed for that, and its wheel is linked against CUDA.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

_ROLLOFF: Final = 0.99
_LOBES: Final = 6
"""Of the windowed sinc, on either side."""


def resample(samples: Tensor, rate: int, wanted: int) -> Tensor:
    """Brings samples [n] from one rate to another, both in Hz."""
    if rate == wanted:
        return samples
    divisor = math.gcd(rate, wanted)
    old, new = rate // divisor, wanted // divisor
    base = min(old, new) * _ROLLOFF
    width = math.ceil(_LOBES * old / base)
    offsets = torch.arange(-width, width + old, dtype=torch.float64) / old
    phases = torch.arange(0, -new, -1, dtype=torch.float64)[:, None] / new
    times = ((phases + offsets) * base).clamp(-_LOBES, _LOBES)
    window = torch.cos(times * math.pi / _LOBES / 2) ** 2
    kernels = torch.sinc(times) * window * (base / old)
    padded = F.pad(samples[None, None], (width, width + old))
    out = F.conv1d(padded, kernels[:, None].to(samples), stride=old)
    return out[0].t().reshape(-1)[: math.ceil(new * len(samples) / old)]


def power_spectrogram(samples: Tensor, window: Tensor, fft: int, hop: int) -> Tensor:
    """Of samples [n]: [fft / 2 + 1, frames]."""
    spectrum = torch.stft(
        samples, fft, hop, len(window), window, center=True, pad_mode="reflect", return_complex=True
    )
    return spectrum.abs().square()


def mel_filters(fft: int, rate: int, mels: int, highest: float) -> Tensor:
    """Triangles on the HTK scale, of equal area each: [mels, fft / 2 + 1]."""
    frequencies = torch.linspace(0, rate // 2, fft // 2 + 1)
    top = 2595.0 * math.log10(1.0 + highest / 700.0)
    corners = 700.0 * (10.0 ** (torch.linspace(0.0, top, mels + 2) / 2595.0) - 1.0)
    widths = corners.diff()
    slopes = corners[None, :] - frequencies[:, None]
    rising = -slopes[:, :-2] / widths[:-1]
    falling = slopes[:, 2:] / widths[1:]
    triangles = torch.minimum(rising, falling).clamp(min=0)
    area = 2.0 / (corners[2:] - corners[:-2])
    return (triangles * area).t().contiguous()
