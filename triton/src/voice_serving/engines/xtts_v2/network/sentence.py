"""One sentence on its way through the loop."""

from __future__ import annotations

import queue
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from voice_serving.engines.xtts_v2.network.frames import FrameStream
from voice_serving.engines.xtts_v2.network.sampling import NoiseSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from voice_serving.engines.xtts_v2.network.sampling import Taste
    from voice_serving.engines.xtts_v2.network.vocoder import Window
    from voice_serving.engines.xtts_v2.network.voice import Voice
    from voice_serving.engines.xtts_v2.shape import XttsShape


@dataclass(frozen=True, slots=True)
class Chunking:
    """How many audio tokens go to the vocoder at once; one is 46 ms."""

    first: int
    growth: float
    """Each one is so many times as long as the one before."""
    longest: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What comes out: samples, and whether they are the last."""

    samples: NDArray[np.float32]
    last: bool


@dataclass(slots=True, kw_only=True, eq=False)
class Sentence:
    """What to say, and how far it is.

    Whoever submits it reads `pieces` and may set `gone`; everything else is the loop's.
    """

    text: tuple[int, ...]
    """Tokens."""
    voice: Voice
    taste: Taste
    speed: float
    rank: tuple[int, int]
    """Who comes first when there is no place for all: the number of the sentence within its
    request, then the request's own number."""
    least: int = 0
    most: int
    """Audio tokens, the stop included."""
    gone: bool = False
    """Nobody wants it any more."""
    pieces: queue.SimpleQueue[Piece | BaseException] = field(default_factory=queue.SimpleQueue)
    tokens: list[int] = field(default_factory=list)
    slot: int = -1
    finished: bool = False
    """No token is to come."""
    heard: bool = False
    """Its first samples have gone out."""
    noise: NoiseSource = field(init=False)
    frames: FrameStream = field(init=False)
    _latents: list[Tensor] = field(default_factory=list)
    _due: float = field(init=False)
    _chunking: Chunking = field(init=False)

    def begin(self, shape: XttsShape, chunking: Chunking) -> None:
        """Makes what it needs on its way; to be called once."""
        self.noise = NoiseSource(self.taste.seed, shape.audio_tokens)
        self.frames = FrameStream(shape, self.speed, self.voice.vector)
        self._chunking = chunking
        self._due = chunking.first

    def add(self, token: int, latent: Tensor, stop: int) -> None:
        """Takes one step's outcome."""
        self.tokens.append(token)
        self._latents.append(latent)
        self.finished = token == stop or len(self.tokens) >= self.most

    @property
    def is_due(self) -> bool:
        """Whether there is enough for the vocoder."""
        return self.finished or len(self._latents) >= self._due

    def take_window(self) -> tuple[Window | None, bool]:
        """What the vocoder gets next, and whether it is the last."""
        rows = torch.stack(self._latents[: self._chunking.longest])
        del self._latents[: self._chunking.longest]
        last = self.finished and not self._latents
        self._due = min(self._due * self._chunking.growth, self._chunking.longest)
        return self.frames.push(rows, last=last), last
