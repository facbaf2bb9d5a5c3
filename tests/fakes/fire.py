"""A crowd that asks a real tritonserver for three times what it can do, and leaves as it likes.

Every request's audio is known beforehand, from the same request asked alone, so that an answer
that has anybody else's words in it is seen.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import random
import re
import shutil
import time
from collections import Counter
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from tritonclient.grpc.aio import InferenceServerClient

from fakes.tiny_piper import build_voice
from fakes.triton_caller import free_ports, metric, percentile, stubs_of, tensors_of
from fakes.wavs import wav_of
from tritonserver import Server, install, running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping

    from numpy.typing import NDArray

    Audio = NDArray[np.float32]

ROOT: Final = Path(__file__).parents[2]
STREAMS: Final = 4
PENDING: Final = 4
CAPACITY: Final = STREAMS + PENDING
"""Requests that the model takes in at once."""
TIMES: Final = 3
"""So many times as many callers are always asking."""
LEAVING: Final = 0.25
"""So many of them hang up,"""
LATEST: Final = 4.0
"""at any moment up to so many times what a request takes that is alone."""
PATIENCE_SECONDS: Final = 60.0
"""Without a message for so long, a request is stuck."""
ALIKE: Final = 1e-2
"""Greatest difference between one request's audio alone and among others, where sums are made in
another order. It tells whose words they are; how exact they are, the parity tests tell."""
FLAT: Final = 0.05
"""Greatest growth of memory after the first third."""
TEXTS: Final = 8
SAMPLE: Final = wav_of(
    0.1 * np.random.default_rng(3).standard_normal(72_000).astype(np.float32), 24_000
)
SAMPLE_ID: Final = hashlib.sha256(SAMPLE).hexdigest()
_RETRY: Final = re.compile(r"^overloaded: .*\bretry_after_ms=(\d+)$")


def _tiny_piper(folder: Path) -> None:
    voices = folder / "voices"
    voices.mkdir()
    # Slow: tens of milliseconds a sentence, so that there is a queue.
    build_voice(voices / "budtender.onnx", slow=True)


def _tiny_styletts2(folder: Path) -> None:
    from random_styletts2 import upstream, write_styletts2

    write_styletts2(folder, upstream(tiny=True))


def _tiny_xtts(folder: Path) -> None:
    from random_xtts import TINY, write_xtts

    write_xtts(folder, TINY)


@dataclass(frozen=True, slots=True)
class Target:
    """A model that can be put under fire.

    Attributes:
        write: Puts a small checkpoint into its version folder.
        inputs: What makes a request's audio the same each time, by the request's number.
        clones: Whether it speaks in the voice of a sample.
        variables: Its settings, beside streams and places to wait.
    """

    write: Callable[[Path], None]
    inputs: Callable[[int], Mapping[str, Any]]
    clones: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)


TARGETS: Final[dict[str, Target]] = {
    "piper": Target(_tiny_piper, lambda number: {"noise_scale": 0.0}),
    "styletts2": Target(_tiny_styletts2, lambda number: {"seed": number}, clones=True),
    "xtts_v2": Target(
        _tiny_xtts,
        # Fast: the vocoder has no small size, and has less to say then.
        lambda number: {"seed": number, "speed": 4.0},
        clones=True,
        variables={"XTTS_V2_THREADS": "1"},
    ),
}


@dataclass
class Fire:
    """What became of the requests.

    Attributes:
        model: Who was asked.
        outcomes: `answered`, `rejected`, `cancelled`, `stuck`, `mixed`, or an error's code.
        first_audio: Seconds from asking to the first audio, of those who were answered.
        hints: Milliseconds after which rejected ones were told to come back.
        memory: Of the server and of its stub, in bytes: after a third of the requests, and in the
            end.
        queue_ms: Mean and 95th percentile of what requests waited for their turn, the latter
            rounded up to a bound of the model's histogram.
        seconds: What all of it took.
    """

    model: str
    outcomes: Counter[str] = field(default_factory=Counter)
    first_audio: list[float] = field(default_factory=list)
    hints: list[int] = field(default_factory=list)
    memory: dict[str, tuple[int, int]] = field(default_factory=dict)
    queue_ms: tuple[float, float] = (0.0, 0.0)
    seconds: float = 0.0

    @property
    def growth(self) -> float:
        """Of server and stub together, after the first third."""
        before = sum(before for before, _ in self.memory.values())
        return sum(after for _, after in self.memory.values()) / before - 1

    def check(self) -> None:
        """Raises an `AssertionError` where a promise is broken; about memory, see `growth`."""
        strange = set(self.outcomes) - {"answered", "rejected", "cancelled"}
        assert not strange, self.outcomes
        assert len(self.hints) == self.outcomes["rejected"], "a rejected one was told no time"
        assert all(self.outcomes[kind] for kind in ("answered", "rejected", "cancelled")), (
            "not all kinds of ends were tried"
        )


@contextmanager
def under_fire(model: str, folder: Path) -> Iterator[tuple[Server, int]]:
    """The model on a server of its own; yields it and its process.

    Args:
        model: One of `TARGETS`.
        folder: For its repository and its log.
    """
    target = TARGETS[model]
    repository = folder / "repository"
    skip = shutil.ignore_patterns("__pycache__", "*.onnx*", "*.safetensors", "*.pth", "voices")
    shutil.copytree(ROOT / "model_repository" / model, repository / model, ignore=skip)
    target.write(repository / model / "1")
    settings = {"STREAMS": STREAMS, "MAX_PENDING": PENDING}
    server = Server(
        installation=install(ROOT / ".local/tools"),
        repository=repository,
        source=ROOT / "triton/src",
        run_dir=folder / "run",
        models=(model,),
        ports=free_ports(),
        variables={
            **{f"{model}_{name}".upper(): str(value) for name, value in settings.items()},
            **target.variables,
        },
    )
    with running(server, folder / "log", timeout=240.0) as process:
        yield server, process.pid


async def fire(model: str, server: Server, pid: int, requests: int, seed: int = 0) -> Fire:
    """Asks until so many requests have ended, however they did."""
    crowd = _Crowd(model, server, pid, requests, seed)
    return await crowd.run()


class _Crowd:
    def __init__(self, model: str, server: Server, pid: int, requests: int, seed: int) -> None:
        self._target = TARGETS[model]
        self._server = server
        self._requests = requests
        self._chooser = random.Random(seed)
        self._begun = 0
        self._processes = {"server": pid, "stub": next(iter(stubs_of(server)))}
        self._after_a_third: dict[str, int] = {}
        self._expected: list[Audio] = []
        self._alone_seconds = 0.0
        self._report = Fire(model)

    async def run(self) -> Fire:
        clients = [InferenceServerClient(self._server.grpc_url) for _ in range(CAPACITY)]
        try:
            await self._listen_alone(clients[0])
            started = time.monotonic()
            async with asyncio.TaskGroup() as callers:
                for number in range(TIMES * CAPACITY):
                    callers.create_task(self._call(clients[number % len(clients)]))
            self._report.seconds = time.monotonic() - started
        finally:
            for client in clients:
                await client.close()
        await self._rest()
        self._report.memory = {
            name: (self._after_a_third[name], memory_of(pid))
            for name, pid in self._processes.items()
        }
        self._report.queue_ms = _waited(self._server)
        return self._report

    async def _listen_alone(self, client: InferenceServerClient) -> None:
        started = time.monotonic()
        for number in range(TEXTS):
            samples = [SAMPLE] if self._target.clones else None
            pieces = [piece async for piece in self._stream(client, number, samples)]
            self._expected.append(np.concatenate(pieces))
        self._alone_seconds = (time.monotonic() - started) / TEXTS
        for one, other in itertools.combinations(self._expected, 2):
            assert not _alike(one, other), "two texts sound the same"

    async def _call(self, client: InferenceServerClient) -> None:
        while self._begun < self._requests:
            self._begun += 1
            number = self._chooser.randrange(TEXTS)
            leaves = self._chooser.random() < LEAVING
            seconds = self._chooser.uniform(0, LATEST) * self._alone_seconds if leaves else None
            outcome = await self._one(client, number, seconds)
            self._report.outcomes[outcome] += 1
            if self._report.outcomes.total() == self._requests // 3:
                self._after_a_third = {n: memory_of(pid) for n, pid in self._processes.items()}
            if outcome == "rejected":
                # As told, and not all at the same moment.
                await asyncio.sleep(self._report.hints[-1] / 1000 * self._chooser.uniform(1, 2))

    async def _one(self, client: InferenceServerClient, number: int, leaves: float | None) -> str:
        """Asks once, and hangs up after so many seconds; tells what became of it."""
        asked = time.monotonic()
        first: float | None = None
        heard: list[Audio] = []
        try:
            async with asyncio.timeout(leaves), aclosing(self._stream(client, number)) as pieces:
                async for piece in pieces:
                    first = first or time.monotonic() - asked
                    heard.append(piece)
        except TimeoutError:
            return "cancelled"
        except _StuckError:
            return "stuck"
        except _RefusedError as error:
            told = _RETRY.match(str(error))
            if told is None:
                return str(error)
            self._report.hints.append(int(told[1]))
            return "rejected"
        if not self._is(number, heard):
            return "mixed"
        self._report.first_audio.append(first or 0.0)
        return "answered"

    def _is(self, number: int, heard: list[Audio]) -> bool:
        audio = np.concatenate(heard) if heard else np.zeros(0, np.float32)
        return _alike(audio, self._expected[number])

    async def _stream(
        self, client: InferenceServerClient, number: int, samples: list[bytes] | None = None
    ) -> AsyncGenerator[Audio]:
        values: dict[str, Any] = {
            "sentences": [f"Caller number {number} says this, and that.", f"And {number} more."],
            "language": "en",
            **self._target.inputs(number),
        }
        if self._target.clones:
            values |= {"sample_ids": [SAMPLE_ID], "samples": samples}
        call = {"model_name": self._report.model, "inputs": tensors_of(values)}
        stream = client.stream_infer(_once(call))
        refusal: str | None = None
        try:
            while True:
                result, error = await _soon(anext(stream))
                if error is None:
                    yield result.as_numpy("audio")
                else:
                    # Read to its end, as the gateway does: this Triton loses 13 kB with a stream
                    # that is cancelled after its last answer.
                    refusal = str(error.message())
        except StopAsyncIteration:
            if refusal is not None:
                raise _RefusedError(refusal) from None
        finally:
            stream.cancel()

    async def _rest(self) -> None:
        """Until nobody is in the model."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while metric(self._server, "voice_in_flight"):
                await asyncio.sleep(0.05)


class _RefusedError(Exception):
    """The model answered with an error."""


class _StuckError(Exception):
    """No message came for too long."""


async def _once(call: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
    yield call


async def _soon(message: Awaitable[Any]) -> Any:
    try:
        return await asyncio.wait_for(message, PATIENCE_SECONDS)
    except TimeoutError:
        raise _StuckError from None


def _alike(one: Audio, other: Audio) -> bool:
    return one.shape == other.shape and bool(np.abs(one - other).max() < ALIKE)


def memory_of(pid: int) -> int:
    """What a process has in memory, in bytes."""
    status = Path(f"/proc/{pid}/statm").read_text(encoding="ascii")
    return int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _waited(server: Server) -> tuple[float, float]:
    mean = metric(server, "voice_queue_ms_sum") / metric(server, "voice_queue_ms_count")
    return mean, percentile(server, "voice_queue_ms", 0.95)
