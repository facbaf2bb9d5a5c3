"""StyleTTS2 inside the real tritonserver: two versions of random weights, and a hard life.

The second version is broken on purpose: one phoneme's numbers are so large that whatever holds it
comes out as NaN.
"""

from __future__ import annotations

import hashlib
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tritonclient.utils import InferenceServerException

from fakes.styletts2 import recording, wav
from fakes.triton_caller import Caller, metric, wait_until_idle
from fakes.two_versions import two_versions
from fakes.wavs import wav_of
from fakes.windows import FakeSampleWindows, a_window
from random_styletts2 import CHECKPOINT, upstream, write_styletts2
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.providers.conditioning import TritonConditioning
from voice_gateway.providers.styletts2 import styletts2_on_triton
from voice_serving.engines.styletts2.symbols import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tritonserver import Server

pytestmark = pytest.mark.integration

STREAMS, PENDING = 4, 4
SAMPLE, SAMPLE_ID = wav(recording(seconds=3.0))
OTHER, OTHER_ID = wav(recording(seconds=2.0, seed=5))
NAN = wav_of(np.full(72_000, np.nan, np.float32), 24_000, subtype="FLOAT")
SECRET = "a word that no log may have"
BROKEN = "What a pleasure."
"""Has the phoneme that the second version cannot speak."""

ALIKE = 1e-2
"""A pitch's phase runs on, and with it rounding, which depends on company; another's speech would
be a hundred times as far away."""


def break_phoneme(folder: Path) -> None:
    checkpoint = torch.load(folder / CHECKPOINT, weights_only=False)
    text = checkpoint["net"]["text_encoder"]
    text["module.embedding.weight"][NUMBERS["ʒ"]] = 3e38
    # Its sum is infinite now; to the others it makes no difference, since a norm follows.
    text["module.cnn.0.0.weight_g"] *= 1e6
    torch.save(checkpoint, folder / CHECKPOINT)


def write_broken(folder: Path) -> None:
    write_styletts2(folder, upstream(tiny=True, seed=1))
    break_phoneme(folder)


@pytest.fixture(scope="module")
def server(tiny_styletts2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("triton")
    settings = {"STREAMS": STREAMS, "MAX_PENDING": PENDING, "SOUND_BATCH": 4, "THREADS": 1}
    with two_versions(
        "styletts2", folder, tiny_styletts2, write_broken, settings, SECRET
    ) as server:
        yield server


@pytest.fixture
def caller(server: Server) -> Iterator[Caller]:
    one = Caller(server.grpc_url, "styletts2")
    yield one
    one.close()


def ask(caller: Caller, *sentences: str, version: str = "1", **inputs: Any) -> Caller:
    """In the voice of the sample, which goes along."""
    usual = {"sample_ids": [SAMPLE_ID], "samples": [SAMPLE], "seed": 1}
    return caller.ask(*sentences, version=version, **(usual | inputs))


def wait_until_nothing_is_spoken(server: Server) -> None:
    """What the model had begun for those who left is spoken to its end: a sentence at most."""
    again = threading.Event()
    for _ in range(1000):
        if metric(server, "voice_slots") == 0:
            return
        again.wait(0.02)
    raise AssertionError("sentences never ended")


def audio_of(chunks: list[Any]) -> np.ndarray[Any, Any]:
    return np.concatenate([chunk.samples for chunk in chunks])


def test_it_streams_sentence_by_sentence_and_the_last_chunk_is_final(caller):
    chunks = ask(caller, "One sentence.", "...", "And another one.").hear()
    assert [(c.sentence, c.last, c.final) for c in chunks] == [
        (0, True, False),
        (1, True, False),
        (2, True, True),
    ]
    assert [len(c.samples) > 4000 for c in chunks] == [True, False, True]
    assert np.isfinite(audio_of(chunks)).all()
    assert {(c.sample_rate, c.voice) for c in chunks} == {(24_000, "clone")}


def test_a_sample_is_asked_for_once_and_forgotten_on_demand(server, caller):
    theirs = {"sample_ids": [OTHER_ID]}
    with pytest.raises(InferenceServerException, match=r"^sample_unknown: "):
        ask(caller, "Hi.", version="", samples=None, **theirs).next()
    sent = audio_of(ask(caller, "Hi.", version="", samples=[OTHER], **theirs).hear())
    hits = metric(server, "voice_conditioning_hits_total")
    known = audio_of(ask(caller, "Hi.", version="", samples=None, **theirs).hear())
    assert np.array_equal(known, sent)
    assert metric(server, "voice_conditioning_hits_total") == hits + 1
    caller.tell(operation="forget", sample_ids=[OTHER_ID])
    with pytest.raises(InferenceServerException, match=r"^sample_unknown: "):
        ask(caller, "Hi.", version="", samples=None, **theirs).next()


def test_both_versions_forget_a_voice(server, caller):
    theirs = {"sample_ids": [OTHER_ID]}
    versions = ("1", "2")
    for version in versions:
        ask(caller, "Hi.", version=version, samples=[OTHER], **theirs).hear()
        ask(caller, "Hi.", version=version, samples=None, **theirs).hear()
    TritonConditioning(url=server.grpc_url, tls=False, models=("styletts2",)).forget([OTHER_ID])
    for version in versions:
        with pytest.raises(InferenceServerException, match=r"^sample_unknown: "):
            ask(caller, "Hi.", version=version, samples=None, **theirs).next()


def test_two_versions_serve_side_by_side_and_one_can_be_pinned(caller):
    first, second, newest = (
        audio_of(ask(caller, "Hi.", version=version).hear()) for version in ("1", "2", "")
    )
    assert np.array_equal(second, newest)
    assert not np.array_equal(first[:2000], second[:2000])


@pytest.mark.parametrize("speed", [1.0, 2.0])
async def test_the_gateway_learns_when_each_word_is_heard(server, speed):
    window = a_window("styletts2", SAMPLE_ID)
    provider = styletts2_on_triton(
        server.grpc_url, tls=False, samples=FakeSampleWindows({window.path: SAMPLE})
    )
    request = SpeechRequest(
        sentences=("Hello there, my friend.", "...", "In the 35 days."),
        language="en",
        chain=("styletts2",),
        windows={"styletts2": window},
        speed=speed,
    )
    chunks = [chunk async for chunk in provider.synthesize(request)]
    await provider.aclose()
    assert [[word.word for word in chunk.words] for chunk in chunks] == [
        ["Hello", "there", "my", "friend"],
        [],
        ["In the", "35", "days"],
    ]
    for chunk in (chunks[0], chunks[2]):
        assert all(word.start < word.end for word in chunk.words)
        assert all(one.end < other.start for one, other in pairwise(chunk.words))
        assert chunk.words[0].start > 0
        assert chunk.words[-1].end <= len(chunk.samples) / chunk.sample_rate


def test_the_controls_reach_the_model(caller):
    usual = audio_of(ask(caller, "Hello there.").hear())
    for name, value in {"alpha": 0.9, "beta": 0.1, "embedding_scale": 3.0, "speed": 2.0}.items():
        other = audio_of(ask(caller, "Hello there.", **{name: value}).hear())
        shared = min(len(usual), len(other))
        assert not np.allclose(usual[:shared], other[:shared], atol=1e-4), name


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"language": "fr"}, "voice_not_installed: "),
        ({"alpha": float("nan")}, "invalid_input: alpha "),
        ({"beta": 1.5}, "invalid_input: beta "),
        ({"embedding_scale": 11.0}, "invalid_input: embedding_scale "),
        ({"sentences": ["x" * 10_000]}, r"invalid_input: sentences\[0\] "),
        ({"sample_ids": ["nonsense"]}, r"invalid_input: sample_ids\[0\] "),
        (
            {"sample_ids": [hashlib.sha256(NAN).hexdigest()], "samples": [NAN]},
            r"invalid_input: samples\[0\] has values that are not numbers",
        ),
        ({"sentences": None}, "invalid_input: sentences "),
    ],
)
def test_a_poisoned_request_fails_alone(caller, inputs, message):
    with pytest.raises(InferenceServerException, match=f"^{message}"):
        ask(caller, SECRET, **inputs).next()
    assert ask(caller, "Hello.").hear()[-1].final


def test_what_is_not_a_number_is_an_error_and_never_audio(server, caller):
    assert np.isfinite(audio_of(ask(caller, BROKEN, version="1").hear())).all()
    alone = audio_of(ask(caller, "We all met today.", version="2").hear())
    # In one batch with others, of which some are heard and some are not.
    others = [Caller(server.grpc_url, "styletts2") for _ in range(3)]
    for one, text in zip(others, (BROKEN, "We all met today.", BROKEN), strict=True):
        ask(one, text, version="2")
    with pytest.raises(InferenceServerException, match=r"^internal: .* not numbers"):
        ask(caller, BROKEN, version="2").next()
    for one in (others[0], others[2]):
        with pytest.raises(InferenceServerException, match=r"^internal: .* not numbers"):
            one.next()
    assert np.abs(audio_of(others[1].hear()) - alone).max() < ALIKE
    for one in others:
        one.close()


def test_a_deadline_ends_a_request(caller):
    with pytest.raises(InferenceServerException, match=r"^deadline: "):
        ask(caller, *["A sentence."] * 200, microseconds=300_000).hear()
    assert ask(caller, "Hello.").hear()[-1].final


def test_a_caller_who_hangs_up_frees_the_place(server):
    gone = [Caller(server.grpc_url, "styletts2") for _ in range(STREAMS)]
    for one in gone:
        ask(one, *["A sentence."] * 200).next()
    for one in gone:
        one.close()
    wait_until_idle(server)
    wait_until_nothing_is_spoken(server)
