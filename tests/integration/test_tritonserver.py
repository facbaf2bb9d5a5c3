"""Piper inside the real tritonserver, spoken to over gRPC as the functions do.

The voices are the tiny ones: what is tested is the road, and their tones tell who spoke.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from fakes.tiny_piper import build_voice
from fakes.triton_caller import Caller, free_ports, metric, wait_until_idle
from tritonserver import Server, install, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
STREAMS, PENDING = 4, 4
PATIENCE_SECONDS = 20.0
SECRET = "a word that no log may have"
LONG = ["Wait."] * 10
"""Spoken by the voice `slow`, some tenths of a second of work."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("triton")
    repository = folder / "repository"
    without_voices = shutil.ignore_patterns("*.onnx*", "__pycache__")
    shutil.copytree(ROOT / "model_repository/piper", repository / "piper", ignore=without_voices)
    shipped = repository / "piper/1/voices"
    shipped.mkdir(exist_ok=True)
    build_voice(shipped / "budtender.onnx", speakers=("marcel", "shante"), sample_rate=22050)
    downloaded = folder / "voices"
    downloaded.mkdir()
    build_voice(downloaded / "fr_FR-siwis-medium.onnx", espeak_voice="fr")
    build_voice(downloaded / "slow.onnx", slow=True)
    server = Server(
        installation=install(ROOT / ".local/tools"),
        repository=repository,
        source=ROOT / "triton/src",
        run_dir=folder / "run",
        models=("piper",),
        ports=free_ports(),
        variables={
            "PIPER_STREAMS": str(STREAMS),
            "PIPER_MAX_PENDING": str(PENDING),
            "PIPER_VOICES_DIR": str(downloaded),
        },
    )
    log = folder / "log"
    with running(server, log):
        yield server
    text = log.read_text(errors="replace")
    assert SECRET not in text, "customers' text is in the log"


@pytest.fixture
def call(server: Server) -> Iterator[Callable[[], Caller]]:
    callers: list[Caller] = []

    def called() -> Caller:
        callers.append(Caller(server.grpc_url, "piper"))
        return callers[-1]

    yield called
    for caller in callers:
        caller.close()
    wait_until_idle(server)


def test_speaks_sentence_by_sentence(call):
    chunks = call().ask("Hello there.", SECRET, "Good bye.").hear()
    assert [(c.sentence, c.last, c.final) for c in chunks] == [
        (0, True, False),
        (1, True, False),
        (2, True, True),
    ]
    assert {(c.voice, c.sample_rate) for c in chunks} == {("budtender/marcel", 22050)}
    assert all(0.2 < np.abs(c.samples).max() <= 1 for c in chunks)


def test_streams_that_run_together_never_mix(call):
    texts = [
        [f"Caller {caller} says sentence {n}." for n in range(12)]
        for caller in range(STREAMS + PENDING)
    ]
    alone = call()
    expected = [alone.ask(*text, noise_scale=0.0).hear() for text in texts]
    together = [call().ask(*text, noise_scale=0.0) for text in texts]
    for caller, reference in zip(together, expected, strict=True):
        heard = caller.hear()
        assert [c.sentence for c in heard] == list(range(12))
        for one, other in zip(heard, reference, strict=True):
            assert np.array_equal(one.samples, other.samples)


def test_a_newcomer_is_heard_before_the_tail_of_a_long_text(call):
    long = call().ask(*LONG, voice="slow")
    long.next()
    assert call().ask("Hello.").hear()[-1].final
    # The long one was in full swing all the while.
    assert long.waiting < len(LONG) - 1
    assert len(long.hear()) == len(LONG) - 1


def test_too_many_are_told_to_come_back_and_the_others_are_served(server, call):
    rejected = metric(server, "voice_rejected_total")
    admitted = [call().ask(*LONG, voice="slow") for _ in range(STREAMS + PENDING)]
    _wait_for_in_flight(server, STREAMS + PENDING)
    with pytest.raises(InferenceServerException, match=r"^overloaded: .*retry_after_ms=\d+$"):
        call().ask("Hello.").next()
    assert metric(server, "voice_rejected_total") == rejected + 1
    for caller in admitted:
        assert len(caller.hear()) == len(LONG)
    assert call().ask("Hello.").hear()[-1].final


def _wait_for_in_flight(server: Server, count: int) -> None:
    again = threading.Event()
    for _ in range(1000):
        if metric(server, "voice_in_flight") >= count:
            return
        again.wait(0.02)
    raise AssertionError("requests never arrived")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"speed": float("nan")}, "invalid_input: speed "),
        ({"speaker": "bob"}, "voice_not_installed: budtender has no such speaker"),
        ({"sentences": ["a", ""]}, "invalid_input: sentences[1] "),
        ({"sentences": [b"\xff"]}, "invalid_input: sentences must be UTF-8"),
        ({"language": "ja"}, "voice_not_installed: "),
        ({"voice": "de_DE-thorsten-medium", "language": "de"}, "voice_not_installed: "),
        ({"voice": "budtender", "language": "fr"}, "voice_not_installed: "),
    ],
)
def test_a_bad_request_fails_alone_on_an_open_stream(call, inputs, message):
    caller = call()
    with pytest.raises(InferenceServerException) as caught:
        caller.ask("Hello.", **inputs).next()
    assert str(caught.value).startswith(message)
    assert caller.ask("Hello.").hear()[-1].final


def test_any_text_may_be_spoken(call):
    chunks = call().ask("Åsa, ça va?", "你好。", "🙂", "\u200b", "Привет!", "مرحبا").hear()
    assert [c.sentence for c in chunks if c.last] == list(range(6))


def test_speed_and_speaker_reach_the_voice(call):
    caller = call()
    (usual,) = caller.ask("Hello there.").hear()
    (fast,) = caller.ask("Hello there.", speed=2.0, speaker="shante").hear()
    assert len(usual.samples) == 2 * len(fast.samples)
    assert fast.voice == "budtender/shante"


def test_a_downloaded_voice_speaks_its_language(call):
    (chunk,) = call().ask("Bonjour.", language="fr").hear()
    assert (chunk.voice, chunk.sample_rate) == ("fr_FR-siwis-medium", 16000)


def test_empty_strings_count_as_absent(call):
    (chunk,) = call().ask("Hello.", voice="", speaker="").hear()
    assert chunk.voice == "budtender/marcel"


def test_first_audio_is_measured(server, call):
    call().ask("Hello.").hear()
    assert metric(server, "voice_first_audio_ms_count") > 0


# The last one, and the only one that cancels: once in a few hundred times Triton 2.51 itself loses
# a cancelled stream or dies of it (mended in later releases, see triton/Dockerfile).
def test_hanging_up_in_the_middle_frees_the_place(server, call):
    caller = call().ask(*LONG * 40, voice="slow")
    caller.next()
    caller.hang_up()
    wait_until_idle(server)
    assert caller.waiting < len(LONG) * 40 - 1
    assert call().ask("Hello.").hear()[-1].final
