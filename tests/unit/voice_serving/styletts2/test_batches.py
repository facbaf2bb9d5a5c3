from __future__ import annotations

import queue
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

import numpy as np
import pytest

from voice_serving.engines.styletts2.batches import Batches
from voice_serving.engines.styletts2.sentence import Sentence, Spoken
from voice_serving.errors import InternalError
from voice_serving.metrics import ServingMetrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATIENCE = 20.0


class HeldModel:
    """Speaks a batch when it is let; 13 tokens break it, 14 are answered with an error."""

    def __init__(self) -> None:
        self.batches: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
        self.let = threading.Semaphore(0)

    def speak(self, sentences: Sequence[Sentence]) -> list[Spoken | InternalError]:
        self.batches.put([sentence.seed for sentence in sentences])
        assert self.let.acquire(timeout=PATIENCE)
        if any(len(sentence.tokens) == 13 for sentence in sentences):
            raise ValueError("broken")
        return [
            InternalError("no numbers")
            if len(sentence.tokens) == 14
            else Spoken(
                samples=np.full(1, sentence.seed, np.float32),
                frames=np.ones(len(sentence.tokens), np.int64),
                style=sentence.reference,
            )
            for sentence in sentences
        ]

    def next_batch(self) -> list[int]:
        return self.batches.get(timeout=PATIENCE)


@pytest.fixture
def model() -> HeldModel:
    return HeldModel()


@pytest.fixture
def batches(model) -> Iterator[Batches]:
    made = Batches(model.speak, most=4, window_seconds=0.0, metrics=ServingMetrics(None, "test"))
    yield made
    model.let.release(100)
    made.close()


def sentence(number: int, length: int = 10, steps: int = 5, guidance: float = 1.0) -> Sentence:
    return Sentence(
        tokens=tuple(range(length)),
        reference=np.zeros(2, np.float32),
        previous=None,
        carry=0.7,
        alpha=0.3,
        beta=0.7,
        guidance=guidance,
        steps=steps,
        speed=1.0,
        seed=number,
    )


def spoken(future) -> float:
    return float(future.result(timeout=PATIENCE).samples[0])


def test_what_waits_meanwhile_goes_together_the_urgent_first(model, batches):
    first = batches.submit(sentence(0), 0)
    assert model.next_batch() == [0]
    late = [batches.submit(sentence(number), 3) for number in (1, 2, 3, 4)]
    urgent = batches.submit(sentence(5), 0)
    model.let.release(3)
    assert model.next_batch() == [5, 1, 2, 3]
    assert model.next_batch() == [4]
    assert [spoken(future) for future in (first, urgent, *late)] == [0, 5, 1, 2, 3, 4]


def test_only_one_kind_and_about_one_length_share_a_batch(model, batches):
    batches.submit(sentence(0), 0)
    model.next_batch()
    for number, settings in enumerate(
        [{}, {"steps": 3}, {"guidance": 2.0}, {"length": 100}, {"length": 31}], start=1
    ):
        batches.submit(sentence(number, **settings), 0)
    model.let.release(10)
    assert [model.next_batch() for _ in range(4)] == [[1, 5], [2], [3], [4]]


def test_who_has_gone_is_not_spoken_for(model, batches):
    batches.submit(sentence(0), 0)
    model.next_batch()
    gone = batches.submit(sentence(1), 0)
    staying = batches.submit(sentence(2), 0)
    assert gone.cancel()
    model.let.release(2)
    assert model.next_batch() == [2]
    assert spoken(staying) == 2


def test_a_sentence_that_breaks_the_model_fails_alone(model, batches):
    first = batches.submit(sentence(0), 0)
    model.next_batch()
    good, breaking, refused = (
        batches.submit(sentence(number, length), 0)
        for number, length in ((1, 10), (2, 13), (3, 14))
    )
    model.let.release(10)
    assert [model.next_batch() for _ in range(4)] == [[1, 2, 3], [1], [2], [3]]
    assert (spoken(first), spoken(good)) == (0, 1)
    with pytest.raises(ValueError, match="broken"):
        breaking.result(timeout=PATIENCE)
    with pytest.raises(InternalError):
        refused.result(timeout=PATIENCE)
    assert spoken(batches.submit(sentence(4), 0)) == 4


def test_an_idle_model_waits_for_company(model):
    batches = Batches(
        model.speak, most=3, window_seconds=PATIENCE, metrics=ServingMetrics(None, "t")
    )
    for number in range(3):
        batches.submit(sentence(number), 0)
    # Full, so it need not wait to the end of its window.
    assert model.next_batch() == [0, 1, 2]
    model.let.release()
    batches.close()


def test_closing_leaves_nobody_waiting(model):
    batches = Batches(model.speak, most=1, window_seconds=0.0, metrics=ServingMetrics(None, "t"))
    speaking = batches.submit(sentence(0), 0)
    model.next_batch()
    waiting = batches.submit(sentence(1), 0)
    model.let.release(5)
    batches.close()
    assert spoken(speaking) == 0
    with pytest.raises(CancelledError):
        waiting.result(timeout=PATIENCE)
