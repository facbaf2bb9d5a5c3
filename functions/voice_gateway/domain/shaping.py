"""Changing a sentence while it is still being spoken, by a change that needs more than a moment.

The audio is changed window by window, each with some of what surrounds it, and the results are
spliced: where it is quietest, at the point where both sides are most alike, with a short crossfade.
The first window is short, so that the first audio waits for half a second of speech at most; each
further one is twice as long, so that a sentence has few splices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]

SHAPING_VERSION: Final = 1
"""Changes with whatever changes the outcome: cached audio of another version is not found."""
FIRST_WINDOW_SECONDS: Final = 0.36
SURROUNDINGS_SECONDS: Final = 0.12
"""What a change sees beyond its window, on each side: one block of the stretching library."""
_LONGEST_WINDOW_SECONDS: Final = 6.0
_FADE_SECONDS: Final = 0.02
_SEARCH_SECONDS: Final = 0.008
"""One period of the lowest voice, to both sides."""


class SentenceShaper:
    """Changes one sentence; `push` takes what is spoken, in pieces of any length."""

    def __init__(self, change: Change, sample_rate: int, *, speed: float) -> None:
        """Begins a sentence.

        Args:
            change: Gives `round(n / speed)` samples for n.
            sample_rate: Hz.
            speed: How much shorter the change makes the audio.
        """
        self._change = change
        self._speed = speed
        self._window = round(FIRST_WINDOW_SECONDS * sample_rate)
        self._longest = round(_LONGEST_WINDOW_SECONDS * sample_rate)
        self._around = round(SURROUNDINGS_SECONDS * sample_rate)
        self._fade = round(_FADE_SECONDS * sample_rate)
        self._search = round(_SEARCH_SECONDS * sample_rate)
        # `_heard` is what was already changed and is kept as surroundings of the next window.
        self._heard = np.zeros(0, dtype=np.float32)
        self._waiting = np.zeros(0, dtype=np.float32)
        self._overlap = np.zeros(0, dtype=np.float32)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Takes the next samples; returns what is changed for good, shape [n], n ≥ 0."""
        self._waiting = np.concatenate((self._waiting, samples))
        ready = []
        while self._waiting.size >= self._window + self._around:
            ready.append(self._next(self._quiet_place()))
            self._window = min(self._window * 2, self._longest)
        return np.concatenate(ready) if ready else samples[:0]

    def finish(self) -> NDArray[np.float32]:
        """Returns the rest."""
        return self._next(self._waiting.size) if self._waiting.size else self._overlap

    def _quiet_place(self) -> int:
        """Returns where the window ends: the quietest place of its second half."""
        begin, step = self._window // 2, self._fade
        steps = (self._window - begin) // step
        energy = np.square(self._waiting[begin : begin + steps * step]).reshape(steps, step).sum(1)
        return begin + int(energy.argmin()) * step + step // 2

    def _next(self, size: int) -> NDArray[np.float32]:
        """Changes the next `size` samples, and splices them to those before."""
        last = size == self._waiting.size
        seen = np.concatenate((self._heard, self._waiting[: size + self._around]))
        changed = self._change(seen)
        begin = round(self._heard.size / self._speed)
        end = changed.size if last else round((self._heard.size + size) / self._speed)
        overlap = self._overlap
        if overlap.size:
            begin += self._likeness(changed, begin, overlap)
            rise = np.linspace(0, 1, overlap.size, dtype=np.float32)
            met = changed[begin : begin + overlap.size]
            overlap = overlap[: met.size] * (1 - rise[: met.size]) + met * rise[: met.size]
            begin += met.size
        self._overlap = changed[end : end + self._fade]
        self._heard = seen[max(0, self._heard.size + size - self._around) :][: self._around]
        self._waiting = self._waiting[size:]
        return np.concatenate((overlap, changed[begin : max(begin, end)]))

    def _likeness(
        self, changed: NDArray[np.float32], begin: int, overlap: NDArray[np.float32]
    ) -> int:
        """Returns by how many samples to move the splice so that the two sides are in step."""
        low = max(0, begin - self._search)
        reach = changed[low : begin + self._search + overlap.size]
        if reach.size < overlap.size:
            return 0
        product = np.correlate(reach, overlap, mode="valid")
        energy = np.convolve(reach**2, np.ones(overlap.size), mode="valid")
        return low + int(np.argmax(product / np.sqrt(energy + 1e-9))) - begin
