"""XTTS v2 inside the real tritonserver: a small random checkpoint, two versions, a hard life."""

from __future__ import annotations

import hashlib
import os
import queue
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.grpc as grpc_client
from tritonclient.utils import InferenceServerException

from fakes.triton_caller import Caller, metric, stubs_of
from fakes.two_versions import two_versions
from fakes.wavs import wav_of
from random_xtts import TINY, write_xtts
from voice_gateway.providers.conditioning import TritonConditioning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tritonserver import Server

pytestmark = pytest.mark.integration

STREAMS, PENDING = 4, 4
SAMPLE = wav_of(0.1 * np.random.default_rng(3).standard_normal(66150).astype(np.float32), 22050)
SAMPLE_ID = hashlib.sha256(SAMPLE).hexdigest()
SECRET = "a word that no log may have"


@pytest.fixture(scope="module")
def server(tiny_xtts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("triton")
    settings = {"STREAMS": STREAMS, "MAX_PENDING": PENDING, "PRECISION": "fp32", "THREADS": 1}
    write_second = partial(write_xtts, size=TINY, seed=1)
    with two_versions("xtts_v2", folder, tiny_xtts, write_second, settings, SECRET) as server:
        yield server


@pytest.fixture
def caller(server: Server) -> Iterator[Caller]:
    one = Caller(server.grpc_url, "xtts_v2")
    yield one
    one.close()


def audio_of(chunks: list[Any]) -> np.ndarray[Any, Any]:
    return np.concatenate([chunk.samples for chunk in chunks])


def test_it_streams_in_order_and_the_last_chunk_is_final(caller):
    chunks = caller.ask("One sentence.", "And another one.", seed=1).hear()
    assert [c.sentence for c in chunks if c.last] == [0, 1]
    assert [c.final for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert np.isfinite(audio_of(chunks)).all()
    assert {c.sample_rate for c in chunks} == {24000}


def test_a_sample_is_asked_for_once_and_forgotten_on_demand(server, caller):
    with pytest.raises(InferenceServerException, match=r"^sample_unknown: "):
        caller.ask("Hi.", sample_ids=[SAMPLE_ID]).next()
    chunks = caller.ask("Hi.", sample_ids=[SAMPLE_ID], samples=[SAMPLE], seed=1).hear()
    known = caller.ask("Hi.", sample_ids=[SAMPLE_ID], seed=1).hear()
    assert known[0].voice == "clone"
    assert np.array_equal(audio_of(known), audio_of(chunks))
    assert metric(server, "voice_conditioning_hits_total") >= 1
    caller.tell(operation="forget", sample_ids=[SAMPLE_ID])
    with pytest.raises(InferenceServerException, match=r"^sample_unknown: "):
        caller.ask("Hi.", sample_ids=[SAMPLE_ID]).next()


def test_both_versions_forget_a_voice(server, caller):
    versions = ("1", "2")
    for version in versions:
        caller.ask("Hi.", version=version, sample_ids=[SAMPLE_ID], samples=[SAMPLE]).hear()
        caller.ask("Hi.", version=version, sample_ids=[SAMPLE_ID]).hear()
    TritonConditioning(url=server.grpc_url, tls=False, models=("xtts_v2",)).forget([SAMPLE_ID])
    for version in versions:
        with pytest.raises(InferenceServerException, match=r"^sample_unknown: "):
            caller.ask("Hi.", version=version, sample_ids=[SAMPLE_ID]).next()


def test_two_versions_serve_side_by_side_and_one_can_be_pinned(caller):
    first, second, latest = (
        audio_of(caller.ask("Hi.", seed=5, version=version).hear()) for version in ("1", "2", "")
    )
    assert first.shape != second.shape or not np.allclose(first, second)
    assert np.array_equal(latest, second)
    with pytest.raises(InferenceServerException, match="version"):
        caller.ask("Hi.", version="3").next()


def test_all_that_is_measured_can_be_read(server, caller):
    caller.ask("Hi.", sample_ids=[SAMPLE_ID], samples=[SAMPLE]).hear()
    for histogram in ("first_audio_ms", "queue_ms", "real_time_factor", "batch_size"):
        assert metric(server, f"voice_{histogram}_count") > 0
    for number in ("in_flight", "slots", "rejected_total"):
        assert metric(server, f"voice_{number}") >= 0
    for count in ("conditioning_hits_total", "conditioning_misses_total"):
        assert metric(server, f"voice_{count}") > 0
    caller.tell(operation="forget", sample_ids=[SAMPLE_ID])


def poisoned_sample(sample: bytes) -> dict[str, Any]:
    return {"sample_ids": [hashlib.sha256(sample).hexdigest()], "samples": [sample]}


def broken_strings(name: str, content: bytes) -> Any:
    """A tensor of strings whose bytes are no strings: their lengths lie."""
    tensor = grpc_client.InferInput(name, [1], "BYTES")
    tensor.set_data_from_numpy(np.array([b"x"], np.object_))
    tensor._raw_content = content
    return tensor


NAN_WAV = wav_of(np.full(66150, np.nan, np.float32), 22050, subtype="FLOAT")
TEN_MINUTES = wav_of(np.zeros(600 * 8000, np.int16), 8000, subtype="PCM_U8")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"language": "sw"}, "voice_not_installed: "),
        ({"voice": "nobody"}, "voice_not_installed: "),
        ({"language": "\udcff".encode(errors="surrogateescape")}, "invalid_input: language "),
        ({"sentences": [b"\xff\xfe"]}, "invalid_input: sentences "),
        ({"sentences": ["x" * 10_000]}, r"invalid_input: sentences\[0\] "),
        ({"sentences": ["x"] * 5001}, "invalid_input: sentences "),
        ({"sentences": None}, "invalid_input: sentences "),
        ({"sentences": np.zeros(0, np.object_)}, "invalid_input: sentences "),
        ({"temperature": float("nan")}, "invalid_input: temperature "),
        ({"temperature": 1e30}, "invalid_input: temperature "),
        ({"speed": float("-inf")}, "invalid_input: speed "),
        ({"seed": -(2**63)}, "invalid_input: seed "),
        ({"top_k": np.array([-1], np.int32)}, "invalid_input: top_k "),
        ({"sample_ids": ["nonsense"]}, r"invalid_input: sample_ids\[0\] "),
        ({"sample_ids": [SAMPLE_ID], "samples": [b""]}, r"invalid_input: samples\[0\] "),
        ({"sample_ids": [SAMPLE_ID], "samples": []}, r"sample_unknown: "),
        (poisoned_sample(b""), r"invalid_input: samples\[0\] "),
        (poisoned_sample(b"RIFF"), r"invalid_input: samples\[0\] "),
        (poisoned_sample(NAN_WAV), r"invalid_input: samples\[0\] "),
        (poisoned_sample(TEN_MINUTES), r"invalid_input: samples\[0\] "),
        (poisoned_sample(SAMPLE + bytes(9 << 20)), r"invalid_input: samples\[0\] "),
        ({"operation": "sing"}, "invalid_input: operation "),
        # Triton itself sees these, and names the tensor.
        ({"speed": np.array([1, 2], np.float32)}, ".*'speed'"),
        ({"speed": np.array([1.0], np.float64)}, ".*'speed'"),
        ({"top_k": np.array([[5]], np.int32)}, ".*'top_k'"),
        ({"seed": np.array([5], np.int32)}, ".*'seed'"),
        ({"noise_w": 0.5}, ".*'noise_w'"),
        ({"language": broken_strings("language", b"\xff\xff\xff\x7fen")}, ".*'language'"),
        ({"sentences": broken_strings("sentences", b"\x01")}, ".*'sentences'"),
    ],
)
def test_a_poisoned_request_fails_alone(server, caller, inputs, message):
    other = Caller(server.grpc_url, "xtts_v2").ask(
        "Somebody else.", "And so on.", seed=4, speed=4.0
    )
    with pytest.raises(InferenceServerException, match=f"^{message}"):
        caller.ask(SECRET, **inputs).next()
    assert [c.sentence for c in other.hear() if c.last] == [0, 1]
    other.close()
    assert caller.ask("Hello.", speed=4.0).hear()[-1].final


def test_a_deadline_ends_a_request(caller):
    with pytest.raises(InferenceServerException, match=r"^deadline: "):
        caller.ask(*["A sentence."] * 200, microseconds=300_000).hear()
    assert caller.ask("Hello.", speed=4.0).hear()[-1].final


# The last one: nothing speaks after it.
def test_a_stub_that_dies_is_told_by_a_call_and_by_nothing_else(server, caller):
    stubs = stubs_of(server)
    caller.ask(*["A sentence."] * 50).next()
    assert stubs
    for stub in stubs:
        os.kill(stub, signal.SIGKILL)
    # This Triton leaves those in the middle of a stream waiting, and those who call before it has
    # noticed; who calls then is told at once.
    assert any(_is_refused(server.grpc_url) for _ in range(10))
    assert server.ready()


def _is_refused(url):
    caller = Caller(url, "xtts_v2")
    try:
        caller.ask("Hello.").next(patience=5.0)
    except InferenceServerException:
        return True
    except queue.Empty:
        return False
    finally:
        caller.close()
    return False
