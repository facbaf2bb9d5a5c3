"""The XTTS engine over a small random checkpoint: requests, voices, failures."""

from __future__ import annotations

import hashlib
import io
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from fakes.pb_utils import FakeBackend
from fakes.wavs import wav_of
from voice_serving.engine import AudioChunk, SynthesisInput
from voice_serving.engines.xtts_v2 import XttsEngine
from voice_serving.errors import (
    CancelledError,
    InternalError,
    InvalidInputError,
    SampleUnknownError,
    VoiceNotInstalledError,
)
from voice_serving.metrics import ServingMetrics
from voice_serving.params import ParameterError, Parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray


def wav(audio: NDArray[Any], **options: Any) -> bytes:
    return wav_of(audio, 22050, **options)


def recording(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).standard_normal(int(22050 * seconds))
    return (0.1 * noise).astype(np.float32)


def flac(audio: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, audio, 22050, format="FLAC")
    return file.getvalue()


def id_of(sample: bytes) -> str:
    return hashlib.sha256(sample).hexdigest()


SAMPLE = wav(recording(3.0))


@pytest.fixture(scope="module")
def make(tiny_xtts: Path) -> Iterator[Callable[..., XttsEngine]]:
    engines = []

    def made(backend: FakeBackend | None = None, **parameters: str) -> XttsEngine:
        engine = XttsEngine()
        settings = {"precision": "fp32", **parameters}
        metrics = ServingMetrics(backend, "xtts_v2")
        engine.load(Parameters("xtts_v2", settings, {}), tiny_xtts, metrics)
        engines.append(engine)
        return engine

    yield made
    for engine in engines:
        engine.close()


@pytest.fixture(scope="module")
def engine(make: Callable[..., XttsEngine]) -> XttsEngine:
    return make()


def speak(engine: XttsEngine, *sentences: str, **fields: Any) -> list[AudioChunk]:
    request = SynthesisInput(**{"sentences": sentences, "language": "en", "seed": 1, **fields})
    return list(engine.synthesize(request, lambda: False))


def audio_of(chunks: list[AudioChunk]) -> NDArray[np.float32]:
    return np.concatenate([chunk.samples for chunk in chunks])


def test_sentences_come_in_order_and_each_ends_once(engine):
    chunks = speak(engine, "One sentence.", "...", "And a third one, which is longer.")
    assert [c.sentence for c in chunks] == sorted(c.sentence for c in chunks)
    assert [c.sentence for c in chunks if c.last] == [0, 1, 2]
    assert all(c.sample_rate == 24000 and c.voice == "speaker 1" for c in chunks)
    assert [len(c.samples) for c in chunks if c.sentence == 1] == [0]
    for index in (0, 2):
        heard = audio_of([c for c in chunks if c.sentence == index])
        assert heard.dtype == np.float32
        assert 0.01 < np.abs(heard).max() <= 1.0


def test_the_same_seed_gives_the_same_audio_whoever_else_speaks(engine):
    alone = audio_of(speak(engine, "Say this."))
    others = [
        threading.Thread(target=speak, args=(engine, f"Text {n}."), kwargs={"seed": n})
        for n in range(4)
    ]
    for other in others:
        other.start()
    together = audio_of(speak(engine, "Say this."))
    for other in others:
        other.join()
    assert together.shape == alone.shape
    assert np.abs(together - alone).max() < 1e-3
    assert audio_of(speak(engine, "Say this.", seed=2)).shape != alone.shape


def test_a_sentence_beyond_the_language_s_limit_is_one_sentence(engine):
    chunks = speak(engine, "Once upon a time there was a king. " * 20)
    assert [c.sentence for c in chunks if c.last] == [0]
    assert chunks[-1].last


def test_a_sample_is_asked_for_once_and_then_known(make, tmp_path):
    engine = make(cache_dir=str(tmp_path))
    ids = (id_of(SAMPLE),)
    with pytest.raises(SampleUnknownError):
        speak(engine, "Hi.", sample_ids=ids)
    first = audio_of(speak(engine, "Hi.", sample_ids=ids, samples=(SAMPLE,)))
    chunks = speak(engine, "Hi.", sample_ids=ids)
    assert np.array_equal(audio_of(chunks), first)
    assert {c.voice for c in chunks} == {"clone"}
    again = make(cache_dir=str(tmp_path))
    assert np.abs(audio_of(speak(again, "Hi.", sample_ids=ids)) - first).max() < 1e-3
    again.forget(ids)
    with pytest.raises(SampleUnknownError):
        speak(again, "Hi.", sample_ids=ids)


def test_several_samples_make_one_voice(engine):
    other = wav(recording(4.0, seed=9))
    ids = (id_of(SAMPLE), id_of(other))
    both = audio_of(speak(engine, "Hi.", sample_ids=ids, samples=(SAMPLE, other)))
    one = audio_of(speak(engine, "Hi.", sample_ids=ids[:1], samples=(SAMPLE,)))
    assert both.shape != one.shape or np.abs(both - one).max() > 1e-3


@pytest.mark.parametrize(
    ("sample", "field"),
    [
        (b"not a wav", "samples[0] "),
        (wav(recording(0.2)), "samples "),
        (wav(np.full(44100, np.nan, np.float32), subtype="FLOAT"), "samples[0] "),
        (wav(np.full(44100, np.inf, np.float32), subtype="FLOAT"), "samples[0] "),
        (wav(np.zeros(0, np.float32)), "samples "),
        (b"", "samples[0] "),
        # A few bytes that ask for much: ten minutes, an hour in FLAC, gigabytes of resampling.
        (wav_of(np.zeros(600 * 8000, np.int16), 8000, subtype="PCM_U8"), "samples[0] "),
        (flac(np.zeros(3600 * 22050, np.int16)), "samples[0] "),
        (wav_of(recording(3.0), 44099), "samples[0] "),
    ],
)
def test_a_poisoned_sample_fails_alone(engine, sample, field):
    with pytest.raises(InvalidInputError) as caught:
        speak(engine, "Hi.", sample_ids=(id_of(sample),), samples=(sample,))
    assert str(caught.value).startswith(field)
    assert speak(engine, "Hi.")


def test_a_sample_is_what_its_id_says(engine):
    with pytest.raises(InvalidInputError, match="not what its id says"):
        speak(engine, "Hi.", sample_ids=("0" * 64,), samples=(SAMPLE,))


def test_a_silent_sample_is_a_voice_of_its_own_and_no_nan(engine):
    silence = wav(np.zeros(66150, np.float32))
    chunks = speak(engine, "Hi.", sample_ids=(id_of(silence),), samples=(silence,))
    assert np.isfinite(audio_of(chunks)).all()


@pytest.mark.parametrize(("field", "value"), [("language", "sw"), ("voice", "nobody")])
def test_who_is_not_here_is_named_so(engine, field, value):
    with pytest.raises(VoiceNotInstalledError):
        speak(engine, "Hi.", **{field: value})


def test_a_region_is_no_other_language(engine):
    assert speak(engine, "Hi.", language="en-GB", voice="speaker 2")[0].voice == "speaker 2"


def test_who_has_gone_frees_the_place(engine):
    gone = threading.Event()
    request = SynthesisInput(sentences=("A sentence.",) * 200, language="en", seed=3)
    stream = engine.synthesize(request, gone.is_set)
    next(stream)
    gone.set()
    with pytest.raises(CancelledError):
        list(stream)
    stream = engine.synthesize(request, lambda: False)
    next(stream)
    stream.close()
    assert speak(engine, "Hi.")


def test_more_callers_than_places_are_all_served(make):
    engine = make(slots="2", streams="16")
    texts = [f"This is caller number {number}." for number in range(8)]
    alone = [audio_of(speak(engine, text, seed=n)) for n, text in enumerate(texts)]
    heard: dict[int, NDArray[np.float32]] = {}

    def call(number: int) -> None:
        heard[number] = audio_of(speak(engine, texts[number], seed=number))

    callers = [threading.Thread(target=call, args=(n,)) for n in range(len(texts))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for number, expected in enumerate(alone):
        assert heard[number].shape == expected.shape
        assert np.abs(heard[number] - expected).max() < 1e-3


def test_speed_is_native(engine):
    usual, fast = (len(audio_of(speak(engine, "Say this.", speed=s))) for s in (1.0, 2.0))
    assert abs(usual / fast - 2) < 0.1


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_reduced_precisions_speak(make, precision):
    chunks = speak(make(precision=precision), "Say this.")
    assert np.isfinite(audio_of(chunks)).all()
    assert np.abs(audio_of(chunks)).max() > 0.01


def test_slots_batches_and_the_cache_are_measured(make):
    backend = FakeBackend()
    engine = make(backend)
    for _ in range(2):
        speak(engine, "Hi.", sample_ids=(id_of(SAMPLE),), samples=(SAMPLE,))
    assert backend.metrics["voice_batch_size"].observations
    assert backend.metrics["voice_conditioning_misses_total"].value == 1
    assert backend.metrics["voice_conditioning_hits_total"].value == 1


def test_a_folder_without_a_checkpoint_says_so(tmp_path, tiny_xtts):
    (tmp_path / "config.json").write_bytes((tiny_xtts / "config.json").read_bytes())
    with pytest.raises(InternalError, match=r"model\.pth"):
        XttsEngine().load(Parameters("xtts_v2", {}, {}), tmp_path, ServingMetrics(None, "xtts_v2"))


def test_a_precision_that_nothing_computes_is_named(make):
    with pytest.raises(ParameterError, match="XTTS_V2_VOCODER_PRECISION"):
        make(vocoder_precision="int8")
