"""Customers of a real tritonserver, and what else its tests need."""

from __future__ import annotations

import queue
import re
import socket
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import tritonclient.grpc as grpc_client
from tritonclient.utils import np_to_triton_dtype

from tritonserver import HOST, Ports, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_SECONDS = 60.0


@dataclass
class Chunk:
    samples: np.ndarray[Any, Any]
    sample_rate: int
    sentence: int
    last: bool
    voice: str
    final: bool


class Caller:
    """One customer with a connection of its own."""

    def __init__(self, url: str, model: str) -> None:
        self._model = model
        self._client = grpc_client.InferenceServerClient(url)
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._client.start_stream(lambda result, error: self._answers.put(error or result))
        self._unanswered = 0

    def ask(
        self, *sentences: str, version: str = "", microseconds: int | None = None, **inputs: Any
    ) -> Caller:
        values = {"sentences": list(sentences), "language": "en", **inputs}
        self._client.async_stream_infer(
            self._model, tensors_of(values), model_version=version, timeout=microseconds
        )
        self._unanswered += 1
        return self

    def tell(self, **inputs: Any) -> None:
        """Asks for something that is answered without a word, and waits for that."""
        self._client.async_stream_infer(
            self._model, tensors_of(inputs), enable_empty_final_response=True
        )
        answer = self._answers.get(timeout=PATIENCE_SECONDS)
        if isinstance(answer, Exception):
            raise answer
        assert answer.get_response().parameters["triton_final_response"].bool_param

    def next(self, patience: float = PATIENCE_SECONDS) -> Chunk:
        """The next chunk; an error is raised."""
        answer = self._answers.get(timeout=patience)
        if isinstance(answer, Exception):
            self._unanswered -= 1
            raise answer
        parameters = answer.get_response().parameters
        final = parameters["triton_final_response"].bool_param
        self._unanswered -= final
        return Chunk(
            samples=answer.as_numpy("audio"),
            sample_rate=int(answer.as_numpy("sample_rate")[0]),
            sentence=int(answer.as_numpy("sentence")[0]),
            last=bool(answer.as_numpy("last")[0]),
            voice=answer.as_numpy("voice")[0].decode(),
            final=final,
        )

    def hear(self) -> list[Chunk]:
        """All chunks up to the final one."""
        chunks = [self.next()]
        while not chunks[-1].final:
            chunks.append(self.next())
        return chunks

    @property
    def waiting(self) -> int:
        """Answers that have come and were not taken yet."""
        return self._answers.qsize()

    def hang_up(self) -> None:
        # A stream that has had its last answer is ended, not cancelled: this Triton may leak the
        # model when both meet, and then takes all its time to stop.
        self._client.stop_stream(cancel_requests=self._unanswered > 0)

    def close(self) -> None:
        self.hang_up()
        self._client.close()


def tensors_of(values: dict[str, Any]) -> list[grpc_client.InferInput]:
    """What is not None, as a model's inputs."""
    return [_tensor(name, value) for name, value in values.items() if value is not None]


def _tensor(name: str, value: Any) -> grpc_client.InferInput:
    if isinstance(value, grpc_client.InferInput):
        return value
    if isinstance(value, np.ndarray):
        array, kind = value, np_to_triton_dtype(value.dtype)
    elif isinstance(value, int):
        array, kind = np.array([value], np.int64), "INT64"
    elif isinstance(value, float):
        array, kind = np.array([value], np.float32), "FP32"
    else:
        texts = [value] if isinstance(value, str | bytes) else value
        encoded = [text.encode() if isinstance(text, str) else text for text in texts]
        array, kind = np.array(encoded, np.object_), "BYTES"
    tensor = grpc_client.InferInput(name, array.shape, kind)
    tensor.set_data_from_numpy(array)
    return tensor


def free_ports() -> Ports:
    """Three that nobody listens at."""
    with contextmanager(_three_sockets)() as (http, grpc, metrics):
        return Ports(http=http, grpc=grpc, metrics=metrics)


def _three_sockets() -> Iterator[tuple[int, ...]]:
    with (
        closing(socket.socket()) as a,
        closing(socket.socket()) as b,
        closing(socket.socket()) as c,
    ):
        for one in (a, b, c):
            one.bind((HOST, 0))
        yield tuple(one.getsockname()[1] for one in (a, b, c))


def metric(server: Server, name: str) -> float:
    """A metric's value, of all versions together."""
    text = httpx.get(f"http://{HOST}:{server.ports.metrics}/metrics").text
    found = re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE)
    assert found, name
    return sum(float(value) for value in found)


def percentile(server: Server, name: str, share: float) -> float:
    """Of a histogram of one version: the bound below which so many of its values lie."""
    text = httpx.get(f"http://{HOST}:{server.ports.metrics}/metrics").text
    found = re.findall(rf'^{name}_bucket{{.*le="(.*)"}} (\S+)$', text, re.MULTILINE)
    assert found, name
    total = float(found[-1][1])
    return next(float(bound) for bound, count in found if float(count) >= share * total)


def stubs_of(server: Server) -> set[int]:
    """The processes of its models."""
    prefix = server.shared_memory_prefix.encode()
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if b"triton_python_backend_stub" in words and prefix in words:
            found.add(int(path.parent.name))
    return found


def wait_until_idle(server: Server) -> None:
    """Until no request is in the model."""
    again = threading.Event()
    for _ in range(1000):
        if metric(server, "voice_in_flight") == 0:
            return
        again.wait(0.02)
    raise AssertionError("requests never ended")
