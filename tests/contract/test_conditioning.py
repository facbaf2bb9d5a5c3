"""How models are told to forget a voice: the real client against a server that speaks Triton's."""

from __future__ import annotations

from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from voice_gateway.domain.errors import StorageUnavailableError
from voice_gateway.providers import conditioning
from voice_gateway.providers.conditioning import TritonConditioning

if TYPE_CHECKING:
    from collections.abc import Iterator

HASHES = ("a" * 64, "b" * 64)


class Model(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Answers a stream as decoupled models do, and remembers what it was asked.

    Args:
        versions: Those that are ready, at each look for them; the last ones stay. None are an
            error, as in Triton.
    """

    def __init__(
        self,
        *versions: tuple[str, ...],
        error: str = "",
        mute: str | None = None,
        gone: str | None = None,
    ) -> None:
        self.asked: list[tuple[str, str, dict[str, list[str]]]] = []
        self.looks = 0
        self._versions = versions or (("1",),)
        self._error = error
        self._mute = mute
        self._gone = gone

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        ready = self._versions[min(self.looks, len(self._versions) - 1)]
        self.looks += 1
        if not ready:
            context.abort(grpc.StatusCode.UNAVAILABLE, "unknown model, or not ready")
        return service_pb2.ModelMetadataResponse(name=request.name, versions=ready)

    def ModelStreamInfer(self, requests: Any, context: Any) -> Any:
        for request in requests:
            tensors = {
                tensor.name: _strings(content)
                for tensor, content in zip(request.inputs, request.raw_input_contents, strict=True)
            }
            self.asked.append((request.model_name, request.model_version, tensors))
            if request.model_version == self._mute:
                continue
            away = request.model_version == self._gone
            yield service_pb2.ModelStreamInferResponse(
                error_message="unknown version" if away else self._error,
                infer_response=service_pb2.ModelInferResponse(model_name=request.model_name),
            )


def _strings(content: bytes) -> list[str]:
    found = []
    while content:
        size = int.from_bytes(content[:4], "little")
        found.append(content[4 : 4 + size].decode())
        content = content[4 + size :]
    return found


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


def _cache(url: str, *models: str) -> TritonConditioning:
    return TritonConditioning(url=url, tls=False, models=models)


def told(model: Model) -> list[str]:
    return [version for _, version, _ in model.asked]


def test_every_model_is_told_and_confirms() -> None:
    model = Model()
    with serving(model) as url:
        _cache(url, "xtts_v2", "styletts2").forget(HASHES)
    asked = {"operation": ["forget"], "sample_ids": list(HASHES)}
    assert model.asked == [("xtts_v2", "1", asked), ("styletts2", "1", asked)]


def test_every_ready_version_is_told() -> None:
    model = Model(("1", "10"))
    with serving(model) as url:
        _cache(url, "xtts_v2").forget(HASHES)
    assert told(model) == ["1", "10"]


def test_a_version_that_came_meanwhile_is_told_too() -> None:
    model = Model(("1",), ("1", "2"))
    with serving(model) as url:
        _cache(url, "xtts_v2").forget(HASHES)
    assert told(model) == ["1", "2"]
    assert model.looks == 3, "nobody was looked for after the last one was told"


def test_a_version_that_was_told_may_go() -> None:
    model = Model(("1", "2"), ("2",))
    with serving(model) as url:
        _cache(url, "xtts_v2").forget(HASHES)
    assert told(model) == ["1", "2"]


def test_a_version_that_went_untold_has_not_forgotten() -> None:
    with serving(Model(("1", "2"), gone="2")) as url, pytest.raises(StorageUnavailableError):
        _cache(url, "xtts_v2").forget(HASHES)


def test_a_model_without_a_ready_version_has_not_forgotten() -> None:
    model = Model(())
    with serving(model) as url, pytest.raises(StorageUnavailableError):
        _cache(url, "xtts_v2").forget(HASHES)
    assert model.asked == []


@pytest.mark.parametrize("mute", ["1", "2"])
def test_a_version_that_says_nothing_has_not_forgotten(
    monkeypatch: pytest.MonkeyPatch, mute: str
) -> None:
    monkeypatch.setattr(conditioning, "_SECONDS", 0.5)
    model = Model(("1", "2"), mute=mute)
    with serving(model) as url, pytest.raises(StorageUnavailableError):
        _cache(url, "xtts_v2").forget(HASHES)


def test_a_model_that_refuses_has_not_forgotten() -> None:
    with (
        serving(Model(error="internal: a disk of somebody's")) as url,
        pytest.raises(StorageUnavailableError) as caught,
    ):
        _cache(url, "xtts_v2").forget(HASHES)
    assert "somebody" not in str(caught.value)


def test_a_server_that_is_away_has_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditioning, "_SECONDS", 1.0)
    with pytest.raises(StorageUnavailableError):
        _cache("127.0.0.1:1", "xtts_v2").forget(HASHES)


def test_where_nobody_clones_there_is_nobody_to_tell() -> None:
    _cache("127.0.0.1:1").forget(HASHES)
    _cache("127.0.0.1:1", "xtts_v2").forget(())
