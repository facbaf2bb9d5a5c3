"""Lessons: batches of sentences, each with a third of a second of sound to imitate."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from corpus import Corpus, Sample
from network import MELODY
from numpy.typing import NDArray
from source_filter import HOP
from torch import Tensor

__all__ = ["CONTEXT", "SEGMENT", "Batch", "Lessons"]

SEGMENT: Final = 64
"""Frames of sound that the loss hears."""
CONTEXT: Final = 12
"""Frames on either side of them that only the decoder sees."""

_BATCH: Final = 16
_WITHOUT_BLANKS: Final = 0.06  # share of lessons, for callers that put no blanks between sounds
_BLANK: Final = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from. A frame axis is context, segment, context."""

    ids: Tensor  # [batch, ids]
    mask: Tensor  # [batch, ids, 1]
    frames: Tensor  # [batch, ids] float
    speaker: Tensor  # [batch]
    time: Tensor  # [batch, context + segment + context]
    alive: Tensor  # the same shape: 1 where the utterance has a frame
    pitch: Tensor  # the same shape, Hz
    voiced: Tensor  # the same shape, 0 or 1
    audio: Tensor  # [batch, segment * HOP]
    melody: Tensor  # [batch, ids, MELODY] log Hz, 0 where a phoneme has no pitch


class Lessons:
    """Batches of utterances of about one length, the longer ones more often.

    Args:
        corpus: What to draw from.
        seed: The same seed gives the same lessons.
        worker: Which part of each batch to give.
        workers: Of how many parts.
    """

    def __init__(self, corpus: Corpus, seed: int, *, worker: int = 0, workers: int = 1) -> None:
        self._corpus = corpus
        # All workers choose alike and share what was chosen; the rest of the dice are their own.
        self._choice = np.random.default_rng(seed)
        self._generator = np.random.default_rng([seed, worker])
        self._mine = slice(worker, _BATCH, workers)
        lengths = np.array([len(corpus[index].ids) for index in range(len(corpus))])
        self._order = np.argsort(lengths, kind="stable")
        weight = np.sqrt(lengths[self._order])
        self._weight = weight / weight.sum()
        self._reach = max(_BATCH, len(corpus) // 30)

    def __call__(self) -> Batch:
        """Draw the next batch."""
        middle = self._choice.choice(len(self._order), p=self._weight)
        first = int(np.clip(middle - self._reach // 2, 0, len(self._order) - self._reach))
        picked = self._order[first + self._choice.permutation(self._reach)[:_BATCH]][self._mine]
        return self._collate([self._corpus[int(index)] for index in picked])

    def _collate(self, samples: list[Sample]) -> Batch:
        longest = max(len(sample.ids) for sample in samples)
        ids = torch.zeros(len(samples), longest, dtype=torch.long)
        mask = torch.zeros(len(samples), longest, 1)
        frames = torch.zeros(len(samples), longest)
        melody = torch.zeros(len(samples), longest, MELODY)
        span = SEGMENT + 2 * CONTEXT
        time_at, alive, pitch, voiced, audio = ([] for _ in range(5))
        for row, sample in enumerate(samples):
            total = int(sample.frames.sum())
            lesson_ids, lesson_frames = sample.ids, sample.frames
            if self._generator.random() < _WITHOUT_BLANKS:
                kept = lesson_ids != _BLANK
                lesson_ids, lesson_frames = lesson_ids[kept], lesson_frames[kept]
            size = len(lesson_ids)
            ids[row, :size] = torch.from_numpy(lesson_ids)
            mask[row, :size] = 1
            frames[row, :size] = torch.from_numpy(lesson_frames)
            melody[row, :size] = torch.from_numpy(_melody(sample, lesson_frames))
            start = int(self._generator.integers(-4, max(-3, total - SEGMENT + 5)))
            place = np.arange(start - CONTEXT, start - CONTEXT + span)
            inside = (place >= 0) & (place < total)
            clipped = place.clip(0, total - 1)
            time_at.append(place)
            alive.append(inside)
            pitch.append(sample.pitch[clipped])
            voiced.append(sample.voiced[clipped] & inside)
            padded = np.pad(sample.audio, (4 * HOP, (SEGMENT + 4) * HOP))
            audio.append(padded[(start + 4) * HOP :][: SEGMENT * HOP])
        speaker = torch.tensor([sample.speaker for sample in samples])

        def stack(rows: list[Any]) -> Tensor:
            return torch.from_numpy(np.stack(rows).astype(np.float32))

        return Batch(
            ids, mask, frames, speaker,
            stack(time_at), stack(alive), stack(pitch), stack(voiced), stack(audio),
            melody,
        )  # fmt: skip


def _melody(sample: Sample, frames: NDArray[np.int64]) -> NDArray[np.float32]:
    """Give the log pitch at MELODY points of every phoneme [ids, MELODY], 0 where there is none."""
    ends = np.cumsum(frames)
    share = (np.arange(MELODY) + 0.5) / MELODY
    at = (ends - frames)[:, None] + (frames[:, None] * share).astype(np.int64)
    at = at.clip(0, len(sample.pitch) - 1)
    there = sample.voiced[at] & (frames > 0)[:, None]
    return np.where(there, np.log(sample.pitch[at]), 0).astype(np.float32)
