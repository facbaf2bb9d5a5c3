"""What goes into the model, and what comes out of it, one sentence at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """Phonemes to be spoken in one breath, and how."""

    tokens: tuple[int, ...]
    reference: NDArray[np.float32]
    """Style of the sample; shape [style]."""
    previous: NDArray[np.float32] | None
    """Style of the sentence before; None for a first one."""
    carry: float
    """How much of `previous` is kept, 0 to 1."""
    alpha: float
    beta: float
    guidance: float
    steps: int
    """Of the diffusion."""
    speed: float
    seed: int

    @property
    def kind(self) -> tuple[int, bool]:
        """Only sentences of one kind can share a batch: the same work is done on each."""
        return self.steps, self.guidance != 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A sentence as audio."""

    samples: NDArray[np.float32]
    """Mono at 24 kHz, in [-1, 1]; shape [n]."""
    frames: NDArray[np.int64]
    """How long each token lasts, in frames of 600 samples; shape [tokens]."""
    style: NDArray[np.float32]
    """To be handed on to the next sentence; shape [style]."""
