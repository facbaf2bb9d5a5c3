"""Who holds a slot of the loop, and for how long."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest
import torch

from fakes.xtts import LIVELY, PATIENCE_SECONDS, Speaker, pieces_of, speaker
from voice_serving.engines.xtts_v2.network.voice import Voice
from voice_serving.engines.xtts_v2.settings import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voice_serving.engines.xtts_v2.network.sentence import Sentence

TEXT = (300, 301, 302)


@pytest.fixture
def one_slot(tiny_xtts: Path) -> Iterator[Speaker]:
    with speaker(tiny_xtts, slots=1, mute=True) as one:
        yield one


class Leaves(queue.SimpleQueue[Any]):
    """Hangs up at the first piece, in the loop's own thread: between two steps."""

    def __init__(self) -> None:
        self.sentence: Sentence
        self.tokens = 0
        self.may = threading.Event()

    def put(self, item: Any, *args: Any, **options: Any) -> None:
        assert self.may.wait(PATIENCE_SECONDS)
        self.tokens = len(self.sentence.tokens)
        self.sentence.gone = True
        super().put(item, *args, **options)


def voice_of(one: Speaker, seed: int = 0) -> Voice:
    generator = torch.Generator().manual_seed(seed)
    width = one.shape.width
    return Voice(
        torch.randn(32, width, generator=generator),
        torch.randn(one.shape.speaker_width, generator=generator),
    )


def test_whoever_has_gone_is_out_of_the_slot_at_the_next_step_and_the_next_one_in(one_slot):
    leaving = Leaves()
    gone = one_slot.begin(TEXT, voice_of(one_slot), LIVELY, least=80, pieces=leaving)
    leaving.sentence = gone
    waiting = one_slot.begin(TEXT, voice_of(one_slot), LIVELY, rank=(0, 1))
    leaving.may.set()
    assert pieces_of(waiting)
    # It had far to go, and took not one step more.
    assert len(gone.tokens) == leaving.tokens < 80
    assert leaving.qsize() == 1


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_numbers_that_are_none_stay_in_their_own_row(tiny_xtts, precision):
    with speaker(tiny_xtts, precision=precision, slots=4, mute=True) as one:
        voice = voice_of(one)
        expected, _ = one.say(TEXT, voice, LIVELY, least=40)
        alone = list(one.say(TEXT, voice, LIVELY, least=40)[1].tokens)
        nan = voice_of(one)
        nan.latents.fill_(float("nan"))
        nan.vector.fill_(float("nan"))
        poison = one.begin(TEXT, nan, LIVELY, least=80)
        beside = [one.begin(TEXT, voice, LIVELY, least=40, rank=(1, n)) for n in range(3)]
        for sentence in beside:
            assert sum(len(piece) for piece in pieces_of(sentence)) == len(expected)
            assert sentence.tokens == alone
        pieces_of(poison)
        # They stood beside each other for some steps.
        assert len(poison.tokens) >= 80
