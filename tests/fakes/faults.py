"""The matrix of faults: what can go wrong, where in a text, with whom, and what must hold then.

A fault is of one of two kinds. What is decided before a sentence's first byte (a refusal, a hang,
no audio, the wrong audio) strikes at the next sentence that the provider is asked for, and at all
after it: "in the middle of sentence 1" means that it sets in while sentence 1 is heard, so sentence
2 is the first to meet it. What happens to a stream (it stops, it breaks, it drips) strikes in that
very sentence, after its first tenth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """What can go wrong; the names are the local vendors' (`scripts/stack/vendors/orders.py`)."""

    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    QUOTA = "quota"
    ERROR = "error"
    UNAVAILABLE = "unavailable"
    HANG_BEFORE = "hang_before"
    HANG_WITHIN = "hang_within"
    CUT = "cut"
    EMPTY = "empty"
    SILENCE = "silence"
    GARBAGE = "garbage"
    WRONG_RATE = "wrong_rate"
    DRIP = "drip"


class Where(StrEnum):
    """When it sets in."""

    START = "start"
    FIRST = "middle of sentence 1"
    THIRD = "middle of sentence 3 of 5"


IN_STREAM: Final = frozenset({Fault.HANG_WITHIN, Fault.CUT, Fault.DRIP})


@dataclass(frozen=True, slots=True)
class Order:
    """A fault in its place."""

    fault: Fault
    where: Where

    @property
    def sentence(self) -> int:
        """The first one that it strikes, counted from 1."""
        if self.where is Where.START:
            return 1
        heard = 1 if self.where is Where.FIRST else 3
        return heard if self.fault in IN_STREAM else heard + 1

    @property
    def piece(self) -> int:
        """The piece of that sentence at which it strikes: 0 is before any audio."""
        return int(self.where is not Where.START and self.fault in IN_STREAM)

    def strikes(self, sentence: int, piece: int) -> bool:
        """Whether it strikes there: what is no stream's fault stays, a dripping stream drips on."""
        if self.fault in IN_STREAM and self.fault is not Fault.DRIP:
            return (sentence, piece) == (self.sentence, self.piece)
        return (sentence, piece) >= (self.sentence, self.piece)
