"""The image's supervisor over the real tritonserver: a stub that dies is seen, and comes back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tritonclient.utils import InferenceServerException

from fakes.tiny_piper import build_voice
from fakes.triton_caller import Caller, free_ports, stubs_of
from tritonserver import HOST, Server, install
from voice_serving.supervisor import Pulse

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    repository = tmp_path / "repository"
    skip = shutil.ignore_patterns("*.onnx*", "__pycache__")
    shutil.copytree(ROOT / "model_repository/piper", repository / "piper", ignore=skip)
    voices = repository / "piper/1/voices"
    voices.mkdir(exist_ok=True)
    build_voice(voices / "budtender.onnx", slow=True)
    server = Server(
        installation=install(ROOT / ".local/tools"),
        repository=repository,
        source=ROOT / "triton/src",
        run_dir=tmp_path / "run",
        models=("piper",),
        ports=free_ports(),
    )
    server.prepare()
    log = tmp_path / "log"
    command = [sys.executable, "-m", "voice_serving.supervisor", "--models", "piper"]
    command += ["--url", f"http://{HOST}:{server.ports.http}", "--", *server.command()]
    environment = {**server.environment(), "PYTHONPATH": str(ROOT / "triton/src")}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield server, log
    finally:
        process.terminate()
        assert process.wait(60) == 0


def wait_for(condition: object, seconds: float = PATIENCE_SECONDS) -> None:
    assert callable(condition)
    again = threading.Event()
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        again.wait(0.05)


def test_a_stub_that_dies_in_the_middle_of_a_stream_comes_back(
    server: tuple[Server, Path],
) -> None:
    one, log = server
    pulse = Pulse(f"http://{HOST}:{one.ports.http}")
    wait_for(lambda: one.ready() and pulse.beats("piper"))
    assert pulse.versions("piper") == ["1"]
    assert pulse.speaks("piper")
    listener = Caller(one.grpc_url, "piper").ask(*["A sentence."] * 200)
    listener.next()
    (stub,) = stubs_of(one)
    os.kill(stub, signal.SIGKILL)
    killed = time.monotonic()
    assert pulse.ready("piper"), "Triton notices by now: this supervisor has less to do"
    wait_for(lambda: "piper, version 1, is dead" in log.read_text(errors="replace"), 30.0)
    assert time.monotonic() - killed < 5
    # An error, and not an end: nobody takes what came for all there was.
    with pytest.raises(InferenceServerException):
        while not listener.next().final:
            pass
    wait_for(lambda: stubs_of(one) and stub not in stubs_of(one) and pulse.beats("piper"))
    caller = Caller(one.grpc_url, "piper")
    assert caller.ask("Hello.").hear()[-1].final
    caller.close()
    listener.close()
