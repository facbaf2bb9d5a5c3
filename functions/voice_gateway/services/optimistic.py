"""Writing by reading first: whoever was overtaken reads again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, TypeVar

from voice_gateway.domain.errors import StaleWriteError

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

ATTEMPTS: Final = 40
"""With the pauses below some five seconds: an API's caller waits no longer."""
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.25


def until_written(write: Callable[[], _T], sleep: Callable[[float], None]) -> _T:
    """Repeats a write that reads, decides and writes, as long as others get in between.

    Raises:
        StaleWriteError: Others were faster every time.
    """
    longest = _FIRST_PAUSE
    for _ in range(ATTEMPTS - 1):
        try:
            return write()
        except StaleWriteError:
            # A pause of any length up to the longest, or all who collided would collide again.
            sleep(random.uniform(0, longest))
            longest = min(2 * longest, _LONGEST_PAUSE)
    return write()
