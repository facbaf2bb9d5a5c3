"""What a provider's turn costs: which characters it bills, and when.

| who | bills | counts |
| --- | --- | --- |
| google, watson | what it was asked to speak | every character, spaces and line ends too |
| azure | the same | the same, and each Chinese, Japanese or Korean ideograph twice |
| piper, xtts_v2, styletts2, espeak | nothing: they are ours | |

A sentence is billed from the moment its vendor works on it, heard or not. So a turn that was broken
off is charged for the sentence that was under way: after silence or garbage, after a time-out, when
the listener hung up, and for the loser of a race. A turn that the vendor turned away (quota, auth,
rejected) or that never reached it (unavailable) is charged for what was heard before, and no more.
Where a vendor is kinder than that, our figure is too high, never too low.
"""

from __future__ import annotations

import unicodedata
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.errors import FailureReason
from voice_gateway.domain.money import dollars

if TYPE_CHECKING:
    from collections.abc import Iterable

_TURNED_AWAY: Final = frozenset(
    {
        FailureReason.QUOTA.value,
        FailureReason.AUTH.value,
        FailureReason.REJECTED.value,
        FailureReason.UNAVAILABLE.value,
    }
)
_COUNTS_IDEOGRAPHS_TWICE: Final = frozenset({"azure"})
_MILLION: Final = Decimal(1_000_000)


def is_billed_unheard(reason: str | None) -> bool:
    """Tells whether the sentence under way is charged when a turn ends for this reason."""
    return reason is not None and reason not in _TURNED_AWAY


def billed_characters(provider: str, sentences: Iterable[str]) -> int:
    """Counts sentences as their vendor does."""
    twice = provider in _COUNTS_IDEOGRAPHS_TWICE
    return sum(
        len(sentence) + (sum(map(_is_ideograph, sentence)) if twice else 0)
        for sentence in sentences
    )


def cost_of(characters: int, usd_per_million: Decimal | float) -> Decimal:
    """What so many characters cost, in dollars, rounded to the micro-dollar."""
    return dollars(characters * Decimal(str(usd_per_million)) / _MILLION)


def _is_ideograph(character: str) -> bool:
    return unicodedata.name(character, "").startswith("CJK ")
