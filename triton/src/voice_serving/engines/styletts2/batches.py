"""Everybody's sentences, put together so that the model is asked as seldom as possible."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voice_serving.engines.styletts2.sentence import Sentence, Spoken
    from voice_serving.errors import InternalError
    from voice_serving.metrics import ServingMetrics

    Speak = Callable[[Sequence[Sentence]], list[Spoken | InternalError]]

_SMALLEST_BUCKET: Final = 32


class Batches:
    """One thread that speaks for all requests, the most urgent sentence first.

    A batch is that sentence and others of its kind and of about its length, since all are padded to
    the longest. Sentences come one at a time, so an idle model waits a moment for company; one that
    is at work finds company waiting when it is done.

    Args:
        speak: The model.
        most: Sentences in a batch.
        window_seconds: How long the first one of an idle model waits.
        metrics: Told of every batch.
    """

    def __init__(
        self, speak: Speak, most: int, window_seconds: float, metrics: ServingMetrics
    ) -> None:
        self._speak = speak
        self._most = most
        self._window_seconds = window_seconds
        self._metrics = metrics
        self._waiting: list[tuple[int, int, Sentence, Future[Spoken]]] = []
        self._arrivals = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="styletts2", daemon=True)
        self._thread.start()

    def submit(self, sentence: Sentence, urgency: int) -> Future[Spoken]:
        """Puts a sentence in line; to cancel the future takes it out again.

        Args:
            sentence: What to speak.
            urgency: The lowest goes first; equals go in order of arrival.
        """
        future: Future[Spoken] = Future()
        with self._changed:
            heapq.heappush(self._waiting, (urgency, next(self._arrivals), sentence, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Ends the thread after the batch at hand; who still waits is cancelled."""
        with self._changed:
            self._closed = True
            for *_, future in self._waiting:
                future.cancel()
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                return
            self._metrics.batch_size.observe(len(batch))
            self._metrics.slots.increment(len(batch))
            self._run(batch)
            self._metrics.slots.increment(-len(batch))

    def _run(self, batch: list[tuple[Sentence, Future[Spoken]]]) -> None:
        try:
            results = self._speak([sentence for sentence, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            # One of them, or all together: each gets its own answer.
            for each in batch:
                self._run([each])
            return
        for (_, future), result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _next_batch(self) -> list[tuple[Sentence, Future[Spoken]]] | None:
        with self._changed:
            if not self._waiting:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                self._wait_for_company()
            if self._closed:
                return None
            batch: list[tuple[Sentence, Future[Spoken]]] = []
            others = []
            while self._waiting and len(batch) < self._most:
                entry = heapq.heappop(self._waiting)
                *_, sentence, future = entry
                if batch and not _alike(batch[0][0], sentence):
                    others.append(entry)
                elif future.set_running_or_notify_cancel():
                    batch.append((sentence, future))
            for entry in others:
                heapq.heappush(self._waiting, entry)
        return batch or self._next_batch()

    def _wait_for_company(self) -> None:
        end = time.monotonic() + self._window_seconds
        while not self._closed and len(self._waiting) < self._most:
            left = end - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                return


def _alike(one: Sentence, other: Sentence) -> bool:
    return one.kind == other.kind and _bucket(one) == _bucket(other)


def _bucket(sentence: Sentence) -> int:
    """The power of two that the sentence fits in: within one, at most half is padding."""
    bucket = _SMALLEST_BUCKET
    while bucket < len(sentence.tokens):
        bucket *= 2
    return bucket
