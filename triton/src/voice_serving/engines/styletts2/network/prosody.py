"""From phonemes to how long each lasts, and to the pitch and energy of every frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voice_serving.engines.network.rows import Convolution
from voice_serving.engines.styletts2.network.layers import (
    SLOPE,
    BothWays,
    StyledBlock,
    StyledLayerNorm,
    only_real,
    table,
)

if TYPE_CHECKING:
    from voice_serving.engines.styletts2.network.layers import Valid
    from voice_serving.engines.styletts2.network.shapes import Shape

_TEXT_KERNEL: Final = 5


class TextEncoder(nn.Module):
    """What the decoder hears of the text."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.symbols = table(shape.symbols, shape.hidden)
        self.convolutions = nn.ModuleList(
            Convolution(shape.hidden, shape.hidden, _TEXT_KERNEL) for _ in range(shape.text_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(shape.hidden) for _ in range(shape.text_layers))
        self.lstm = BothWays(shape.hidden, shape.hidden)

    def forward(self, tokens: Tensor, valid: Valid | None) -> Tensor:
        """`[B, N]` int64 to `[B, N, hidden]`."""
        rows = only_real(self.symbols(tokens), valid)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            rows = only_real(F.leaky_relu_(norm(convolution(rows)), SLOPE), valid)
        heard: Tensor = self.lstm(rows, valid)
        return heard


class DurationPredictor(nn.Module):
    """How long each phoneme lasts in this manner of speaking."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        style, hidden = shape.half_style, shape.hidden
        self.lstms = nn.ModuleList(
            BothWays(hidden + style, hidden) for _ in range(shape.prosody_layers)
        )
        self.norms = nn.ModuleList(
            StyledLayerNorm(style, hidden) for _ in range(shape.prosody_layers)
        )
        self.lstm = BothWays(hidden + style, hidden)
        self.output = nn.Linear(hidden, shape.longest_phoneme)

    def forward(
        self, features: Tensor, style: Tensor, valid: Valid | None
    ) -> tuple[Tensor, Tensor]:
        """Predicts.

        Args:
            features: Of PL-BERT, brought to `[B, N, hidden]`.
            style: The manner, `[B, half style]`.
            valid: What is real.

        Returns:
            The phonemes with the manner in them, `[B, N, hidden + half style]`, and the frames that
            each would last, not yet whole, `[B, N]`.
        """
        manner = style[:, None].expand(-1, features.shape[1], -1)
        rows = only_real(torch.cat([features, manner], dim=-1), valid)
        for lstm, norm in zip(self.lstms, self.norms, strict=True):
            rows = torch.cat([norm(lstm(rows, valid), style), manner], dim=-1)
            rows = only_real(rows, valid)
        frames = torch.sigmoid(self.output(self.lstm(rows, valid))).sum(-1)
        return rows, frames


class CurvePredictor(nn.Module):
    """Pitch and energy, two steps a frame."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        style, hidden = shape.half_style, shape.hidden
        self.shared = BothWays(hidden + style, hidden)

        def curve() -> nn.ModuleList:
            return nn.ModuleList(
                [
                    StyledBlock(hidden, hidden, style),
                    StyledBlock(hidden, hidden // 2, style, double=True),
                    StyledBlock(hidden // 2, hidden // 2, style),
                ]
            )

        self.pitch, self.energy = curve(), curve()
        self.pitch_output = nn.Linear(hidden // 2, 1)
        self.energy_output = nn.Linear(hidden // 2, 1)

    def forward(
        self, rows: Tensor, style: Tensor, valid: Valid | None
    ) -> tuple[Tensor, Tensor, Valid | None]:
        """Predicts.

        Args:
            rows: A row for every frame, `[B, T, hidden + half style]`.
            style: The manner.
            valid: What is real.

        Returns:
            The pitch in Hz (below 10 is unvoiced) and the energy, both `[B, 2T]` and zero beyond
            each end, and what is real in them.
        """
        shared = self.shared(rows, valid)
        curves = []
        for blocks, output in (
            (self.pitch, self.pitch_output),
            (self.energy, self.energy_output),
        ):
            inner, real = shared, valid
            for block in blocks:
                inner, real = block(inner, style, real)
            curves.append(only_real(output(inner), real).squeeze(-1))
        return curves[0], curves[1], real


def frame_index(durations: Tensor, frames: int) -> Tensor:
    """Which phoneme each frame belongs to.

    The decoder was trained one frame late, so the first frame comes twice and the last is dropped.

    Args:
        durations: Whole frames of each phoneme, 0 beyond each end; int64 `[B, N]`.
        frames: How many to index: at least the longest sequence has.

    Returns:
        int64 `[B, frames]`; beyond a sequence's end, some phoneme or other.
    """
    ends = durations.cumsum(dim=1)
    steps = torch.arange(frames, device=durations.device).sub_(1).clamp_(min=0)
    index = torch.searchsorted(ends, steps.expand(len(ends), -1).contiguous(), right=True)
    return index.clamp_(max=durations.shape[1] - 1)


def spread(rows: Tensor, index: Tensor) -> Tensor:
    """Repeats phonemes over their frames: `[B, N, C]` by `[B, T]` to `[B, T, C]`."""
    return rows.gather(1, index[:, :, None].expand(-1, -1, rows.shape[2]))
