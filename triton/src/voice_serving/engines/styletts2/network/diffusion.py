"""The style diffusion: a style for this very text, drawn near the sample's own.

A denoiser (a small transformer over PL-BERT's features) and the sampler ADPM2 on Karras's schedule,
with the constants of the model's authors. All noise comes from outside, so that a request's noise
never depends on its neighbours in the batch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voice_serving.engines.styletts2.network.layers import StyledLayerNorm, table

if TYPE_CHECKING:
    from voice_serving.engines.styletts2.network.layers import Valid
    from voice_serving.engines.styletts2.network.shapes import DiffusionShape

_SIGMA_MIN, _SIGMA_MAX, _RHO = 1e-4, 3.0, 9.0


class Denoiser(nn.Module):
    """What remains when the noise is taken away."""

    def __init__(self, shape: DiffusionShape) -> None:
        super().__init__()
        width = shape.width
        self.sigma_data = shape.sigma_data
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.layers))
        self.frequencies = nn.Parameter(torch.empty(shape.style // 2))
        self.from_time = nn.Linear(shape.style + 1, width)
        self.from_style = nn.Linear(shape.style, width)
        self.mapping1 = nn.Linear(width, width)
        self.mapping2 = nn.Linear(width, width)
        self.unconditional = table(shape.positions, shape.embedding)
        self.output = nn.Linear(width, shape.style)

    def forward(
        self,
        noisy: Tensor,
        sigma: float,
        features: Tensor,
        reference: Tensor,
        scale: Tensor | None,
        valid: Valid | None,
    ) -> Tensor:
        """Estimates the clean style.

        Args:
            noisy: `[B, style]`.
            sigma: Standard deviation of the noise in it.
            features: Of the text, `[B, N, embedding]`, in the weights' type.
            reference: The sample's style, `[B, style]`, in the weights' type.
            scale: How far to go from "any text" to this text, `[B, 1]`; None is 1 for all.
            valid: What is real among the N tokens.
        """
        spread = sigma**2 + self.sigma_data**2
        time = torch.full((noisy.shape[0], 1), math.log(sigma) / 4, device=noisy.device)
        mapping = self._mapping(time, reference)
        given = (noisy * spread**-0.5).to(features.dtype)
        clean = self._run(given, features, reference, mapping, valid)
        if scale is not None:
            anything = self.unconditional.weight[: features.shape[1]].expand_as(features)
            unguided = self._run(given, anything, reference, mapping, valid)
            clean = unguided + (clean - unguided) * scale
        return noisy * (self.sigma_data**2 / spread) + clean * (
            sigma * self.sigma_data * spread**-0.5
        )

    def _mapping(self, time: Tensor, reference: Tensor) -> Tensor:
        turns = time * self.frequencies * (2 * math.pi)
        waves = torch.cat([time, turns.sin(), turns.cos()], dim=-1).to(self.from_time.weight.dtype)
        both = F.gelu(self.from_time(waves)) + F.gelu(self.from_style(reference))
        return F.gelu(self.mapping2(F.gelu(self.mapping1(both))))

    def _run(
        self,
        given: Tensor,
        features: Tensor,
        reference: Tensor,
        mapping: Tensor,
        valid: Valid | None,
    ) -> Tensor:
        spread = given[:, None].expand(-1, features.shape[1], -1)
        rows = torch.cat([spread, features], dim=-1)
        for block in self.blocks:
            rows = block(rows + mapping[:, None], reference, valid)
        if valid is None:
            mean = rows.mean(dim=1)
        else:
            mean = rows.masked_fill(~valid.mask, 0.0).sum(1) / valid.lengths[:, None]
        return self.output(mean).float()


class _Block(nn.Module):
    """Self-attention and a feed-forward layer, both with a way around."""

    def __init__(self, shape: DiffusionShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.norm = StyledLayerNorm(shape.style, shape.width)
        self.norm_context = StyledLayerNorm(shape.style, shape.width)
        self.query = nn.Linear(shape.width, shape.attention, bias=False)
        self.key_value = nn.Linear(shape.width, 2 * shape.attention, bias=False)
        self.gather = nn.Linear(shape.attention, shape.width)
        self.inner = nn.Linear(shape.width, shape.width * shape.multiplier)
        self.outer = nn.Linear(shape.width * shape.multiplier, shape.width)

    def forward(self, rows: Tensor, reference: Tensor, valid: Valid | None) -> Tensor:
        """`[B, N, width]` to the same."""
        query = self.query(self.norm(rows, reference))
        key, value = self.key_value(self.norm_context(rows, reference)).chunk(2, dim=-1)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)
        )
        allowed = None if valid is None else valid.mask[:, None, None, :, 0]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        rows = rows + self.gather(mixed.transpose(1, 2).flatten(2))
        return rows + self.outer(F.gelu(self.inner(rows)))


def sigmas(steps: int) -> list[float]:
    """The noise levels of `steps` steps, falling; at least 2 of them."""
    low, high = _SIGMA_MIN ** (1 / _RHO), _SIGMA_MAX ** (1 / _RHO)
    return [(high + step / (steps - 1) * (low - high)) ** _RHO for step in range(steps)]


def sample_style(
    denoiser: Denoiser,
    noise: Tensor,
    features: Tensor,
    reference: Tensor,
    scale: Tensor | None,
    valid: Valid | None,
) -> Tensor:
    """Draws a style.

    One step is a single estimate from pure noise; upstream's schedule is not defined there.

    Args:
        denoiser: The network.
        noise: Standard normal, `[steps, B, style]`; its first dimension says how many steps.
        features: See `Denoiser.forward`, as for all that follows.
        reference: The sample's style.
        scale: Guidance.
        valid: What is real.

    Returns:
        `[B, style]`.
    """

    def clean(noisy: Tensor, sigma: float) -> Tensor:
        estimate: Tensor = denoiser(noisy, sigma, features, reference, scale, valid)
        return estimate

    style = noise[0] * _SIGMA_MAX
    if noise.shape[0] == 1:
        return clean(style, _SIGMA_MAX)
    levels = sigmas(noise.shape[0])
    for sigma, lower, fresh in zip(levels, levels[1:], noise[1:], strict=False):
        up = math.sqrt(lower**2 * (sigma**2 - lower**2) / sigma**2)
        down = math.sqrt(lower**2 - up**2)
        middle = (sigma + down) / 2
        slope = (style - clean(style, sigma)) / sigma
        halfway = style + slope * (middle - sigma)
        slope = (halfway - clean(halfway, middle)) / middle
        style = style + slope * (down - sigma) + fresh * up
    return style
