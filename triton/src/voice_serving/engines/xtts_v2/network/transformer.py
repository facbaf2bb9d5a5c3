"""The GPT: a stack of layers over a cache of keys and values."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from voice_serving.engines.xtts_v2.network.cache import SlotCache
from voice_serving.engines.xtts_v2.network.linear import Linear, dtype_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from voice_serving.engines.xtts_v2.settings import Precision
    from voice_serving.engines.xtts_v2.shape import XttsShape

_NEVER: Final = float("-inf")


class Layer:
    """One layer of GPT-2, before-norm, of a checkpoint's own weights."""

    def __init__(self, weights: Mapping[str, Tensor], heads: int, precision: Precision) -> None:
        dtype = dtype_of(precision)
        self.heads = heads
        self.before = _Norm(weights, "ln_1")
        self.between = _Norm(weights, "ln_2")

        # GPT-2 keeps its matrices as [in, out].
        def linear(name: str) -> Linear:
            return Linear(weights[f"{name}.weight"].t(), weights[f"{name}.bias"], dtype)

        self.qkv = linear("attn.c_attn")
        self.out = linear("attn.c_proj")
        self.wide = linear("mlp.c_fc")
        self.narrow = linear("mlp.c_proj")

    def queries(self, x: Tensor) -> Tensor:
        """[n, width] → queries, keys and values, [n, 3, heads, width of a head]."""
        return self.qkv(self.before(x)).view(x.shape[0], 3, self.heads, -1)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Adds what was attended to, [n, width], and the feed-forward."""
        x = x + self.out(attended)
        hidden = F.gelu(self.wide(self.between(x)), approximate="tanh")
        return x + self.narrow(hidden)


class Transformer:
    """All layers, in a precision of torch's own.

    Args:
        weights: Of the checkpoint.
        shape: Of the checkpoint.
        precision: Of the matrices.
        slots: Sentences at once.
        length: Positions of each.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        shape: XttsShape,
        precision: Precision,
        slots: int,
        length: int,
    ) -> None:
        self.layers = [
            Layer(_under(weights, f"gpt.gpt.h.{number}."), shape.heads, precision)
            for number in range(shape.layers)
        ]
        self.last = _Norm(weights, "gpt.gpt.ln_f")
        self.final = _Norm(weights, "gpt.final_norm")
        self._scale = 1 / math.sqrt(shape.width // shape.heads)
        device = weights["gpt.final_norm.weight"].device
        # A CPU multiplies few half numbers slowly; a GPU reads them in half the time.
        dtype = dtype_of(precision) if device.type == "cuda" else torch.float32
        self.cache = SlotCache(shape, slots, length, dtype, device)
        self._places = torch.arange(length, device=device)

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
        allowed = self._places[:end] <= self._places[start:end, None]
        for number, layer in enumerate(self.layers):
            q, k, v = layer.queries(x).permute(1, 2, 0, 3)
            keys, values = self.cache.values[number, :, slot]
            keys[:, start:end] = k
            values[:, start:end] = v
            attended = F.scaled_dot_product_attention(
                q.to(keys.dtype)[None],
                keys[None, :, :end],
                values[None, :, :end],
                attn_mask=allowed,
            )
            x = layer.finish(x, attended[0].transpose(0, 1).reshape(m, -1).float())
        return self._latents(x)

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
        rows = self._places[:n]
        beyond = self._places[:reach] > lengths[:, None]
        mask = torch.zeros(n, 1, 1, reach, device=x.device).masked_fill_(
            beyond[:, None, None], _NEVER
        )
        for number, layer in enumerate(self.layers):
            qkv = layer.queries(x)
            cache = self.cache.values[number]
            cache[:, rows, :, lengths] = qkv[:, 1:].to(cache.dtype)
            keys, values = cache[:, :n, :, :reach]
            asked = (qkv[:, 0, :, None] * self._scale).to(keys.dtype)
            scores = torch.matmul(asked, keys.transpose(2, 3)).float() + mask
            weights = torch.softmax(scores, dim=-1).to(values.dtype)
            attended = torch.matmul(weights, values).float()
            x = layer.finish(x, attended.reshape(n, -1))
        return self._latents(x)

    def beside(self) -> AbstractContextManager[None]:
        """How torch computes around a step: as ever."""
        return nullcontext()

    def _latents(self, x: Tensor) -> Tensor:
        return self.final(self.last(x))


class _Norm:
    """Over each row."""

    def __init__(self, weights: Mapping[str, Tensor], name: str) -> None:
        self._weight = weights[f"{name}.weight"].float()
        self._bias = weights[f"{name}.bias"].float()
        self._width = self._weight.shape

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self._width, self._weight, self._bias)


def _under(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }
