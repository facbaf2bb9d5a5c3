"""Latencies in bins, so that percentiles can be added up over hours, functions and machines.

Each bin is wider than the one before by the same factor, as in DDSketch (Masson, Rim and Lee, VLDB
2019): whatever the value, its bin's middle is at most `RELATIVE_ERROR` away from it. Bins are plain
counters, so merging is addition, which the table does by itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

RELATIVE_ERROR: Final = 0.025
"""Of every percentile, either way."""
SMALLEST: Final = 0.1
"""Milliseconds; what is shorter counts as this."""
_GROWTH: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)


def bin_of(milliseconds: float) -> int:
    """The bin of a value: 0 up to `SMALLEST`, 319 for a quarter of an hour."""
    if milliseconds <= SMALLEST:
        return 0
    return math.ceil(math.log(milliseconds / SMALLEST, _GROWTH))


def value_of(number: int) -> float:
    """The value, in milliseconds, that stands for all of a bin."""
    return SMALLEST * 2 * _GROWTH**number / (1 + _GROWTH)


def percentile(bins: Mapping[int, int], share: float) -> float | None:
    """The value that `share` of all values do not exceed, by nearest rank.

    Args:
        bins: How many values each bin holds.
        share: In (0, 1].

    Returns:
        Milliseconds; None when there are no values.
    """
    rank = math.ceil(share * sum(bins.values()))
    seen = 0
    for number in sorted(bins):
        seen += bins[number]
        if seen >= rank > 0:
            return round(value_of(number), 3)
    return None
