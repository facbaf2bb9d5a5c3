"""HiFi-GAN on rows: frames in, samples out, a window of a sentence at a time and exact even so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voice_serving.engines.network.rows import Convolution, Rise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voice_serving.engines.xtts_v2.shape import XttsShape

CONTEXT: Final = 14
"""Frames on either side that a frame's samples depend on: 13.3 by the kernels' widths."""
UPSAMPLING: Final = ((16, 8), (16, 8), (4, 2), (4, 2))
"""Kernel and stride of each widening; coqui-tts knows no others for XTTS."""
KERNELS: Final = (3, 7, 11)
DILATIONS: Final = (1, 3, 5)
_SLOPE: Final = 0.1
_KERNEL: Final = 3
"""Dimensions of a convolution's weight."""


@dataclass(frozen=True, slots=True)
class Window:
    """Frames of one sentence, and which of them are wanted.

    The frames around the wanted ones are context: `CONTEXT` of them, or fewer where the sentence
    itself begins or ends.
    """

    frames: Tensor
    """[frames, width]."""
    voice: Tensor
    """[speaker width]."""
    skip: int
    """Frames of context before the wanted ones."""
    take: int
    """Wanted frames."""
    begins: bool
    """Whether the first frame is the sentence's first."""
    ends: bool
    """Whether the last frame is the sentence's last."""


class _Block(nn.Module):
    """Two convolutions and a shortcut, three times."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            Convolution(channels, channels, kernel, dilation=dilation) for dilation in DILATIONS
        )
        self.convs2 = nn.ModuleList(Convolution(channels, channels, kernel) for _ in DILATIONS)

    def forward(self, rows: Tensor) -> Tensor:
        for first, second in zip(self.convs1, self.convs2, strict=True):
            inner = F.leaky_relu_(first(F.leaky_relu(rows, _SLOPE)), _SLOPE)
            rows = second(inner).add_(rows)
        return rows


class Vocoder(nn.Module):
    """The generator, with coqui-tts's names of its weights."""

    def __init__(self, weights: Mapping[str, Tensor], shape: XttsShape, dtype: torch.dtype) -> None:
        super().__init__()
        channels = weights["conv_pre.weight"].shape[0]
        self.conv_pre = Convolution(shape.width, channels, 7)
        self.cond_layer = Convolution(shape.speaker_width, channels)
        self.ups = nn.ModuleList()
        self.conds = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for kernel, factor in UPSAMPLING:
            narrow = channels // 2
            self.ups.append(Rise(channels, narrow, kernel, factor))
            self.conds.append(Convolution(shape.speaker_width, narrow))
            self.resblocks.extend(_Block(narrow, width) for width in KERNELS)
            channels = narrow
        self.conv_post = Convolution(channels, 1, 7, bias=False)
        self.load_state_dict(
            {name: w[:, :, None] if w.ndim == _KERNEL else w for name, w in weights.items()}
        )
        self.requires_grad_(False)
        self.to(dtype)
        self._dtype = dtype
        self.hop = shape.hop

    def forward(self, frames: Tensor, voices: Tensor) -> Tensor:
        """Makes samples.

        Args:
            frames: [n, frames, width].
            voices: [n, speaker width].

        Returns:
            [n, frames * hop], in [-1, 1].
        """
        voice = voices[:, None].to(self._dtype)
        x = self.conv_pre(frames.to(self._dtype)) + self.cond_layer(voice)
        for number, (widen, condition) in enumerate(zip(self.ups, self.conds, strict=True)):
            x = widen(F.leaky_relu_(x, _SLOPE)).add_(condition(voice))
            blocks = self.resblocks[number * len(KERNELS) : (number + 1) * len(KERNELS)]
            total = blocks[0](x)
            for block in blocks[1:]:
                total.add_(block(x))
            x = total.div_(len(KERNELS))
        # The last one leaks less, as torch does unasked.
        samples: Tensor = torch.tanh(self.conv_post(F.leaky_relu_(x))[:, :, 0].float())
        return samples

    def speak(self, windows: Sequence[Window], multiple: int) -> list[Tensor]:
        """Makes the samples of several sentences' windows, those of one length together.

        Args:
            windows: In any order.
            multiple: Windows are widened to a multiple of so many frames, so that fewer shapes
                occur and more go together; 1 widens none.

        Returns:
            Of each window, [take * hop].
        """
        groups: dict[int, list[int]] = {}
        for index, window in enumerate(windows):
            groups.setdefault(_width(window, multiple), []).append(index)
        spoken: list[Tensor] = [torch.empty(0)] * len(windows)
        for width, indexes in groups.items():
            chosen = [windows[index] for index in indexes]
            # Beside a context that is whole, anything may stand. A sentence's own edge must be an
            # edge here as well: layers pad with zeros there, and a frame of zeros is not silent.
            lefts = [width - len(window.frames) if window.ends else 0 for window in chosen]
            frames = torch.stack(
                [
                    F.pad(window.frames, (0, 0, left, width - left - len(window.frames)))
                    for window, left in zip(chosen, lefts, strict=True)
                ]
            )
            samples = self(frames, torch.stack([window.voice for window in chosen]))
            for index, window, left, row in zip(indexes, chosen, lefts, samples, strict=True):
                start = (left + window.skip) * self.hop
                spoken[index] = row[start : start + window.take * self.hop]
        return spoken


def fused(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Multiplies out weight norm, in either way that torch has stored it."""
    plain: dict[str, Tensor] = {}
    for name, value in weights.items():
        for size, direction in (
            ("parametrizations.weight.original0", "parametrizations.weight.original1"),
            ("weight_g", "weight_v"),
        ):
            if name.endswith(f".{size}"):
                stem = name.removesuffix(size)
                plain[f"{stem}weight"] = torch._weight_norm(weights[stem + direction], value, 0)
                break
            if name.endswith(f".{direction}"):
                break
        else:
            plain[name] = value
    return plain


def _width(window: Window, multiple: int) -> int:
    frames = len(window.frames)
    if window.begins and window.ends:
        return frames
    return -(-frames // multiple) * multiple
