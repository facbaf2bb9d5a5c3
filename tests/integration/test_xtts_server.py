"""XTTS v2 inside the real tritonserver: a small random checkpoint, two versions, a hard life."""

from __future__ import annotations

import hashlib
import os
import queue
import random
import shutil
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from fakes.triton_caller import Caller, free_ports, metric, wait_until_idle
from fakes.wavs import wav_of
from tritonserver import Server, install, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
STREAMS, PENDING = 4, 4
SAMPLE = wav_of(0.1 * np.random.default_rng(3).standard_normal(66150).astype(np.float32), 22050)
SAMPLE_ID = hashlib.sha256(SAMPLE).hexdigest()
SECRET = "a word that no log may have"


@pytest.fixture(scope="module")
def server(tiny_xtts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("triton")
    repository = folder / "repository"
    skip = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.pth")
    shutil.copytree(ROOT / "model_repository/xtts_v2", repository / "xtts_v2", ignore=skip)
    shutil.copytree(repository / "xtts_v2/1", repository / "xtts_v2/2")
    for version in ("1", "2"):
        shutil.copytree(tiny_xtts, repository / "xtts_v2" / version, dirs_exist_ok=True)
    server = Server(
        installation=install(ROOT / ".local/tools"),
        repository=repository,
        source=ROOT / "triton/src",
        run_dir=folder / "run",
        models=("xtts_v2",),
        ports=free_ports(),
        variables={
            "XTTS_V2_STREAMS": str(STREAMS),
            "XTTS_V2_MAX_PENDING": str(PENDING),
            "XTTS_V2_PRECISION": "fp32",
            "XTTS_V2_THREADS": "1",
            "XTTS_V2_CACHE_DIR": str(folder / "conditioning"),
        },
    )
    log = folder / "log"
    with running(server, log, timeout=240.0):
        yield server
    assert SECRET not in log.read_text(errors="replace"), "customers' text is in the log"


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


def test_two_versions_serve_side_by_side_and_one_can_be_pinned(caller):
    first = audio_of(caller.ask("Hi.", seed=5, version="1").hear())
    second = audio_of(caller.ask("Hi.", seed=5, version="2").hear())
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"language": "sw"}, "voice_not_installed: "),
        ({"temperature": float("nan")}, "invalid_input: temperature "),
        ({"sentences": ["x" * 10_000]}, r"invalid_input: sentences\[0\] "),
        ({"sample_ids": ["nonsense"]}, r"invalid_input: sample_ids\[0\] "),
        ({"sentences": None}, "invalid_input: sentences "),
    ],
)
def test_a_poisoned_request_fails_alone(caller, inputs, message):
    with pytest.raises(InferenceServerException, match=f"^{message}"):
        caller.ask(SECRET, **inputs).next()
    assert caller.ask("Hello.").hear()[-1].final


def test_a_deadline_ends_a_request(caller):
    with pytest.raises(InferenceServerException, match=r"^deadline: "):
        caller.ask(*["A sentence."] * 200, microseconds=300_000).hear()
    assert caller.ask("Hello.").hear()[-1].final


def test_a_crowd_that_comes_and_goes_leaves_nothing_behind(server):
    """Three times as many as there is room for; the alive are heard whole and unmixed."""
    texts = [f"Caller number {number} says this." for number in range(6)]
    with_one = Caller(server.grpc_url, "xtts_v2")
    expected = [
        audio_of(with_one.ask(text, seed=number).hear()) for number, text in enumerate(texts)
    ]
    outcomes: list[str] = []
    lock = threading.Lock()

    def crowd(seed: int) -> None:
        chooser = random.Random(seed)
        for _ in range(12):
            number = chooser.randrange(len(texts))
            outcome = one_call(number, leaves=chooser.random() < 0.25)
            with lock:
                outcomes.append(outcome)

    def one_call(number: int, *, leaves: bool) -> str:
        caller = Caller(server.grpc_url, "xtts_v2")
        try:
            caller.ask(texts[number], seed=number)
            if leaves:
                return "left"
            heard = audio_of(caller.hear())
        except InferenceServerException as error:
            assert str(error).startswith("overloaded: ")
            assert "retry in " in str(error)
            return "refused"
        finally:
            caller.close()
        assert heard.shape == expected[number].shape, "mixed"
        assert np.abs(heard - expected[number]).max() < 1e-3, "mixed"
        return "heard"

    callers = [threading.Thread(target=crowd, args=(n,)) for n in range(3 * (STREAMS + PENDING))]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    wait_until_idle(server)
    with_one.close()
    assert len(outcomes) == 12 * len(callers), "a caller failed"
    assert {"left", "heard", "refused"} <= set(outcomes)
    assert metric(server, "voice_slots") == 0


# The last one: nothing speaks after it.
def test_a_stub_that_dies_is_told_by_a_call_and_by_nothing_else(server, caller):
    stubs = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"triton_python_backend_stub" in path.read_bytes()
        and server.shared_memory_prefix.encode() in path.read_bytes()
    ]
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
