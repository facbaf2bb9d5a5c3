"""Who may wait, and for how long the others should stay away.

Triton's own queue cannot guard a decoupled model whose `execute` returns at once: it always looks
idle. So the bound is kept here.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voice_serving.engine import SynthesisInput
    from voice_serving.reply import Reply

_FIRST_GUESS_SECONDS: Final = 0.5
_NEWEST_WEIGHT: Final = 0.2
_SHORTEST_HINT_MS: Final = 100
_LONGEST_HINT_MS: Final = 5000


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One admitted request."""

    request: SynthesisInput
    reply: Reply
    admitted_at: float
    """`time.monotonic` seconds."""
    deadline: float = math.inf
    """`time.monotonic` seconds after which nobody wants the audio any more."""


class JobQueue:
    """First come, first served, at most `limit` jobs waiting or running at once.

    Args:
        workers: How many jobs run at once.
        max_pending: How many more may wait.
        clock: Monotonic seconds.
    """

    def __init__(
        self, workers: int, max_pending: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._workers = workers
        self._limit = workers + max_pending
        self._clock = clock
        self._waiting: deque[Job] = deque()
        self._running = 0
        self._closed = False
        self._mean_seconds = _FIRST_GUESS_SECONDS
        self._sent_away = 0
        lock = threading.Lock()
        self._changed = threading.Condition(lock)
        self._deadlines = threading.Condition(lock)

    def offer(self, job: Job) -> bool:
        """Admits the job, unless the house is full or closing."""
        with self._changed:
            if self._closed or len(self._waiting) + self._running >= self._limit:
                return False
            # One of those who were sent away may have come back.
            self._sent_away = max(0, self._sent_away - 1) if self._waiting else 0
            self._waiting.append(job)
            self._changed.notify()
            self._deadlines.notify()
            return True

    @contextmanager
    def next_job(self) -> Iterator[Job | None]:
        """The next job, holding its place until the block ends; None when all is done for good."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            job = self._waiting.popleft() if self._waiting else None
            self._running += job is not None
        if job is None:
            yield None
            return
        started = self._clock()
        try:
            yield job
        finally:
            with self._changed:
                self._running -= 1
                took = self._clock() - started
                self._mean_seconds += _NEWEST_WEIGHT * (took - self._mean_seconds)

    def take_cancelled(self) -> list[Job]:
        """Removes the waiting jobs whose callers have gone.

        To be called by the thread that offers, so that nobody is admitted meanwhile.
        """
        # Out of the queue while they are asked, which is a round trip to the server: a worker that
        # took one now would use its reply at the same time.
        waiting = self.take_all()
        gone = [job for job in waiting if job.reply.cancelled()]
        with self._changed:
            self._waiting.extend(job for job in waiting if job not in gone)
            self._changed.notify_all()
            self._deadlines.notify()
        return gone

    def take_late(self) -> list[Job]:
        """Waits until somebody has waited past the deadline, and removes them; none when closed.

        Whoever is at work learns of it by asking; who waits has nobody to ask for it.
        """
        with self._changed:
            while not self._closed:
                now = self._clock()
                late = [job for job in self._waiting if job.deadline <= now]
                if late:
                    self._waiting = deque(job for job in self._waiting if job not in late)
                    return late
                soonest = min((job.deadline for job in self._waiting), default=math.inf)
                self._deadlines.wait(None if soonest == math.inf else soonest - now)
        return []

    def close(self) -> None:
        """Admits nobody any more; who waits is still served."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._deadlines.notify_all()

    def take_all(self) -> list[Job]:
        """Removes everybody who waits."""
        with self._changed:
            waiting = list(self._waiting)
            self._waiting.clear()
            return waiting

    def send_away(self) -> int:
        """Milliseconds after which whoever was not admitted is likely to find a place.

        The next place is for who was sent away first: told the same time, all would come back at
        once, and all but one in vain.
        """
        with self._changed:
            self._sent_away += 1
            expected = round(1000 * self._mean_seconds / self._workers * self._sent_away)
        return max(_SHORTEST_HINT_MS, min(_LONGEST_HINT_MS, expected))
