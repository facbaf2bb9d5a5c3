"""One step of many sentences at once, in places that a CUDA graph can rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from voice_serving.engines.xtts_v2.network.sampling import FIRST_SEEN, Tastes, choose, likelihoods

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voice_serving.engines.xtts_v2.network.gpt import Gpt
    from voice_serving.engines.xtts_v2.network.sampling import Taste
    from voice_serving.engines.xtts_v2.shape import XttsShape

_BUCKETS: Final = (1, 2, 4, 8, 16, 24, 32, 48, 64)
"""Batch sizes that a graph is captured for: a step computes for the next larger one."""
_REACH_STEP: Final = 64
"""Attention looks at a multiple of so many positions, so that few shapes occur."""
_GRAPH_REACH_STEP: Final = 256
"""The same where each shape is a graph."""


class Batch:
    """The sentences in progress, in the first places; all that a step reads and writes."""

    def __init__(self, gpt: Gpt, shape: XttsShape, slots: int) -> None:
        self._gpt = gpt
        self._shape = shape
        device = gpt.mel_head.device
        self.slots = slots
        self._latents = torch.zeros(slots, shape.width, device=device)
        self._lengths = torch.zeros(slots, dtype=torch.int64, device=device)
        self._numbers = torch.zeros(slots, dtype=torch.int64, device=device)
        self._least = torch.zeros(slots, dtype=torch.int64, device=device)
        self._chosen = torch.zeros(slots, dtype=torch.int64, device=device)
        self._seen = torch.zeros(slots, shape.audio_tokens, dtype=torch.bool, device=device)
        self._noise = torch.ones(slots, shape.audio_tokens, device=device)
        self._tastes = Tastes.room(slots, device)
        self._team = gpt.transformer.beside
        self._reached = [0] * slots
        """The same as `_lengths`, where asking costs nothing."""
        self._graphs: dict[tuple[int, int], Callable[[], None]] | None = (
            {} if device.type == "cuda" else None
        )

    def join(
        self, slot: int, latent: Tensor, length: int, taste: Taste, least: int, noise: Tensor
    ) -> int:
        """Begins a sentence.

        Args:
            slot: Its place: the first free one.
            latent: Of the audio's start, [width].
            length: Positions that its slot of the transformer holds.
            taste: How its tokens are chosen.
            least: Tokens before it may stop.
            noise: Random numbers, [audio tokens].

        Returns:
            The first token.
        """
        self._latents[slot] = latent
        self._lengths[slot] = self._reached[slot] = length
        self._numbers[slot] = 0
        self._least[slot] = least
        self._seen[slot] = False
        self._seen[slot, FIRST_SEEN] = True
        self._seen[slot, self._shape.start_audio] = True
        self._tastes.put(slot, taste, self._shape.audio_tokens)
        self._noise[slot] = noise
        with self._team():
            self._choose(slice(slot, slot + 1))
        return int(self._chosen[slot])

    def leave(self, slot: int, last: int) -> None:
        """Ends a sentence; the one in the last place takes its own."""
        if slot == last:
            return
        self._gpt.transformer.cache.move(last, slot, self._reached[last])
        for values in (self._chosen, self._lengths, self._numbers, self._least, self._seen):
            values[slot] = values[last]
        self._tastes.move(last, slot)
        self._reached[slot] = self._reached[last]

    def step(self, noise: Sequence[Tensor]) -> tuple[list[int], Tensor]:
        """Reads each sentence's newest token and chooses the next.

        Args:
            noise: Random numbers of each sentence, [audio tokens] each.

        Returns:
            The tokens, and the latents that they were chosen by, [n, width].
        """
        n = len(noise)
        with self._team():
            self._noise[:n] = torch.stack(list(noise))
            self._advance(n, self._reach(max(self._reached[:n]) + 1))
        for slot in range(n):
            self._reached[slot] += 1
        return self._chosen[:n].tolist(), self._latents[:n].clone()

    def prepare(self) -> None:
        """Captures every graph; to be called before anybody speaks. Nothing to do on a CPU."""
        if self._graphs is None:
            return
        longest = self._gpt.transformer.cache.length
        reaches = {self._reach(length) for length in range(1, longest + 1)}
        for n in {self._bucket(n) for n in range(1, self.slots + 1)}:
            for reach in reaches:
                self._graphs[n, reach] = self._capture(n, reach)

    def _advance(self, n: int, reach: int) -> None:
        if self._graphs is None:
            self._compute(n, reach)
        else:
            self._graphs[self._bucket(n), reach]()

    def _reach(self, length: int) -> int:
        step = _REACH_STEP if self._graphs is None else _GRAPH_REACH_STEP
        return min(-(-length // step) * step, self._gpt.transformer.cache.length)

    def _bucket(self, n: int) -> int:
        return min(next((size for size in _BUCKETS if size >= n), self.slots), self.slots)

    def _compute(self, n: int, reach: int) -> None:
        embedded = self._gpt.embed(self._chosen[:n], self._numbers[:n])
        self._latents[:n] = self._gpt.transformer.step(self._lengths[:n], embedded, reach)
        # A graph also counts in places where nobody is, and must not count out of the tables.
        self._lengths[:n].add_(1).clamp_(max=self._gpt.transformer.cache.length - 1)
        self._choose(slice(0, n))

    def _choose(self, rows: slice) -> None:
        logits = self._gpt.logits(self._latents[rows])
        early = self._numbers[rows] < self._least[rows]
        logits[:, self._shape.stop_audio].masked_fill_(early, float("-inf"))
        probabilities = likelihoods(logits, self._seen[rows], self._tastes.at(rows))
        chosen = choose(probabilities, self._noise[rows])
        self._chosen[rows] = chosen
        self._seen[rows] = self._seen[rows].scatter(1, chosen[:, None], True)
        self._numbers[rows] = (self._numbers[rows] + 1).clamp(max=self._shape.audio_positions - 1)

    def _capture(self, n: int, reach: int) -> Callable[[], None]:
        # Warming up and capturing both compute; what they change is put back.
        state = (self._latents, self._lengths, self._numbers, self._seen, self._chosen)
        before = [values.clone() for values in state]
        stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._compute(n, reach)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._compute(n, reach)
        for values, old in zip(state, before, strict=True):
            values.copy_(old)
        return graph.replay
