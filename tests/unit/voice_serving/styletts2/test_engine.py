"""The engine over a tiny random checkpoint: what it refuses, remembers and hands on."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fakes.styletts2 import recording, wav
from voice_serving.engine import SynthesisInput
from voice_serving.engines.styletts2 import StyleTts2Engine
from voice_serving.engines.styletts2.engine import SAMPLE_RATE
from voice_serving.errors import (
    CancelledError,
    InternalError,
    InvalidInputError,
    SampleUnknownError,
    VoiceNotInstalledError,
)
from voice_serving.metrics import ServingMetrics
from voice_serving.params import Parameters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voice_serving.engine import AudioChunk, WordTime

SAMPLE, SAMPLE_ID = wav(recording(seconds=3.0))
OTHER, OTHER_ID = wav(recording(seconds=2.0, seed=5))


def loaded(checkpoint: Path, **parameters: str) -> StyleTts2Engine:
    engine = StyleTts2Engine()
    engine.load(
        Parameters("styletts2", {"threads": "1", **parameters}, {}),
        checkpoint,
        ServingMetrics(None, "styletts2"),
    )
    return engine


@pytest.fixture(scope="module")
def engine(tiny_styletts2) -> Iterator[StyleTts2Engine]:
    one = loaded(tiny_styletts2)
    one.warm_up()
    yield one
    one.close()


def asked(*sentences: str, **settings: Any) -> SynthesisInput:
    values = {
        "language": "en",
        "sample_ids": (SAMPLE_ID,),
        "samples": (SAMPLE,),
        "seed": 7,
        "diffusion_steps": 2,
        **settings,
    }
    return SynthesisInput(sentences=sentences, **values)


def hear(engine: StyleTts2Engine, request: SynthesisInput) -> list[AudioChunk]:
    return list(engine.synthesize(request, lambda: False))


def test_speaks_sentence_by_sentence(engine):
    chunks = hear(engine, asked("Hello there.", "...", "Good bye."))
    assert [(c.sentence, c.last, c.voice) for c in chunks] == [
        (0, True, "clone"),
        (1, True, "clone"),
        (2, True, "clone"),
    ]
    assert {c.sample_rate for c in chunks} == {SAMPLE_RATE}
    assert [len(c.samples) > 4000 for c in chunks] == [True, False, True]
    assert all(np.abs(c.samples).max(initial=0) <= 1 for c in chunks)


def test_a_seed_is_the_same_audio_and_another_seed_another(engine):
    one, same, other = (hear(engine, asked("Hello.", seed=seed))[0].samples for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one[:4000], other[:4000])
    drawn = [hear(engine, asked("Hello.", seed=None))[0].samples[:4000] for _ in range(2)]
    assert not np.array_equal(*drawn)


def test_a_sentence_takes_over_the_style_of_the_one_before(engine, tiny_styletts2):
    without = loaded(tiny_styletts2, carry_percent="0")
    second = [hear(e, asked("One.", "Two three."))[1].samples for e in (engine, without)]
    assert not np.array_equal(second[0][:4000], second[1][:4000])
    first = [hear(e, asked("One.", "Two three."))[0].samples for e in (engine, without)]
    assert np.array_equal(first[0], first[1])
    without.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [("alpha", 0.9), ("beta", 0.1), ("diffusion_steps", 4), ("embedding_scale", 3.0)],
)
def test_every_setting_can_be_heard(engine, name, value):
    usual = hear(engine, asked("Hello there."))[0].samples
    changed = hear(engine, asked("Hello there.", **{name: value}))[0].samples
    shared = min(len(usual), len(changed))
    assert not np.allclose(usual[:shared], changed[:shared], atol=1e-4)


def test_the_fast_preset_takes_three_steps_at_most(tiny_styletts2):
    fast = loaded(tiny_styletts2, preset="fast")
    asked_for = [
        hear(fast, asked("Hello.", diffusion_steps=steps))[0].samples for steps in (3, 5, None, 2)
    ]
    assert all(np.array_equal(asked_for[0], each) for each in asked_for[1:3])
    assert not np.array_equal(asked_for[0][:2000], asked_for[3][:2000])
    fast.close()


def test_faster_is_shorter(engine):
    slow, fast = (hear(engine, asked("Hello there.", speed=s))[0].samples for s in (0.5, 2.0))
    assert len(slow) > 2.5 * len(fast)


def times(chunks: list[AudioChunk], sentence: int = 0) -> list[WordTime]:
    return [word for chunk in chunks if chunk.sentence == sentence for word in chunk.words]


def seconds(chunks: list[AudioChunk], sentence: int = 0) -> float:
    samples = sum(len(chunk.samples) for chunk in chunks if chunk.sentence == sentence)
    return samples / SAMPLE_RATE


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_every_word_has_its_time_within_the_sentence(engine, speed):
    chunks = hear(engine, asked("Hello there, my friend.", "...", "In the 35 days.", speed=speed))
    assert [each.word for each in times(chunks, 0)] == ["Hello", "there", "my", "friend"]
    assert times(chunks, 1) == []
    assert [each.word for each in times(chunks, 2)] == ["In the", "35", "days"]
    for sentence in (0, 2):
        told = times(chunks, sentence)
        assert all(0 < each.start < each.end for each in told)
        assert all(one.end < other.start for one, other in pairwise(told))
        assert told[-1].end <= seconds(chunks, sentence)


def test_twice_as_fast_is_half_the_time(engine):
    slow, fast = (hear(engine, asked("Hello there, my friend.", speed=s)) for s in (0.25, 0.5))
    for one, other in zip(times(slow), times(fast), strict=True):
        # But for rounding: a phoneme lasts whole frames, of 25 ms.
        assert one.start == pytest.approx(2 * other.start, rel=0.1)
        assert one.end == pytest.approx(2 * other.end, rel=0.1)


def test_the_times_of_a_sentence_in_pieces_run_on(engine):
    chunks = hear(engine, asked("This goes on and on, " * 30))
    told = times(chunks)
    assert [each.word for each in told] == ["This", "goes", "on", "and", "on"] * 30
    assert all(one.end < other.start for one, other in pairwise(told))
    passed = 0.0
    for chunk in chunks:
        assert passed < chunk.words[0].start < chunk.words[-1].end
        passed += len(chunk.samples) / SAMPLE_RATE
        assert chunk.words[-1].end <= passed


def test_a_sentence_longer_than_the_model_hears_comes_in_pieces(engine):
    chunks = hear(engine, asked("This goes on and on, " * 30))
    assert len(chunks) > 1
    assert [c.last for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert {c.sentence for c in chunks} == {0}


def test_a_voice_is_heard_once(tiny_styletts2, tmp_path):
    engine = loaded(tiny_styletts2, cache_dir=str(tmp_path))
    with pytest.raises(SampleUnknownError):
        hear(engine, asked("Hello.", samples=()))
    first = hear(engine, asked("Hello."))[0].samples
    assert np.array_equal(hear(engine, asked("Hello.", samples=()))[0].samples, first)
    engine.close()
    again = loaded(tiny_styletts2, cache_dir=str(tmp_path))
    assert np.array_equal(hear(again, asked("Hello.", samples=()))[0].samples, first)
    again.forget((SAMPLE_ID,))
    with pytest.raises(SampleUnknownError):
        hear(again, asked("Hello.", samples=()))
    assert list(tmp_path.rglob("*.safetensors")) == []
    again.close()


def test_several_samples_make_one_voice(engine):
    both = hear(engine, asked("Hi.", sample_ids=(SAMPLE_ID, OTHER_ID), samples=(SAMPLE, OTHER)))
    one = hear(engine, asked("Hi."))
    assert not np.array_equal(both[0].samples[:2000], one[0].samples[:2000])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (lambda: wav(recording(seconds=0.5)), "must hold a second of speech"),
        (lambda: wav(np.zeros(72_000, np.float32)), "must hold a second of speech"),
        (lambda: wav(recording(rate=22_050), rate=22_050), "must be at 24000 Hz"),
        (lambda: (SAMPLE, OTHER_ID), "is not what its id says"),
    ],
)
def test_a_sample_without_a_voice_is_named(engine, samples, message):
    content, sample_id = samples()
    with pytest.raises(InvalidInputError, match=message) as caught:
        hear(engine, asked("Hello.", sample_ids=(sample_id,), samples=(content,)))
    assert caught.value.field == "samples[0]"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"language": "fr"}, "English only"),
        ({"sample_ids": (), "samples": ()}, "name one"),
    ],
)
def test_what_it_cannot_do_is_said(engine, changes, message):
    with pytest.raises(VoiceNotInstalledError, match=message):
        hear(engine, asked("Hello.", **changes))


def test_a_caller_who_has_gone_is_spoken_for_no_longer(engine):
    gone = threading.Event()
    chunks = engine.synthesize(asked("One.", "Two.", "Three."), gone.is_set)
    assert next(chunks).sentence == 0
    gone.set()
    with pytest.raises(CancelledError):
        next(chunks)


def test_without_a_checkpoint_it_does_not_start(tmp_path):
    with pytest.raises(InternalError, match=r"config.yml is missing"):
        loaded(tmp_path)
    with pytest.raises(InternalError, match="asks for a GPU"):
        loaded(tmp_path, device="cuda")
