"""Room for what a transformer remembers of each sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from voice_serving.engines.xtts_v2.shape import XttsShape


class SlotCache:
    """Keys and values of `slots` sentences, in memory that never moves.

    A sentence has a slot, whose positions are filled from 0. Positions beyond its length hold what
    an earlier one left there; nobody looks at them.

    Args:
        shape: Of the checkpoint.
        slots: Sentences at once.
        length: Positions of each.
        dtype: Of the numbers.
        device: Where they lie.
    """

    def __init__(
        self,
        shape: XttsShape,
        slots: int,
        length: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.length = length
        room = (shape.layers, 2, slots, shape.heads, length, shape.width // shape.heads)
        self.values = torch.zeros(room, dtype=dtype, device=device)
        """[layers, keys and values, slots, heads, length, width of a head]."""

    def move(self, source: int, target: int, length: int) -> None:
        """Copies a sentence's first positions to another slot."""
        self.values[:, :, target, :, :length] = self.values[:, :, source, :, :length]

    def read(self, slot: int, length: int) -> Tensor:
        """A copy of a slot's first positions, [layers, 2, heads, length, width of a head]."""
        return self.values[:, :, slot, :, :length].clone()

    def write(self, slot: int, positions: Tensor) -> None:
        """Puts back what `read` gave."""
        self.values[:, :, slot, :, : positions.shape[3]] = positions
