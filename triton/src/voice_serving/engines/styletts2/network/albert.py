"""PL-BERT: an ALBERT over phonemes, one layer's weights used over and over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from voice_serving.engines.styletts2.network.layers import table

if TYPE_CHECKING:
    from voice_serving.engines.styletts2.network.layers import Valid
    from voice_serving.engines.styletts2.network.shapes import BertShape

_EPSILON = 1e-12


class Albert(nn.Module):
    """Phoneme numbers to features that know their context."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.repeats, self.heads = shape.layers, shape.heads
        self.words = table(shape.vocabulary, shape.embedding)
        self.positions = table(shape.positions, shape.embedding)
        self.kinds = table(shape.kinds, shape.embedding)
        self.norm = nn.LayerNorm(shape.embedding, eps=_EPSILON)
        self.widen = nn.Linear(shape.embedding, shape.hidden)
        self.query = nn.Linear(shape.hidden, shape.hidden)
        self.key = nn.Linear(shape.hidden, shape.hidden)
        self.value = nn.Linear(shape.hidden, shape.hidden)
        self.gather = nn.Linear(shape.hidden, shape.hidden)
        self.attention_norm = nn.LayerNorm(shape.hidden, eps=_EPSILON)
        self.inner = nn.Linear(shape.hidden, shape.intermediate)
        self.outer = nn.Linear(shape.intermediate, shape.hidden)
        self.output_norm = nn.LayerNorm(shape.hidden, eps=_EPSILON)

    def forward(self, tokens: Tensor, valid: Valid | None) -> Tensor:
        """`[B, N]` int64 to `[B, N, hidden]`."""
        places = self.positions.weight[: tokens.shape[1]]
        rows = self.widen(self.norm(self.words(tokens) + self.kinds.weight[0] + places))
        allowed = None if valid is None else valid.mask[:, None, None, :, 0]
        for _ in range(self.repeats):
            rows = self.attention_norm(rows + self._attend(rows, allowed))
            inner = F.gelu(self.inner(rows), approximate="tanh")
            rows = self.output_norm(rows + self.outer(inner))
        return rows

    def _attend(self, rows: Tensor, allowed: Tensor | None) -> Tensor:
        split = (self.heads, rows.shape[-1] // self.heads)
        query, key, value = (
            part(rows).unflatten(-1, split).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return self.gather(mixed.transpose(1, 2).flatten(2))
