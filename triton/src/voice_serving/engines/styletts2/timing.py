"""When the words of a sentence are heard, from how long the model makes each phoneme."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voice_serving.engine import WordTime
from voice_serving.engines.styletts2.symbols import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from voice_serving.engines.styletts2.phonemes import Word
    from voice_serving.engines.styletts2.symbols import Piece


class WordTimes:
    """One sentence's, told as its pieces are spoken.

    Args:
        words: In order, with the places of their phonemes.
    """

    def __init__(self, words: Sequence[Word]) -> None:
        self._left = list(words)
        self._begun: float | None = None
        """When the first of those that are left began, if a piece before has some of it."""
        self._ended = 0.0
        self._passed = 0.0

    def hear(
        self, piece: Piece, frames: NDArray[np.int64], seconds: float, trimmed: float
    ) -> tuple[WordTime, ...]:
        """Tells the words that end in the next piece.

        A word of which the model knows no phoneme is not heard, and has no time.

        Args:
            piece: The phonemes.
            frames: How long each token lasts; shape [tokens].
            seconds: How long all of them last.
            trimmed: How much of the end is cut off.
        """
        ends = np.cumsum(frames) * (seconds / frames.sum())
        edges = np.minimum([0.0, *ends], seconds - trimmed)
        # Place in the piece → the first token from there on; the one at the start is the pad.
        first_token = np.cumsum([1, *(symbol in NUMBERS for symbol in piece.phonemes)])
        length = len(piece.phonemes)
        told = []
        while self._left:
            word = self._left[0]
            start, end = (
                first_token[min(max(place - piece.start, 0), length)]
                for place in (word.start, word.end)
            )
            if start < end:
                if self._begun is None:
                    self._begun = self._passed + float(edges[start])
                self._ended = self._passed + float(edges[end])
            if word.end > piece.start + length:
                break  # it begins or goes on in a later piece
            if self._begun is not None:
                told.append(WordTime(word.text, self._begun, self._ended))
            self._begun = None
            del self._left[0]
        self._passed += seconds - trimmed
        return tuple(told)
