"""The next token, chosen as transformers' `generate` chooses it, for many sentences at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FIRST_SEEN = 1
"""What `generate` is handed in the place of voice and text, and so counts as repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """How one sentence's tokens are chosen."""

    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    seed: int


@dataclass(frozen=True, slots=True)
class Tastes:
    """The same for n sentences, as tensors of shape [n, 1]."""

    temperature: Tensor
    top_k: Tensor
    tail: Tensor
    """One less top_p: of this probability, the least likely are left out."""
    repetition_penalty: Tensor

    @classmethod
    def room(cls, slots: int, device: torch.device) -> Tastes:
        """Places to be filled by `put`."""

        def ones(dtype: torch.dtype) -> Tensor:
            return torch.ones(slots, 1, dtype=dtype, device=device)

        number = torch.float32
        return cls(ones(number), ones(torch.int64), ones(number), ones(number))

    def put(self, slot: int, taste: Taste, vocabulary: int) -> None:
        """Fills one place."""
        self.temperature[slot] = taste.temperature
        self.top_k[slot] = min(taste.top_k, vocabulary)
        self.tail[slot] = 1 - taste.top_p
        self.repetition_penalty[slot] = taste.repetition_penalty

    def move(self, source: int, target: int) -> None:
        """Copies one place to another."""
        for values in (self.temperature, self.top_k, self.tail, self.repetition_penalty):
            values[target] = values[source]

    def at(self, rows: slice) -> Tastes:
        """Some of the places."""
        return Tastes(
            self.temperature[rows],
            self.top_k[rows],
            self.tail[rows],
            self.repetition_penalty[rows],
        )


def likelihoods(logits: Tensor, seen: Tensor, tastes: Tastes) -> Tensor:
    """Probabilities after penalty, temperature, top-k and top-p, in this order.

    Args:
        logits: [n, vocabulary]; what may not come is minus infinity.
        seen: Which tokens each sentence has had, [n, vocabulary], bool.
        tastes: Of the n sentences.

    Returns:
        [n, vocabulary]; each row adds up to one.
    """
    penalty = tastes.repetition_penalty
    punished = torch.where(logits < 0, logits * penalty, logits / penalty)
    scores = torch.where(seen, punished, logits) / tastes.temperature
    rising, order = torch.sort(scores, dim=-1)
    least = rising.gather(1, rising.shape[-1] - tastes.top_k)
    # Equal scores at the edge all stay.
    scores = scores.masked_fill(scores < least, float("-inf"))
    rising = rising.masked_fill(rising < least, float("-inf"))
    tail = torch.softmax(rising, dim=-1).cumsum(dim=-1) <= tastes.tail
    tail &= tastes.tail > 0
    tail[:, -1] = False
    scores = scores.masked_fill(tail.scatter(1, order, tail), float("-inf"))
    return torch.softmax(scores, dim=-1)


def choose(probabilities: Tensor, noise: Tensor) -> Tensor:
    """One token a row, as `torch.multinomial` draws it.

    Args:
        probabilities: [n, vocabulary].
        noise: Draws of an exponential distribution, [n, vocabulary].

    Returns:
        Token numbers, [n].
    """
    return torch.argmax(probabilities / noise, dim=-1)


class NoiseSource:
    """The random numbers of one sentence: the same seed gives the same ones."""

    def __init__(self, seed: int, vocabulary: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._vocabulary = vocabulary

    def draw(self) -> Tensor:
        """The next [vocabulary] of them: the very numbers that `torch.multinomial` would use."""
        return torch.empty(self._vocabulary).exponential_(generator=self._generator)
