"""Triton's stand-in for faults: the real gRPC protocol, speaking tones, going wrong to order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as wire
from tritonclient.grpc import service_pb2_grpc as services

from fakes.faults import Fault, Order
from fakes.providers import tone

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

_RATE = 22_050
_PIECES = 4
_SECONDS = 0.4
_STATUS = {
    Fault.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    Fault.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Fault.QUOTA: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Fault.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Fault.CUT: grpc.StatusCode.UNAVAILABLE,
}


class TritonStandIn(services.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Answers `ModelStreamInfer` as a speech model does.

    Attributes:
        order: What is to go wrong; None for nothing.
        asked: The sentences that it was asked for, as the models' clients send them.
    """

    def __init__(self) -> None:
        self.order: Order | None = None
        self.asked: list[str] = []
        self._server: grpc.aio.Server | None = None

    async def start(self) -> str:
        """Listens; returns `host:port`."""
        self._server = grpc.aio.server()
        services.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def stop(self) -> None:
        """Ends it, and what hangs in it."""
        if self._server is not None:
            await self._server.stop(grace=None)

    async def ModelStreamInfer(
        self, requests: AsyncIterator[Any], context: grpc.aio.ServicerContext
    ) -> AsyncGenerator[Any]:
        """Speaks a request's sentences, a piece a message."""
        async for request in requests:
            sentences = _strings(request.raw_input_contents[0])
            self.asked += sentences
            voice = _voice(request)
            for index in range(len(sentences)):
                for piece in range(_PIECES):
                    wrong = self.order
                    if wrong is not None and wrong.strikes(index + 1, piece):
                        match wrong.fault:
                            case Fault.HANG_BEFORE | Fault.HANG_WITHIN:
                                await asyncio.Event().wait()
                            case Fault.ERROR:
                                yield wire.ModelStreamInferResponse(
                                    error_message="internal: it broke"
                                )
                                return
                            case fault if fault in _STATUS:
                                await context.abort(_STATUS[fault], "to order")
                            case Fault.DRIP:
                                await asyncio.sleep(0.02)
                    yield _message(index, piece, _spoiled(wrong, index + 1), voice)
            yield wire.ModelStreamInferResponse(infer_response=wire.ModelInferResponse())


def _spoiled(order: Order | None, sentence: int) -> tuple[np.ndarray, int]:
    rate = _RATE
    spoils = order is not None and order.strikes(sentence, 0)
    if spoils and order is not None and order.fault is Fault.WRONG_RATE:
        rate = 8000
    samples = tone(_SECONDS, rate=rate, hertz=330.0)
    if spoils and order is not None:
        match order.fault:
            case Fault.EMPTY:
                samples = samples[:0]
            case Fault.SILENCE:
                samples = samples * np.float32(0)
            case Fault.GARBAGE:
                samples = samples * np.float32("nan")
    return samples, rate


def _voice(request: Any) -> str:
    """The voice that was asked for; `tone` when none was."""
    names = [tensor.name for tensor in request.inputs]
    given = dict(zip(names, request.raw_input_contents, strict=True))
    return "/".join(_strings(given[n])[0] for n in ("voice", "speaker") if n in given) or "tone"


def _message(index: int, piece: int, spoken: tuple[np.ndarray, int], voice: str) -> Any:
    samples, rate = spoken
    part = np.array_split(samples, _PIECES)[piece]
    tensors: list[tuple[str, str, bytes, int]] = [
        ("audio", "FP32", part.astype(np.float32).tobytes(), part.size),
        ("sample_rate", "INT32", np.array([rate], np.int32).tobytes(), 1),
        ("sentence", "INT32", np.array([index], np.int32).tobytes(), 1),
        ("last", "BOOL", np.array([piece == _PIECES - 1]).tobytes(), 1),
        ("voice", "BYTES", len(voice).to_bytes(4, "little") + voice.encode(), 1),
    ]
    response = wire.ModelInferResponse(model_name="speech", model_version="1")
    for name, datatype, raw, length in tensors:
        response.outputs.add(name=name, datatype=datatype, shape=[length])
        response.raw_output_contents.append(raw)
    return wire.ModelStreamInferResponse(infer_response=response)


def _strings(raw: bytes) -> list[str]:
    strings = []
    while raw:
        length = int.from_bytes(raw[:4], "little")
        strings.append(raw[4 : 4 + length].decode())
        raw = raw[4 + length :]
    return strings
