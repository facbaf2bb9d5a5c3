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
_POST: Final = 7
_SLOPE: Final = 0.1
_KERNEL: Final = 3
"""Dimensions of a convolution's weight."""


def _context_after() -> tuple[int, ...]:
    """Rows to either side of a sample's own that what follows looks at, after each widening."""
    block = sum(dilation + 1 for dilation in DILATIONS) * (max(KERNELS) // 2)
    rows = [_POST // 2]
    for _, factor in reversed(UPSAMPLING[1:]):
        rows.append(-(-(rows[-1] + block) // factor) + 1)
    return tuple(reversed(rows))


AFTER: Final = _context_after()
"""At 8, 64, 128 and 256 rows a frame: two frames, then parts of one."""


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
        self.conv_post = Convolution(channels, 1, _POST, bias=False)
        self.load_state_dict(
            {name: w[:, :, None] if w.ndim == _KERNEL else w for name, w in weights.items()}
        )
        self.requires_grad_(False)
        self.to(dtype)
        self._dtype = dtype
        self.hop = shape.hop

    def forward(
        self, frames: Tensor, voices: Tensor, wanted: tuple[int, int] | None = None
    ) -> Tensor:
        """Makes samples.

        Args:
            frames: [n, frames, width].
            voices: [n, speaker width].
            wanted: The first frame whose samples are wanted, and the one after the last; all
                without.

        Returns:
            [n, wanted frames * hop], in [-1, 1].
        """
        voice = voices[:, None].to(self._dtype)
        x = self.conv_pre(frames.to(self._dtype)) + self.cond_layer(voice)
        first, end = wanted or (0, frames.shape[1])
        at = 0  # the number of x's first row, at its rate
        for number, (_, factor) in enumerate(UPSAMPLING):
            x = self._rise(number, x, voice)
            # The higher rates are most of the work and look at little beside the wanted rows: the
            # rest of the context is left behind.
            first, end, at = first * factor, end * factor, at * factor
            start = max(at, first - AFTER[number])
            x, at = x[:, start - at : end + AFTER[number] - at], start
        # The last one leaks less, as torch does unasked.
        samples: Tensor = torch.tanh(self.conv_post(F.leaky_relu_(x))[:, :, 0].float())
        return samples[:, first - at : end - at]

    def _rise(self, number: int, x: Tensor, voice: Tensor) -> Tensor:
        """Takes rows to the next rate."""
        x = self.ups[number](F.leaky_relu_(x, _SLOPE)).add_(self.conds[number](voice))
        blocks = self.resblocks[number * len(KERNELS) : (number + 1) * len(KERNELS)]
        total: Tensor = blocks[0](x)
        for block in blocks[1:]:
            total.add_(block(x))
        return total.div_(len(KERNELS))

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
            starts = [left + window.skip for window, left in zip(chosen, lefts, strict=True)]
            ends = [start + window.take for window, start in zip(chosen, starts, strict=True)]
            voices = torch.stack([window.voice for window in chosen])
            samples = self(frames, voices, (min(starts), max(ends)))
            for index, window, start, row in zip(indexes, chosen, starts, samples, strict=True):
                before = (start - min(starts)) * self.hop
                spoken[index] = row[before : before + window.take * self.hop]
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
