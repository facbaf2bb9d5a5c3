"""From phonemes, pitch and energy to samples: nine tenths of all the work.

The pitch becomes a sum of sines (`source`), which the generator shapes at four rates on the way up
to 24 kHz. Everything between the norms' statistics is linear or a sine, so the constants around it
are folded into the weights when the checkpoint is converted (`checkpoint`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from voice_serving.engines.network.rows import Convolution, Rise
from voice_serving.engines.styletts2.network.layers import (
    StyledBlock,
    StyledNorm,
    only_real,
    snake,
)
from voice_serving.engines.styletts2.network.source import HarmonicSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_serving.engines.styletts2.network.layers import Valid
    from voice_serving.engines.styletts2.network.shapes import DecoderShape

_NOISE_KERNEL, _LAST_NOISE_KERNEL = 7, 11
_NOISE_DILATIONS = (1, 3, 5)
_BLOCKS = 4
_OUTPUT_KERNEL = 7


class Decoder(nn.Module):
    """A sequence of frames to its samples."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        style, width = shape.style, shape.width
        self.pitch_down = Convolution(1, 1, 3, stride=2)
        self.energy_down = Convolution(1, 1, 3, stride=2)
        self.remind = Convolution(shape.hidden, shape.residual)
        self.enter = StyledBlock(shape.hidden + 2, width, style)
        reminded = width + shape.residual + 2
        self.blocks = nn.ModuleList(StyledBlock(reminded, width, style) for _ in range(_BLOCKS - 1))
        self.blocks.append(StyledBlock(reminded, shape.channels, style, double=True))
        self.generator = Generator(shape)

    def forward(
        self,
        phonemes: Tensor,
        pitch: Tensor,
        energy: Tensor,
        style: Tensor,
        noise: Tensor,
        valid: Valid | None,
    ) -> Tensor:
        """Decodes.

        Args:
            phonemes: Of every frame, float32 `[B, T, hidden]`.
            pitch: Hz, float32 `[B, 2T]`.
            energy: Of every half frame, float32 `[B, 2T]`.
            style: The voice, float32 `[B, half style]`.
            noise: Standard normal, float32 `[B, harmonics, 2T · factor]`.
            valid: What is real among the T frames.

        Returns:
            Samples in [-1, 1] at 24 kHz, float32 `[B, 2T · factor]`.
        """
        work = self.remind.weight.dtype
        phonemes = phonemes.to(work)
        low_pitch = self.pitch_down(pitch[:, :, None].to(work))
        low_energy = self.energy_down(energy[:, :, None].to(work))
        reminder = [self.remind(phonemes), low_pitch, low_energy]
        rows, real = self.enter(torch.cat([phonemes, low_pitch, low_energy], dim=-1), style, valid)
        for block in self.blocks:
            rows, real = block(torch.cat([rows, *reminder], dim=-1), style, valid)
        samples: Tensor = self.generator(rows, pitch, style, noise, real)
        return samples


class Generator(nn.Module):
    """Shapes the source at ever higher rates."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.source = HarmonicSource(shape.factor)
        self.rises = nn.ModuleList()
        self.listeners = nn.ModuleList()
        self.shapers = nn.ModuleList()
        self.resonators = nn.ModuleList()
        self.turns = nn.ParameterList([nn.Parameter(torch.empty(shape.channels))])
        channels, remaining = shape.channels, shape.factor
        for number, (factor, kernel) in enumerate(
            zip(shape.rises, shape.rise_kernels, strict=True), start=1
        ):
            self.rises.append(Rise(channels, channels // 2, kernel, factor))
            channels, remaining = channels // 2, remaining // factor
            last = number == len(shape.rises)
            self.listeners.append(
                Convolution(1, channels)
                if last
                else Convolution(
                    1,
                    channels,
                    2 * remaining,
                    stride=remaining,
                    padding=(remaining + 1) // 2,
                )
            )
            self.shapers.append(
                Resonator(
                    channels,
                    _LAST_NOISE_KERNEL if last else _NOISE_KERNEL,
                    _NOISE_DILATIONS,
                    shape.style,
                )
            )
            self.resonators.append(
                nn.ModuleList(
                    Resonator(channels, kernel, dilations, shape.style)
                    for kernel, dilations in zip(shape.kernels, shape.dilations, strict=True)
                )
            )
            self.turns.append(nn.Parameter(torch.empty(channels)))
        self.output = Convolution(channels, 1, _OUTPUT_KERNEL)

    def forward(
        self, rows: Tensor, pitch: Tensor, style: Tensor, noise: Tensor, valid: Valid | None
    ) -> Tensor:
        """See `Decoder.forward`; `valid` is in steps of the pitch curve."""
        source = self.source(pitch, noise, valid)[:, :, None].to(rows.dtype)
        for rise, turn, listener, shaper, resonators in zip(
            self.rises, self.turns, self.listeners, self.shapers, self.resonators, strict=False
        ):
            rows = rise(only_real(snake(rows * turn), valid))
            valid = None if valid is None else valid.stretched(cast("Rise", rise).factor)
            rows += shaper(listener(source), style, valid)
            # The mean of the resonators: the division is in the next turn.
            first, *others = cast("nn.ModuleList", resonators)
            heard = first(rows, style, valid)
            for resonator in others:
                heard += resonator(rows, style, valid)
            rows = heard
        rows = only_real(snake(rows * self.turns[-1]), valid)
        return torch.tanh(self.output(rows).squeeze(-1).float())


class Resonator(nn.Module):
    """Pairs of dilated convolutions with sines before them, each pair with a way around."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int], style: int) -> None:
        super().__init__()
        self.wide = nn.ModuleList(
            Convolution(channels, channels, kernel, dilation=dilation) for dilation in dilations
        )
        self.narrow = nn.ModuleList(Convolution(channels, channels, kernel) for _ in dilations)
        self.wide_norms = nn.ModuleList(StyledNorm(style, channels) for _ in dilations)
        self.narrow_norms = nn.ModuleList(StyledNorm(style, channels) for _ in dilations)

    def forward(self, rows: Tensor, style: Tensor, valid: Valid | None) -> Tensor:
        """`[B, T, C]` to the same."""
        for wide_norm, wide, narrow_norm, narrow in zip(
            self.wide_norms, self.wide, self.narrow_norms, self.narrow, strict=True
        ):
            inner = wide(snake(wide_norm(rows, style, valid)))
            inner = narrow(snake(narrow_norm(inner, style, valid)))
            rows = inner.add_(rows)
        return rows
