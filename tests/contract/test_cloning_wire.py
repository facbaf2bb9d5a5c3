"""How a voice's sample gets to a model: the real client against a server that speaks Triton's."""

from __future__ import annotations

from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from fakes.windows import FakeSampleWindows, a_window
from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.speech import SpeechChunk, SpeechRequest
from voice_gateway.providers.xtts_v2 import xtts_v2_on_triton

if TYPE_CHECKING:
    from collections.abc import Iterator

WAV = b"RIFF and so on"
WINDOW = a_window("xtts_v2", "a" * 64)


class Model(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Answers as a model that clones; `deaf` never learns a sample."""

    def __init__(self, *, deaf: bool = False) -> None:
        self.asked: list[dict[str, bytes]] = []
        self._known = False
        self._deaf = deaf

    def ModelStreamInfer(self, requests: Any, context: Any) -> Any:
        for request in requests:
            tensors = {
                tensor.name: content
                for tensor, content in zip(request.inputs, request.raw_input_contents, strict=True)
            }
            self.asked.append(tensors)
            self._known |= "samples" in tensors and not self._deaf
            if not self._known:
                yield service_pb2.ModelStreamInferResponse(
                    error_message="sample_unknown: a sample of the voice is not known here"
                )
                continue
            yield service_pb2.ModelStreamInferResponse(infer_response=_chunk())


def _chunk() -> Any:
    response = service_pb2.ModelInferResponse(model_name="xtts_v2")
    for name, kind, content in (
        ("audio", "FP32", np.full(4, 0.5, np.float32).tobytes()),
        ("sample_rate", "INT32", np.array([24000], np.int32).tobytes()),
        ("sentence", "INT32", np.array([0], np.int32).tobytes()),
        ("last", "BOOL", np.array([True]).tobytes()),
        ("voice", "BYTES", b"\x05\x00\x00\x00clone"),
    ):
        shape = [4 if name == "audio" else 1]
        response.outputs.add(name=name, datatype=kind, shape=shape)
        response.raw_output_contents.append(content)
    return response


@contextmanager
def serving(model: Model) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(model, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


async def spoken(url: str, samples: FakeSampleWindows, times: int = 1) -> list[SpeechChunk]:
    provider = xtts_v2_on_triton(url, tls=False, samples=samples)
    windows = {"xtts_v2": WINDOW}
    request = SpeechRequest(sentences=("Hi.",), language="en", chain=(), windows=windows)
    try:
        return [chunk for _ in range(times) async for chunk in provider.synthesize(request)]
    finally:
        await provider.aclose()


async def test_a_sample_is_sent_when_it_is_asked_for_and_never_again():
    model = Model()
    samples = FakeSampleWindows({WINDOW.path: WAV})
    with serving(model) as url:
        chunks = await spoken(url, samples, times=2)
    assert [chunk.voice for chunk in chunks] == ["clone", "clone"]
    assert samples.fetched == [WINDOW.path]
    assert ["samples" in tensors for tensors in model.asked] == [False, True, False]
    assert model.asked[1]["samples"].endswith(WAV)
    assert all(t["sample_ids"].endswith(WINDOW.content_hash.encode()) for t in model.asked)


@pytest.mark.parametrize("wavs", [{}, {WINDOW.path: WAV}], ids=["gone", "not taken"])
async def test_a_sample_that_does_not_arrive_is_the_provider_s_failure(wavs):
    model = Model(deaf=True)
    with serving(model) as url, pytest.raises(ProviderError) as caught:
        await spoken(url, FakeSampleWindows(wavs))
    assert caught.value.reason is FailureReason.UNAVAILABLE
    assert len(model.asked) == 1 + len(wavs)
