"""`triton_python_backend_utils` without Triton: it records, and is as strict as the real one."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from voice_serving.backend import BackendRequest, BackendResponse, BackendTensor

FINAL: Final = 1
PATIENCE_SECONDS: Final = 20.0
"""Until a test that waits for an answer calls it missing."""


class FakeTensor:
    """A named array."""

    def __init__(self, name: str, values: NDArray[Any]) -> None:
        self._name = name
        self._values = values

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> NDArray[Any]:
        return self._values


class FakeTritonError:
    """Message and code; the codes have Triton's names."""

    UNKNOWN: Final = 0
    INTERNAL: Final = 1
    NOT_FOUND: Final = 2
    INVALID_ARG: Final = 3
    UNAVAILABLE: Final = 4
    UNSUPPORTED: Final = 5
    ALREADY_EXISTS: Final = 6
    CANCELLED: Final = 7

    def __init__(self, message: str, code: int = INTERNAL) -> None:
        self._message = message
        self._code = code

    def message(self) -> str:
        return self._message

    def code(self) -> int:
        return self._code


@dataclass
class FakeResponse:
    """Tensors or an error."""

    output_tensors: Sequence[FakeTensor] = ()
    error: FakeTritonError | None = None

    def value(self, name: str) -> NDArray[Any]:
        """The named tensor's values."""
        return next(t.as_numpy() for t in self.output_tensors if t.name() == name)


@dataclass
class FakeSender:
    """One caller: what it was sent, and whether it still listens."""

    sent: list[FakeResponse | None] = field(default_factory=list)
    finals: int = 0
    cancelled: bool = False
    broken: bool = False
    """Whether sending fails."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def send(self, response: BackendResponse | None = None, flags: int = 0) -> None:
        assert response is None or isinstance(response, FakeResponse)
        with self._changed:
            if self.finals:
                raise RuntimeError("Unable to send response. Response sender has been closed.")
            if response is None and flags != FINAL:
                raise RuntimeError("a message without tensors must be the final one")
            self.finals += flags == FINAL
            self._changed.notify_all()
            if self.broken:
                raise RuntimeError("An error occurred while sending a response.")
            self.sent.append(response)

    def is_cancelled(self) -> bool:
        return self.cancelled

    def wait_for_end(self) -> FakeSender:
        """Waits for the final flag."""
        return self._wait(lambda: self.finals > 0)

    def wait_for_messages(self, count: int) -> FakeSender:
        """Waits until so many messages were sent."""
        return self._wait(lambda: len(self.sent) >= count)

    @property
    def error(self) -> FakeTritonError | None:
        """The error it was sent, if any."""
        return next((r.error for r in self.sent if r is not None and r.error is not None), None)

    @property
    def audio(self) -> list[FakeResponse]:
        """The messages that carry tensors."""
        return [r for r in self.sent if r is not None and r.error is None]

    def _wait(self, condition: Any) -> FakeSender:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_SECONDS), "no answer came"
        return self


class FakeRequest:
    """One request; its tensors are gone once `execute` has returned."""

    def __init__(self, *, microseconds: int = 0, **inputs: Any) -> None:
        self.sender = FakeSender()
        self._microseconds = microseconds
        self._inputs = {name: _array(value) for name, value in inputs.items() if value is not None}
        self.released = False

    def get_response_sender(self) -> FakeSender:
        return self.sender

    def timeout(self) -> int:
        assert not self.released, "the request's memory is gone"
        return self._microseconds

    def input(self, name: str) -> FakeTensor | None:
        assert not self.released, "the request's memory is gone"
        values = self._inputs.get(name)
        return None if values is None else FakeTensor(name, values)


@dataclass
class FakeMetric:
    """One time series, for one thread at a time: the real one crashes the server otherwise."""

    observations: list[float] = field(default_factory=list)
    value: float = 0.0
    _busy: threading.Lock = field(default_factory=threading.Lock)

    def increment(self, value: float) -> None:
        with self._alone():
            self.value += value

    def set(self, value: float) -> None:
        with self._alone():
            self.value = value

    def observe(self, value: float) -> None:
        with self._alone():
            self.observations.append(value)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        assert self._busy.acquire(blocking=False), "two threads write one metric"
        try:
            yield
        finally:
            self._busy.release()


class FakeMetricFamily:
    """Hands out series of one name."""

    COUNTER: Final = "counter"
    GAUGE: Final = "gauge"
    HISTOGRAM: Final = "histogram"

    made: dict[str, FakeMetric]

    def __init__(self, name: str, description: str, kind: str) -> None:
        self._name = name

    def Metric(self, labels: dict[str, str], buckets: list[float] | None = None) -> FakeMetric:
        metric = FakeMetric()
        self.made[self._name] = metric
        return metric


@dataclass
class FakeLogger:
    """Keeps every line."""

    lines: list[str] = field(default_factory=list)

    def log_info(self, line: str) -> None:
        self.lines.append(line)

    log_warn = log_error = log_verbose = log_info


class FakeBackend:
    """The module itself."""

    Tensor = FakeTensor
    InferenceResponse = FakeResponse
    TritonError = FakeTritonError
    TRITONSERVER_RESPONSE_COMPLETE_FINAL = FINAL

    def __init__(self) -> None:
        self.Logger = FakeLogger()
        self.metrics: dict[str, FakeMetric] = {}
        self.MetricFamily: Any = type("MetricFamily", (FakeMetricFamily,), {"made": self.metrics})

    def get_input_tensor_by_name(
        self, inference_request: BackendRequest, name: str
    ) -> BackendTensor | None:
        assert isinstance(inference_request, FakeRequest)
        return inference_request.input(name)


def _array(value: Any) -> NDArray[Any]:
    """Python values as Triton would hand them over."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, str | bytes):
        value = [value]
    if isinstance(value, float | int):
        return np.array([value], dtype=np.float32)
    encoded = [item.encode() if isinstance(item, str) else item for item in value]
    return np.array(encoded, dtype=np.object_)
