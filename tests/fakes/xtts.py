"""XTTS without a server around it: networks and loop over a checkpoint, one sentence a call."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from voice_serving.engines.xtts_v2.network.checkpoint import VOCODER, read_checkpoint
from voice_serving.engines.xtts_v2.network.gpt import Gpt
from voice_serving.engines.xtts_v2.network.linear import dtype_of
from voice_serving.engines.xtts_v2.network.loop import Loop
from voice_serving.engines.xtts_v2.network.sampling import Taste
from voice_serving.engines.xtts_v2.network.sentence import Chunking, Sentence
from voice_serving.engines.xtts_v2.network.vocoder import Vocoder
from voice_serving.engines.xtts_v2.network.voice import Cloner, Voice
from voice_serving.engines.xtts_v2.settings import Precision
from voice_serving.metrics import ServingMetrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

PATIENCE_SECONDS = 120.0
USUAL = Chunking(first=8, growth=2.0, longest=96)
GREEDY = Taste(temperature=0.75, top_k=1, top_p=0.85, repetition_penalty=5.0, seed=0)
LIVELY = Taste(temperature=0.75, top_k=50, top_p=0.85, repetition_penalty=5.0, seed=7)


class MuteVocoder(Vocoder):
    """Makes silence of every window: the real one has no small size, and takes most of the time."""

    def forward(
        self, frames: Tensor, voices: Tensor, wanted: tuple[int, int] | None = None
    ) -> Tensor:
        first, end = wanted or (0, frames.shape[1])
        return torch.zeros(len(frames), (end - first) * self.hop)


class Speaker:
    """Says sentences through a loop that is turning."""

    def __init__(
        self, folder: Path, precision: Precision, slots: int, chunking: Chunking, mute: bool
    ) -> None:
        checkpoint = read_checkpoint(folder)
        self.shape = checkpoint.shape
        self.gpt = Gpt(checkpoint.weights, checkpoint.shape, precision, slots, voice_length=32)
        vocoder = dtype_of(Precision.FP32 if precision is Precision.FP32 else Precision.BF16)
        kind = MuteVocoder if mute else Vocoder
        self.vocoder = kind(checkpoint.under(VOCODER), checkpoint.shape, vocoder)
        self.cloner = Cloner(checkpoint)
        metrics = ServingMetrics(None, "test")
        self.loop = Loop(self.gpt, self.vocoder, checkpoint.shape, slots, chunking, metrics)

    def clone(self, samples: NDArray[np.float32], rate: int = 22050) -> Voice:
        """A voice of a recording."""
        heard = self.cloner.clone([(torch.from_numpy(samples), rate)])
        assert heard is not None
        return Voice(*heard)

    def begin(self, text: Sequence[int], voice: Voice, taste: Taste, **more: Any) -> Sentence:
        """Puts a sentence in line."""
        values = {"speed": 1.0, "rank": (0, 0), "most": self.shape.max_new_tokens, **more}
        sentence = Sentence(text=tuple(text), voice=voice, taste=taste, **values)
        self.loop.submit(sentence)
        return sentence

    def say(
        self, text: Sequence[int], voice: Voice, taste: Taste, **more: Any
    ) -> tuple[NDArray[np.float32], Sentence]:
        """Says a sentence and waits for all of it."""
        sentence = self.begin(text, voice, taste, **more)
        return np.concatenate(pieces_of(sentence)), sentence


def pieces_of(sentence: Sentence) -> list[NDArray[np.float32]]:
    """All pieces up to the last."""
    pieces = []
    while True:
        piece = sentence.pieces.get(timeout=PATIENCE_SECONDS)
        if isinstance(piece, BaseException):
            raise piece
        pieces.append(piece.samples)
        if piece.last:
            return pieces


@contextmanager
def speaker(
    folder: Path,
    *,
    precision: Precision = Precision.FP32,
    slots: int = 8,
    chunking: Chunking = USUAL,
    mute: bool = False,
) -> Iterator[Speaker]:
    """A speaker whose loop turns for a block."""
    one = Speaker(folder, precision, slots, chunking, mute)
    one.loop.start()
    try:
        yield one
    finally:
        one.loop.close()
