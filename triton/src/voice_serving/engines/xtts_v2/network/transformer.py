"""The GPT: a stack of layers over a cache of keys and values that never moves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voice_serving.engines.xtts_v2.network.linear import dtype_of, linear_maker
from voice_serving.engines.xtts_v2.settings import Precision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voice_serving.engines.xtts_v2.shape import XttsShape

_NEVER: Final = float("-inf")


class Layer(nn.Module):
    """One layer of GPT-2, before-norm, of a checkpoint's own weights."""

    def __init__(self, weights: Mapping[str, Tensor], heads: int, precision: Precision) -> None:
        super().__init__()
        make = linear_maker(precision)
        self.heads = heads
        self.before = _norm(weights, "ln_1")
        self.between = _norm(weights, "ln_2")

        # GPT-2 keeps its matrices as [in, out].
        def linear(name: str) -> nn.Module:
            return make(weights[f"{name}.weight"].t(), weights[f"{name}.bias"])

        self.qkv = linear("attn.c_attn")
        self.out = linear("attn.c_proj")
        self.wide = linear("mlp.c_fc")
        self.narrow = linear("mlp.c_proj")

    def queries(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[n, m, width] → queries, keys and values, each [n, heads, m, width of a head]."""
        n, m, _ = x.shape
        qkv: Tensor = self.qkv(self.before(x))
        q, k, v = qkv.view(n, m, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return q, k, v

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Adds what was attended to, [n, heads, m, width of a head], and the feed-forward."""
        n, m, width = x.shape
        x = x + self.out(attended.transpose(1, 2).reshape(n, m, width))
        hidden = F.gelu(self.wide(self.between(x)), approximate="tanh")
        out: Tensor = x + self.narrow(hidden)
        return out


class Transformer(nn.Module):
    """All layers, and room for the keys and values of `slots` sentences.

    A sentence has a slot, its positions are filled from 0, and nothing is ever moved: positions
    beyond a sentence's length hold what an earlier one left, and are masked.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        shape: XttsShape,
        precision: Precision,
        slots: int,
        length: int,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Layer(_under(weights, f"gpt.gpt.h.{number}."), shape.heads, precision)
            for number in range(shape.layers)
        )
        self.last = _norm(weights, "gpt.gpt.ln_f")
        self.final = _norm(weights, "gpt.final_norm")
        self._scale = 1 / math.sqrt(shape.width // shape.heads)
        self.length = length
        device = weights["gpt.final_norm.weight"].device
        room = (shape.layers, 2, slots, shape.heads, self.length, shape.width // shape.heads)
        # A CPU multiplies few half numbers slowly; a GPU reads them in half the time.
        halves = device.type == "cuda" and precision is not Precision.INT8
        dtype = dtype_of(precision) if halves else torch.float32
        cache = torch.zeros(room, dtype=dtype, device=device)
        self.register_buffer("cache", cache, persistent=False)
        self.register_buffer("places", torch.arange(self.length, device=device), persistent=False)
        self.cache: Tensor
        self.places: Tensor

    def extend(self, slot: int, start: int, x: Tensor) -> Tensor:
        """Reads several positions of one sentence at once.

        Args:
            slot: The sentence's place.
            start: How many positions it has already.
            x: Embeddings, [m, width].

        Returns:
            Latents of those positions, [m, width].
        """
        m = x.shape[0]
        end = start + m
        allowed = self.places[:end] <= self.places[start:end, None]
        x = x[None]
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            q, k, v = layer.queries(x)
            keys, values = self.cache[number, :, slot]
            keys[:, start:end] = k[0]
            values[:, start:end] = v[0]
            attended = F.scaled_dot_product_attention(
                q.to(keys.dtype), keys[None, :, :end], values[None, :, :end], attn_mask=allowed
            )
            x = layer.finish(x, attended.float())
        return self._latents(x)[0]

    def step(self, lengths: Tensor, x: Tensor, reach: int) -> Tensor:
        """Reads one position more of the sentences in the first slots.

        Args:
            lengths: How many positions each has already, [n].
            x: Embeddings, [n, width].
            reach: More than the longest has; attention looks so far.

        Returns:
            Latents, [n, width].
        """
        n = x.shape[0]
        rows = self.places[:n]
        beyond = self.places[:reach] > lengths[:, None]
        mask = torch.zeros(n, 1, 1, reach, device=x.device).masked_fill_(
            beyond[:, None, None], _NEVER
        )
        x = x[:, None]
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            q, k, v = layer.queries(x)
            keys, values = self.cache[number, :, :n]
            keys[rows, :, lengths] = k[:, :, 0].to(keys.dtype)
            values[rows, :, lengths] = v[:, :, 0].to(values.dtype)
            asked = (q * self._scale).to(keys.dtype)
            scores = torch.matmul(asked, keys[:, :, :reach].transpose(2, 3)).float() + mask
            weights = torch.softmax(scores, dim=-1).to(values.dtype)
            x = layer.finish(x, torch.matmul(weights, values[:, :, :reach]).float())
        return self._latents(x)[:, 0]

    def move(self, source: int, target: int, length: int) -> None:
        """Copies a sentence's first positions to another slot."""
        self.cache[:, :, target, :, :length] = self.cache[:, :, source, :, :length]

    def read(self, slot: int, length: int) -> Tensor:
        """A copy of a slot's first positions, [layers, 2, heads, length, width of a head]."""
        return self.cache[:, :, slot, :, :length].clone()

    def write(self, slot: int, positions: Tensor) -> None:
        """Puts back what `read` gave."""
        self.cache[:, :, slot, :, : positions.shape[3]] = positions

    def _latents(self, x: Tensor) -> Tensor:
        latents: Tensor = self.final(self.last(x))
        return latents


def _norm(weights: Mapping[str, Tensor], name: str) -> nn.LayerNorm:
    norm = nn.LayerNorm(weights[f"{name}.weight"].shape[0])
    norm.weight = nn.Parameter(weights[f"{name}.weight"].float(), requires_grad=False)
    norm.bias = nn.Parameter(weights[f"{name}.bias"].float(), requires_grad=False)
    return norm


def _under(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }
