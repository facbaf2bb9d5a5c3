"""Layers on rows: every sequence here is `[batch, time, channels]`, contiguous.

On rows (see `engines.network.rows`) a norm over time is a plain sum as well.

Sequences of unequal length share a batch by being padded, and a `Valid` says what is real. Every
layer that looks sideways (a norm over time, a convolution, the backward half of an LSTM) sees zeros
or nothing beyond a sequence's end, exactly as if it were alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voice_serving.engines.network.rows import Convolution, as_image, as_rows

_EPSILON = 1e-5
_GROUPS = 20
SLOPE = 0.2
"""Of every leaky ReLU in the model."""


@dataclass(frozen=True, slots=True)
class Valid:
    """What is real in a padded batch."""

    lengths: Tensor
    """Real steps of each sequence, at least 1; int64 `[batch]`."""
    mask: Tensor
    """True where real; `[batch, time, 1]`."""

    @classmethod
    def of(cls, lengths: Tensor, longest: int) -> Valid:
        """The mask of sequences padded to `longest` steps."""
        steps = torch.arange(longest, device=lengths.device)
        return cls(lengths, (steps < lengths[:, None])[:, :, None])

    def stretched(self, factor: int) -> Valid:
        """The same after every step has become `factor` steps."""
        return Valid.of(self.lengths * factor, self.mask.shape[1] * factor)


def only_real(rows: Tensor, valid: Valid | None) -> Tensor:
    """Zeros beyond each sequence's end; `None` means that all is real."""
    return rows if valid is None else rows.masked_fill(~valid.mask, 0.0)


def table(rows: int, columns: int) -> nn.Embedding:
    """A table that a checkpoint fills.

    torch's own constructor draws numbers, and on the device `meta` imports the compiler for that:
    it takes seconds, and fails where the working folder has a `triton` that is not the compiler's.
    """
    return nn.Embedding.from_pretrained(torch.empty(rows, columns))


class StyledNorm(nn.Module):
    """Normalises each channel over time, then scales and shifts it as the style says.

    The checkpoint's `1 + gamma` is folded into `affine` (see `checkpoint`), and so is the frequency
    of a sine that follows.
    """

    def __init__(self, style: int, channels: int) -> None:
        super().__init__()
        self.affine = nn.Linear(style, 2 * channels)

    def forward(self, rows: Tensor, style: Tensor, valid: Valid | None) -> Tensor:
        """Normalises over the real steps.

        Args:
            rows: `[B, T, C]`, float32 or bfloat16.
            style: `[B, style]`, float32.
            valid: What is real.

        Returns:
            `[B, T, C]` in the type of `rows`, zero beyond each end.
        """
        scale, shift = self.affine(style).chunk(2, dim=-1)
        if valid is None and rows.shape[0] == 1:
            if rows.dtype == torch.bfloat16 or rows.device.type != "cpu":
                return as_rows(
                    F.batch_norm(
                        as_image(rows), None, None, scale[0], shift[0], training=True, eps=_EPSILON
                    )
                )
            if rows.shape[1] % _GROUPS == 0:
                return _normalised_in_groups(rows, scale[0], shift[0])
        count = rows.shape[1] if valid is None else valid.lengths[:, None, None]
        real = only_real(rows, valid).float()
        centred = only_real(real - real.sum(1, keepdim=True) / count, valid)
        variance = centred.square().sum(1, keepdim=True) / count
        factor = torch.rsqrt(variance + _EPSILON) * scale[:, None]
        return only_real(torch.addcmul(shift[:, None], centred, factor), valid).to(rows.dtype)


def _normalised_in_groups(rows: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Normalises one sequence on a CPU, `[1, T, C]` with T a multiple of the groups.

    torch's batch norm of rows is fast, since it reads them as they lie, but adds them up one after
    the other: over 100 000 rows five digits remain. So every 20th row makes a channel of its own,
    and the parts' statistics are put together.
    """
    channels = rows.shape[2]
    apart = as_image(rows.view(1, -1, _GROUPS * channels))
    means, variances = (
        each.view(_GROUPS, channels) for each in torch.batch_norm_update_stats(apart, None, None, 0)
    )
    mean = means.mean(0)
    variance = variances.mean(0) + (means - mean).square().mean(0)
    return as_rows(F.batch_norm(as_image(rows), mean, variance, scale, shift, eps=_EPSILON))


def snake(turned: Tensor) -> Tensor:
    """`z + sin²(z)`, over its input.

    The model's `x + sin²(ax)/a` is this of `z = ax`, divided by `a`: the norm before brings `a` in
    and the convolution after takes it out.
    """
    sine = torch.sin(turned)
    return turned.addcmul_(sine, sine)


class StyledBlock(nn.Module):
    """A residual block of two convolutions, the style in both norms; may double the steps."""

    def __init__(self, inputs: int, outputs: int, style: int, *, double: bool = False) -> None:
        super().__init__()
        self.norm1 = StyledNorm(style, inputs)
        self.norm2 = StyledNorm(style, outputs)
        self.conv1 = Convolution(inputs, outputs, 3)
        self.conv2 = Convolution(outputs, outputs, 3)
        self.doubling = Doubling(inputs) if double else None
        self.shortcut = Convolution(inputs, outputs, bias=False) if inputs != outputs else None

    def forward(
        self, rows: Tensor, style: Tensor, valid: Valid | None
    ) -> tuple[Tensor, Valid | None]:
        """Returns `[B, T, out]`, or `[B, 2T, out]`, and what is real in it."""
        inner = F.leaky_relu_(self.norm1(rows, style, valid), SLOPE)
        if self.doubling is not None:
            valid = None if valid is None else valid.stretched(2)
            inner = only_real(self.doubling(inner), valid)
            rows = rows.repeat_interleave(2, dim=1)
        inner = self.conv1(inner)
        inner = F.leaky_relu_(self.norm2(inner, style, valid), SLOPE)
        inner = self.conv2(inner)
        # Both ways carry half of the energy; where a convolution does it, it is in its weights.
        if self.shortcut is None:
            return inner.add_(rows, alpha=2**-0.5), valid
        return inner.add_(self.shortcut(rows)), valid


class Doubling(nn.Module):
    """Two steps from each, every channel by itself: a transposed convolution of three taps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.empty(3, channels))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, rows: Tensor) -> Tensor:
        """`[B, T, C] → [B, 2T, C]`; `rows` must be zero beyond each end."""
        after = F.pad(rows[:, 1:], (0, 0, 0, 1))
        even = torch.addcmul(self.bias, rows, self.taps[1])
        odd = torch.addcmul(self.bias, rows, self.taps[2]).addcmul_(after, self.taps[0])
        return torch.stack([even, odd], dim=2).flatten(1, 2)


class StyledLayerNorm(nn.Module):
    """Normalises each step over its channels, then scales and shifts as the style says."""

    def __init__(self, style: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.affine = nn.Linear(style, 2 * channels)

    def forward(self, rows: Tensor, style: Tensor) -> Tensor:
        """`[B, T, C]` to the same; `style` is `[B, style]`."""
        scale, shift = self.affine(style)[:, None].chunk(2, dim=-1)
        return torch.addcmul(shift, F.layer_norm(rows, (self.channels,)), scale)


class BothWays(nn.Module):
    """A bidirectional LSTM; the backward half begins at each sequence's own end."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(inputs, outputs // 2, batch_first=True)
        self.backwards = nn.LSTM(inputs, outputs // 2, batch_first=True)

    def forward(self, rows: Tensor, valid: Valid | None) -> Tensor:
        """`[B, T, in] → [B, T, out]`, zero beyond each end."""
        ahead = self.forwards(rows)[0]
        back = _reversed(self.backwards(_reversed(rows, valid))[0], valid)
        return only_real(torch.cat([ahead, back], dim=-1), valid)


def _reversed(rows: Tensor, valid: Valid | None) -> Tensor:
    if valid is None:
        return rows.flip(1)
    steps = torch.arange(rows.shape[1], device=rows.device)
    mirrored = valid.lengths[:, None] - 1 - steps
    # Beyond the end everything stays in place, where nobody reads it.
    index = torch.where(mirrored >= 0, mirrored, steps)
    return rows.gather(1, index[:, :, None].expand(-1, -1, rows.shape[2]))
