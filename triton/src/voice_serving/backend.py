"""The part of `triton_python_backend_utils` that we use, typed; the one place that imports it.

The module exists only inside Triton's Python stub, so nothing else imports it, and tests hand the
model a fake of the same shape.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class BackendTensor(Protocol):
    """A named array in the server's shared memory."""

    def name(self) -> str:
        """The tensor's name in config.pbtxt."""

    def as_numpy(self) -> NDArray[Any]:
        """The values; strings come as an object array of bytes."""


class BackendResponse(Protocol):
    """One message of a response stream: tensors or an error."""


class ResponseSender(Protocol):
    """The way back to one caller."""

    def send(self, response: BackendResponse | None = None, flags: int = 0) -> None:
        """Sends one message; without a response only the flags travel."""

    def is_cancelled(self) -> bool:
        """Whether the caller has gone."""


class BackendRequest(Protocol):
    """One request, valid until `execute` returns."""

    def get_response_sender(self) -> ResponseSender:
        """The way back; outlives the request."""

    def timeout(self) -> int:
        """Microseconds that the caller allows for all of it; 0 for no bound."""


class Metric(Protocol):
    """One time series."""

    def increment(self, value: float) -> None:
        """Adds to a counter or a gauge."""

    def set(self, value: float) -> None:
        """Replaces a gauge's value."""

    def observe(self, value: float) -> None:
        """Adds one observation to a histogram."""


class BackendUtils(Protocol):
    """`triton_python_backend_utils` itself.

    Its constructors are `Any`: the real ones are C++ classes without signatures.
    """

    Tensor: Any
    InferenceResponse: Any
    TritonError: Any
    Logger: Any
    TRITONSERVER_RESPONSE_COMPLETE_FINAL: int

    def get_input_tensor_by_name(
        self, inference_request: BackendRequest, name: str
    ) -> BackendTensor | None:
        """The named input, or None when the caller left it out."""


class BackendLog:
    """Triton's own log, with the model's name before every line.

    Messages are fixed sentences plus names and numbers: customers' text never reaches them.
    """

    def __init__(self, utils: BackendUtils, model: str) -> None:
        self._logger = utils.Logger
        self._model = model

    def info(self, message: str) -> None:
        """Something went as it should."""
        self._logger.log_info(f"{self._model}: {message}")

    def warning(self, message: str) -> None:
        """Something is worse than it should be, and is dealt with."""
        self._logger.log_warn(f"{self._model}: {message}")

    def error(self, message: str) -> None:
        """Something broke."""
        self._logger.log_error(f"{self._model}: {message}")


def import_backend() -> BackendUtils:
    """The module of the stub that runs this process."""
    return cast(BackendUtils, importlib.import_module("triton_python_backend_utils"))


def error_response(utils: BackendUtils, message: str, code: int) -> BackendResponse:
    """A message that carries an error and no tensors."""
    error = utils.TritonError(message, code)
    return cast(BackendResponse, utils.InferenceResponse(error=error))


def tensor_response(utils: BackendUtils, tensors: Sequence[Any]) -> BackendResponse:
    """A message that carries tensors."""
    return cast(BackendResponse, utils.InferenceResponse(output_tensors=list(tensors)))
