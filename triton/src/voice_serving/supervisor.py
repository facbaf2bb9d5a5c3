"""Keeps a tritonserver alive whose models may die without its noticing.

A model's dead stub leaves Triton's health endpoints at 200, and older ones never restart it. So
each model is asked something every second that only a living stub can refuse: an empty sentence. It
costs no speech, waits in no queue, and the refusal is our own. Now and then a model also has to say
a word, which shows that more lives than its front. Each version of a model is a process of its own,
and is asked for itself.

    python3 -m voice_serving.supervisor --models "piper xtts_v2" -- tritonserver --model-repo…
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

BEAT_SECONDS: Final = 1.0
BEAT_PATIENCE_SECONDS: Final = 1.75
MISSES: Final = 2
"""Heartbeats in a row without an answer, the second one at once after the first: a model is taken
for dead after four and a half seconds at the latest."""
WORD_EVERY: Final = 60
"""Heartbeats from one spoken word to the next."""
WORD_PATIENCE_SECONDS: Final = 60.0
"""A full house may let even a word wait."""
START_SECONDS: Final = 600.0
"""How long the models may take to load."""
STOP_SECONDS: Final = 40.0
"""How long a server may take to end that is asked to: it finishes what it was asked for."""
SICK_STOP_SECONDS: Final = 5.0
"""The same where a model is dead. Its listeners wait in vain until the server has ended, and it
would wait for them; the other models' get so long to hear the end."""
_PAUSES: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before the next start, the longer the more there were in a row."""
_WORD: Final = "Yes."
_LATEST: Final = ""
"""The version that Triton takes where none is named."""


class Pulse:
    """Asks the models of one server whether they live.

    Args:
        url: Of its HTTP endpoint.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        # No proxy of the machine's leads to its own loopback.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ready(self, model: str) -> bool:
        """Whether Triton says so."""
        status, _ = self._get(f"/v2/models/{model}/ready")
        return status == 200

    def versions(self, model: str) -> list[str]:
        """Those that are served of a model."""
        status, body = self._get(f"/v2/models/{model}")
        return list(json.loads(body)["versions"]) if status == 200 else []

    def beats(self, model: str, version: str = "") -> bool:
        """Whether the model refuses an empty sentence, as only a living one does."""
        _, body = self._ask(model, version, "", BEAT_PATIENCE_SECONDS)
        return b"invalid_input: " in body

    def speaks(self, model: str, version: str = "") -> bool:
        """Whether the model says a word, or has a reason of its own not to."""
        status, body = self._ask(model, version, _WORD, WORD_PATIENCE_SECONDS)
        busy = any(code in body for code in (b"overloaded: ", b"voice_not_installed: "))
        return busy or (status == 200 and b'"audio"' in body)

    def _ask(self, model: str, version: str, sentence: str, seconds: float) -> tuple[int, bytes]:
        inputs = {"sentences": [sentence], "language": "en"}
        which = f"{model}/versions/{version}" if version else model
        return self._get(f"/v2/models/{which}/generate_stream", inputs, seconds)

    def _get(
        self, path: str, inputs: object = None, seconds: float = BEAT_PATIENCE_SECONDS
    ) -> tuple[int, bytes]:
        request = urllib.request.Request(
            self._url + path,
            data=None if inputs is None else json.dumps(inputs).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=seconds) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""


class Supervisor:
    """Runs a server until it is asked to end, and starts it anew when it or a model dies.

    Args:
        command: Of the server.
        models: Those that have to live.
        pulse: Feels them.
    """

    def __init__(self, command: Sequence[str], models: Sequence[str], pulse: Pulse) -> None:
        self._command = list(command)
        self._models = list(models)
        self._pulse = pulse
        self._ended = threading.Event()
        self.starts = 0
        """How often the server was started."""

    def end(self) -> None:
        """Lets `run` stop the server and return; may be called by a signal handler."""
        self._ended.set()

    def run(self) -> int:
        """Returns when `end` was called; the exit status is the server's."""
        in_a_row = 0
        while True:
            self.starts += 1
            process = subprocess.Popen(self._command, start_new_session=True)
            lived = self._watch(process)
            _stop(process, STOP_SECONDS if self._ended.is_set() else SICK_STOP_SECONDS)
            if self._ended.is_set():
                return process.returncode
            in_a_row = 0 if lived else in_a_row + 1
            self._ended.wait(_PAUSES[min(in_a_row, len(_PAUSES) - 1)])

    def _watch(self, process: subprocess.Popen[bytes]) -> bool:
        """Until it should be stopped; whether it ever was alive."""
        deadline = time.monotonic() + START_SECONDS
        while not all(self._pulse.ready(model) for model in self._models):
            if process.poll() is not None or time.monotonic() > deadline:
                _say("the server did not become ready")
                return False
            if self._ended.wait(BEAT_SECONDS):
                return False
        targets = [
            (model, version)
            for model in self._models
            for version in self._pulse.versions(model) or [_LATEST]
        ]
        with _threads(2 * len(targets)) as threads:
            return self._feel(process, targets, threads)

    def _feel(
        self,
        process: subprocess.Popen[bytes],
        targets: Sequence[tuple[str, str]],
        threads: ThreadPoolExecutor,
    ) -> bool:
        misses = dict.fromkeys(targets, 0)
        words: dict[tuple[str, str], Future[bool]] = {}
        beats = 0
        while not self._ended.wait(0.0 if any(misses.values()) else BEAT_SECONDS):
            if process.poll() is not None:
                _say(f"the server ended with status {process.returncode}")
                return True
            beats += 1
            alive = threads.map(lambda target: self._pulse.beats(*target), targets)
            for target, beat in zip(targets, alive, strict=True):
                misses[target] = 0 if beat else misses[target] + 1
                if misses[target] >= MISSES:
                    _say(f"{_named(*target)} is dead: starting anew")
                    return True
            # In threads of their own: a full house lets a word wait, and the dead wait for nobody.
            mute = [target for target, word in words.items() if word.done() and not word.result()]
            if mute:
                _say(f"{_named(*mute[0])} says nothing: starting anew")
                return True
            if beats % WORD_EVERY == 0 and all(word.done() for word in words.values()):
                words = {target: threads.submit(self._pulse.speaks, *target) for target in targets}
        return True


@contextlib.contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    threads = ThreadPoolExecutor(max(1, count))
    try:
        yield threads
    finally:
        # Who still asks is answered when the server ends.
        threads.shutdown(wait=False, cancel_futures=True)


def _named(model: str, version: str) -> str:
    return model if version == _LATEST else f"{model}, version {version},"


def _stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    # Stubs outlive a server that was killed, and would keep the GPU's memory.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _say(message: str) -> None:
    sys.stderr.write(f"supervisor: {message}\n")
    sys.stderr.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the server's exit status."""
    parser = argparse.ArgumentParser(description="Keeps a tritonserver alive.")
    parser.add_argument("--models", required=True, help="names, with blanks between them")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the HTTP endpoint")
    parser.add_argument("command", nargs="+", help="the server, after --")
    arguments = parser.parse_args(argv)
    models = arguments.models.split()
    supervisor = Supervisor(arguments.command, models, Pulse(arguments.url))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.end())
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
