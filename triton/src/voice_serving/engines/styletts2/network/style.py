"""What a voice sounds like: a sample of it to a style vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voice_serving.engines.styletts2.network.layers import SLOPE

if TYPE_CHECKING:
    from voice_serving.engines.styletts2.network.shapes import Shape

_WINDOW: Final = 1200
_HOP: Final = 300
_TRANSFORM: Final = 2048
_FILTERS_FOR_HZ: Final = 16_000
"""The model was trained with mel filters for 16 kHz over audio at 24 kHz: kept as it is."""
_LOG_MEAN: Final = -4.0
_LOG_SPREAD: Final = 4.0
_QUIET_DB: Final = 30.0
_TRIM_FRAME: Final = 2048
_TRIM_HOP: Final = 512
_HALVINGS: Final = 4
_LAST_KERNEL: Final = 5
SHORTEST_SAMPLES: Final = (_LAST_KERNEL * 2**_HALVINGS - 1) * _HOP
"""The encoders' last convolution needs five steps of 16 hops: just under a second at 24 kHz."""


class StyleEncoder(nn.Module):
    """One half of a style from a mel spectrogram: the voice, or the manner."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        channels = shape.style_channels
        self.enter = nn.Conv2d(1, channels, 3, padding=1)
        self.blocks = nn.ModuleList()
        for _ in range(_HALVINGS):
            wider = min(2 * channels, shape.most_style_channels)
            self.blocks.append(_HalvingBlock(channels, wider))
            channels = wider
        self.leave = nn.Conv2d(channels, channels, _LAST_KERNEL)
        self.output = nn.Linear(channels, shape.half_style)

    def forward(self, mel: Tensor) -> Tensor:
        """`[B, mels, frames]` to `[B, half style]`."""
        image = self.enter(mel[:, None])
        for block in self.blocks:
            image = block(image)
        image = self.leave(F.leaky_relu(image, SLOPE))
        style: Tensor = self.output(F.leaky_relu(image.mean((2, 3)), SLOPE))
        return style


class _HalvingBlock(nn.Module):
    """A residual block that halves both sides of the image."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.halve = nn.Conv2d(inputs, inputs, 3, stride=2, padding=1, groups=inputs)
        self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else None

    def forward(self, image: Tensor) -> Tensor:
        around = image if self.shortcut is None else self.shortcut(image)
        if around.shape[-1] % 2:
            around = torch.cat([around, around[..., -1:]], dim=-1)
        around = F.avg_pool2d(around, 2)
        inner = self.halve(self.conv1(F.leaky_relu(image, SLOPE)))
        inner = self.conv2(F.leaky_relu(inner, SLOPE))
        return (around + inner) / 2**0.5


def mel_spectrogram(samples: Tensor, mels: int) -> Tensor:
    """Log mel energies as the encoders were trained on.

    Args:
        samples: Mono at 24 kHz, float32 `[n]`.
        mels: How many bands.

    Returns:
        `[mels, frames]`, 80 frames a second.
    """
    window = torch.hann_window(_WINDOW, device=samples.device)
    spectrum = torch.stft(
        samples, _TRANSFORM, _HOP, _WINDOW, window, center=True, return_complex=True
    )
    energies = _filters(mels).to(samples.device) @ spectrum.abs().square()
    return (torch.log(1e-5 + energies) - _LOG_MEAN) / _LOG_SPREAD


def _filters(mels: int) -> Tensor:
    """Triangles evenly spaced in mel (HTK's formula), not normalised; `[mels, bins]`."""
    bins = torch.linspace(0, _FILTERS_FOR_HZ / 2, _TRANSFORM // 2 + 1, dtype=torch.float64)
    highest = 2595 * torch.log10(torch.tensor(1 + _FILTERS_FOR_HZ / 2 / 700, dtype=torch.float64))
    corners = 700 * (10 ** (torch.linspace(0, 1, mels + 2).double() * highest / 2595) - 1)
    rising = (bins - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - bins) / (corners[2:] - corners[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()


def trimmed(samples: Tensor) -> Tensor:
    """Without the quiet at both ends: what lies 30 dB below the loudest frame.

    Args:
        samples: `[n]`, not all zero.

    Returns:
        A view, in whole hops of 512 samples as upstream cuts it.
    """
    padded = F.pad(samples, (_TRIM_FRAME // 2, _TRIM_FRAME // 2))
    power = padded.unfold(0, _TRIM_FRAME, _TRIM_HOP).square().mean(1)
    loud = torch.nonzero(power > power.max() * 10 ** (-_QUIET_DB / 10)).flatten()
    if loud.numel() == 0:
        return samples[:0]
    return samples[int(loud[0]) * _TRIM_HOP : (int(loud[-1]) + 1) * _TRIM_HOP]
