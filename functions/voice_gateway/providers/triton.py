"""The models on NVIDIA Triton, one gRPC stream a request."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from voice_gateway.domain.errors import (
    FailureReason,
    NotFoundError,
    ProviderError,
    StorageUnavailableError,
)
from voice_gateway.domain.speech import ProviderCapabilities, SpeechChunk, WordTiming

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping

    from tritonclient.grpc import InferInput, InferResult
    from tritonclient.grpc.aio import InferenceServerClient

    from voice_gateway.domain.speech import SpeechRequest
    from voice_gateway.ports import SampleWindows

# gRPC waits up to two minutes before it looks for a lost server again, and every request in between
# would go to a fallback although Triton is back.
_CHANNEL_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)

_END_SECONDS: Final = 0.1
_NOT_INSTALLED: Final = "voice_not_installed"
_SAMPLE_UNKNOWN: Final = "sample_unknown"
ERROR_REASONS: Final[Mapping[str, FailureReason]] = {
    "invalid_input": FailureReason.REJECTED,
    _NOT_INSTALLED: FailureReason.UNAVAILABLE,
    _SAMPLE_UNKNOWN: FailureReason.UNAVAILABLE,
    "overloaded": FailureReason.UNAVAILABLE,
    "cancelled": FailureReason.UNAVAILABLE,
    "deadline": FailureReason.TIMEOUT,
    "internal": FailureReason.UNAVAILABLE,
}
"""The serving side's error codes: a stream carries `code: sentence`, and no status."""
_RETRY_AFTER: Final = re.compile(r",? *\bretry_after_ms=(\d{1,9})$")
"""How a sentence ends that says when to come back."""


class TritonProvider:
    """A model of the repository that speaks the common tensor contract.

    The channel is opened at the first request and kept: one per process.
    """

    def __init__(
        self,
        *,
        name: str,
        model: str,
        url: str,
        tls: bool,
        capabilities: ProviderCapabilities,
        samples: SampleWindows | None = None,
        settings: Callable[[SpeechRequest], Mapping[str, float]] = lambda request: {},
    ) -> None:
        """Names the model; opens nothing.

        Args:
            name: The provider's registered name.
            model: The model's name in the repository.
            url: `host:port` of Triton's gRPC endpoint.
            tls: Whether that endpoint speaks TLS.
            capabilities: What the model can do.
            samples: Where a model that clones gets what it has not heard yet.
            settings: Inputs of this model's own, by the tensors' names.
        """
        self._name = name
        self._model = model
        self._url = url
        self._tls = tls
        self._capabilities = capabilities
        self._samples = samples
        self._settings = settings
        self._client: InferenceServerClient | None = None

    @property
    def name(self) -> str:
        """The registered name."""
        return self._name

    @property
    def capabilities(self) -> ProviderCapabilities:
        """What the model can do."""
        return self._capabilities

    async def warm_up(self) -> None:
        """Imports the client and opens the channel, if Triton is there."""
        from tritonclient.utils import InferenceServerException

        client = self._connect()
        try:
            await client.is_server_live(client_timeout=1.0)
        except InferenceServerException:
            return  # the first request will find out, and fall back

    async def aclose(self) -> None:
        """Closes the channel."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        """Speaks the sentences in one stream; closing the generator cancels it on the server.

        A voice's sample is named, and sent only when the model does not know it.

        Raises:
            ProviderError: `rejected` for input that the model refuses, else `unavailable`.
        """
        try:
            async with aclosing(self._stream(self._call(request))) as chunks:
                async for chunk in chunks:
                    yield chunk
        except _SampleUnknownError:
            call = self._call(request, await self._sample(request))
            async with aclosing(self._stream(call)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _stream(self, call: dict[str, Any]) -> AsyncGenerator[SpeechChunk]:
        import grpc

        stream = self._connect().stream_infer(_once(call))
        try:
            async for result, error in stream:
                if error is not None:
                    await _end_of(stream)
                    raise self._failure(str(error.message()), sent="samples" in _names(call))
                if (chunk := self._chunk(result)) is not None:
                    yield chunk
        except grpc.RpcError as error:
            # The code alone: the details may quote the request.
            raise ProviderError(
                self._name,
                FailureReason.UNAVAILABLE,
                f"Triton did not answer ({error.code().name})",
            ) from None
        except asyncio.CancelledError:
            # grpc.aio raises this both when we are cancelled and when the channel is closed.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise ProviderError(
                self._name, FailureReason.UNAVAILABLE, "the channel to Triton was closed"
            ) from None
        finally:
            stream.cancel()

    def _connect(self) -> InferenceServerClient:
        if self._client is None:
            from tritonclient.grpc.aio import InferenceServerClient

            self._client = InferenceServerClient(
                self._url, ssl=self._tls, channel_args=list(_CHANNEL_OPTIONS)
            )
        return self._client

    async def _sample(self, request: SpeechRequest) -> bytes:
        assert self._samples is not None
        try:
            # Blocking: boto3 knows nothing else.
            return await asyncio.to_thread(self._samples.fetch, request.windows[self._name])
        except (NotFoundError, StorageUnavailableError) as error:
            raise ProviderError(
                self._name, FailureReason.UNAVAILABLE, "the voice's sample could not be read"
            ) from error

    def _call(self, request: SpeechRequest, sample: bytes | None = None) -> dict[str, Any]:
        strings: dict[str, list[str]] = {
            "sentences": list(request.sentences),
            "language": [request.language],
        }
        if (pinned := request.voices.get(self._name)) is not None:
            voice, _, speaker = pinned.partition("/")
            strings["voice"] = [voice]
            if speaker:
                strings["speaker"] = [speaker]
        inputs = [string_tensor(name, values) for name, values in strings.items()]
        inputs.append(_number_tensor("speed", request.speed))
        if self._samples is not None and (window := request.windows.get(self._name)) is not None:
            inputs.append(string_tensor("sample_ids", [window.content_hash]))
            if sample is not None:
                inputs.append(_bytes_tensor("samples", [sample]))
        for name, value in self._settings(request).items():
            inputs.append(_number_tensor(name, value))
        return {"model_name": self._model, "inputs": inputs}

    def _chunk(self, result: InferResult) -> SpeechChunk | None:
        samples = result.as_numpy("audio")
        if samples is None:
            return None  # an empty final response: the stream's end, no audio
        return SpeechChunk(
            samples=samples,
            sample_rate=int(result.as_numpy("sample_rate")[0]),
            sentence=int(result.as_numpy("sentence")[0]),
            last=bool(result.as_numpy("last")[0]),
            provider=self._name,
            voice=result.as_numpy("voice")[0].decode(),
            words=_words(result),
        )

    def _failure(self, message: str, *, sent: bool) -> ProviderError | _SampleUnknownError:
        code, separator, detail = message.partition(": ")
        if code == _SAMPLE_UNKNOWN and self._samples is not None and not sent:
            return _SampleUnknownError()
        reason = ERROR_REASONS.get(code)
        if reason is None or not separator:
            # Triton's own words may quote the request: only their kind is passed on.
            return ProviderError(
                self._name, FailureReason.UNAVAILABLE, "Triton refused the request"
            )
        told = _RETRY_AFTER.search(detail)
        return ProviderError(
            self._name,
            reason,
            _RETRY_AFTER.sub("", detail),
            retry_after_seconds=int(told[1]) / 1000 if told else None,
            of_request=code == _NOT_INSTALLED,
        )


class _SampleUnknownError(Exception):
    """The model has not heard the voice yet."""


def _names(call: dict[str, Any]) -> set[str]:
    return {tensor.name() for tensor in call["inputs"]}


def _words(result: InferResult) -> tuple[WordTiming, ...]:
    """None where the model does not know their times, or no word ends in the chunk."""
    words = result.as_numpy("words")
    if words is None:
        return ()
    times = result.as_numpy("word_times").tolist()
    return tuple(
        WordTiming(word.decode(), start, end)
        for word, (start, end) in zip(words, times, strict=True)
    )


async def _end_of(stream: AsyncIterable[Any]) -> None:
    """Reads the end that follows an error at once, and does not insist on it.

    Triton 24.10 loses 13 kB with each stream that is cancelled after its last answer.
    """
    import grpc

    with suppress(TimeoutError, grpc.RpcError):
        async with asyncio.timeout(_END_SECONDS):
            async for _ in stream:
                pass


async def _once(call: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
    yield call


def string_tensor(name: str, values: list[str]) -> InferInput:
    """Makes a tensor of texts, shape [n]."""
    return _bytes_tensor(name, [value.encode() for value in values])


def _bytes_tensor(name: str, values: list[bytes]) -> InferInput:
    from tritonclient.grpc import InferInput

    tensor = InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array(values, dtype=np.object_))
    return tensor


def _number_tensor(name: str, value: float) -> InferInput:
    from tritonclient.grpc import InferInput

    kind, dtype = ("INT32", np.int32) if isinstance(value, int) else ("FP32", np.float32)
    tensor = InferInput(name, [1], kind)
    tensor.set_data_from_numpy(np.array([value], dtype=dtype))
    return tensor
