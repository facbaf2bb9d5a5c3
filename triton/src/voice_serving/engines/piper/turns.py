"""Who may use the cores next."""

from __future__ import annotations

import heapq
import itertools
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Turns:
    """Lets a fixed number of threads work at once, the most urgent first.

    Piper speaks many times faster than anybody listens. Without turns, one long text would keep a
    newcomer waiting for its last sentence, which nobody will hear for minutes.

    Args:
        places: How many may work at once.
    """

    def __init__(self, places: int) -> None:
        self._free = list(range(places))
        self._waiting: list[tuple[int, int]] = []
        self._arrivals = itertools.count()
        self._changed = threading.Condition()

    @property
    def nobody_waits(self) -> bool:
        """Whether every thread that wants to work is at work."""
        return not self._waiting

    @contextmanager
    def turn(self, urgency: int) -> Iterator[int]:
        """Waits for a place and holds it until the block ends.

        Args:
            urgency: The lowest goes first; equals go in order of arrival.

        Yields:
            The place's number, from 0.
        """
        with self._changed:
            ticket = (urgency, next(self._arrivals))
            heapq.heappush(self._waiting, ticket)
            while not self._free or self._waiting[0] != ticket:
                self._changed.wait()
            heapq.heappop(self._waiting)
            place = self._free.pop()
            self._changed.notify_all()
        try:
            yield place
        finally:
            with self._changed:
                self._free.append(place)
                self._changed.notify_all()
