"""What the gateway says to a speech model is what the model listens for."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tritonclient.grpc import InferResult, aio, service_pb2
from tritonclient.utils import (
    InferenceServerException,
    np_to_triton_dtype,
    serialize_byte_tensor,
)

from fakes.pb_utils import FakeBackend, FakeResponse
from fakes.triton import TritonStandIn
from fakes.windows import FakeSampleWindows, a_window
from voice_gateway.domain.chain import PROVIDER_NAMES
from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.limits import MAX_SENTENCE_CHARACTERS, MAX_TEXT_CHARACTERS
from voice_gateway.domain.speech import SpeechChunk, SpeechRequest, WordTiming
from voice_gateway.domain.text import split_sentences
from voice_gateway.domain.voice_match import SpeakerTraits
from voice_gateway.domain.voices import Gender
from voice_gateway.providers import xtts_v2
from voice_gateway.providers.piper import LANGUAGES, piper_on_triton
from voice_gateway.providers.triton import ERROR_REASONS
from voice_gateway.providers.xtts_v2 import xtts_v2_on_triton
from voice_serving import tensors
from voice_serving.engine import MAX_SENTENCE_CHARACTERS as SERVED_CHARACTERS
from voice_serving.engine import MAX_SENTENCES, AudioChunk, WordTime
from voice_serving.engines.xtts_v2 import XttsEngine
from voice_serving.engines.xtts_v2.languages import LONGEST
from voice_serving.errors import ErrorCode, OverloadedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tritonclient.grpc import InferInput

    from voice_gateway.providers.triton import TritonProvider
    from voice_serving.engine import SpeechEngine

CATALOGUE = Path(__file__).parents[2] / "model_repository/piper/voices.json"
_DATA_TYPES = {
    "BOOL": "TYPE_BOOL",
    "BYTES": "TYPE_STRING",
    "FP32": "TYPE_FP32",
    "INT32": "TYPE_INT32",
}


def sent(**more: object) -> dict[str, InferInput]:
    values = {"sentences": ("Hi.", "Bye."), "language": "en", "chain": ("piper",), **more}
    request = SpeechRequest(**values)  # type: ignore[arg-type]
    call = piper_on_triton("localhost:1", tls=False)._call(request)
    return {tensor.name(): tensor for tensor in call["inputs"]}


class Refusing:
    """A stream, and the client that makes it: an error, and then the end if there is to be one."""

    def __init__(self, *, ends: bool) -> None:
        self._ends = ends
        self._told = False
        self.happened: list[str] = []

    def stream_infer(self, calls: object) -> Refusing:
        return self

    def __aiter__(self) -> Refusing:
        return self

    async def __anext__(self) -> tuple[None, InferenceServerException]:
        if not self._told:
            self._told = True
            return None, InferenceServerException("internal: it broke")
        if not self._ends:
            await asyncio.Event().wait()
        self.happened.append("ended")
        raise StopAsyncIteration

    def cancel(self) -> None:
        self.happened.append("cancelled")


@pytest.mark.parametrize(
    ("ends", "happened"), [(True, ["ended", "cancelled"]), (False, ["cancelled"])]
)
async def test_a_stream_that_failed_is_read_to_its_end_if_that_comes(monkeypatch, ends, happened):
    stream = Refusing(ends=ends)
    monkeypatch.setattr(aio, "InferenceServerClient", lambda *given, **options: stream)
    piper = piper_on_triton("localhost:1", tls=False)
    request = SpeechRequest(sentences=("Hi.",), language="en", chain=("piper",))
    with pytest.raises(ProviderError, match="it broke"):
        await anext(piper.synthesize(request))
    assert stream.happened == happened


@pytest.mark.integration
@pytest.mark.parametrize(
    ("voices", "spoken", "match"),
    [
        ({}, "budtender/shante", 1.0),
        ({"piper": "budtender/marcel"}, "budtender/marcel", 0.364),
        ({"piper": "my-own-voice"}, "my-own-voice", None),
    ],
)
async def test_piper_is_asked_for_the_voice_that_is_most_like(
    voices: dict[str, str], spoken: str, match: float | None
) -> None:
    stand_in = TritonStandIn()
    piper = piper_on_triton(await stand_in.start(), tls=False)
    request = SpeechRequest(
        sentences=("Hi.",),
        language="en-us",
        chain=("piper",),
        voices=voices,
        wanted=SpeakerTraits(gender=Gender.FEMALE),
    )
    chunks = [chunk async for chunk in piper.synthesize(request)]
    assert {(chunk.voice, chunk.match) for chunk in chunks} == {(spoken, match)}
    await piper.aclose()
    await stand_in.stop()


def test_every_error_code_has_a_reason() -> None:
    assert set(ERROR_REASONS) == {code.value for code in ErrorCode}


def test_a_model_that_is_full_says_when_to_come_back_and_the_gateway_reads_it() -> None:
    message = OverloadedError("the model is full", retry_after_ms=250).wire_message
    failure = piper_on_triton("localhost:1", tls=False)._failure(message, sent=False)
    assert isinstance(failure, ProviderError)
    assert failure.reason is FailureReason.UNAVAILABLE
    assert failure.retry_after_seconds == 0.25
    assert failure.detail == "the model is full"


def received(chunk: AudioChunk) -> SpeechChunk:
    """What the gateway makes of a model's chunk, by way of Triton's own messages."""
    response = tensors.RequestCodec(FakeBackend()).encode(chunk)
    assert isinstance(response, FakeResponse)
    message = service_pb2.ModelInferResponse(model_name="piper")
    specs = {spec.name: spec for spec in (*tensors.OUTPUTS, *tensors.MORE_OUTPUTS)}
    for tensor in response.output_tensors:
        array = tensor.as_numpy()
        kind = np_to_triton_dtype(array.dtype)
        expected = specs[tensor.name()]
        assert _DATA_TYPES[kind] == expected.data_type
        assert len(array.shape) == len(expected.dims)
        assert all(is_ in (-1, has) for is_, has in zip(expected.dims, array.shape, strict=True))
        message.outputs.add(name=tensor.name(), datatype=kind, shape=array.shape)
        raw = serialize_byte_tensor(array).item() if kind == "BYTES" else array.tobytes()
        message.raw_output_contents.append(raw)
    heard = piper_on_triton("localhost:1", tls=False)._chunk(InferResult(message))
    assert heard is not None
    return heard


def test_a_chunk_arrives_as_it_was_sent() -> None:
    chunk = AudioChunk(
        samples=np.array([0.5, -0.25], np.float32),
        sample_rate=24_000,
        sentence=3,
        last=True,
        voice="clone",
        words=(WordTime("Grüß", 0.25, 0.5), WordTime("in the", 0.75, 1.5)),
    )
    heard = received(chunk)
    assert heard.samples.tolist() == [0.5, -0.25]
    assert (heard.sample_rate, heard.sentence, heard.last) == (24_000, 3, True)
    assert (heard.provider, heard.voice) == ("piper", "clone")
    assert heard.words == (WordTiming("Grüß", 0.25, 0.5), WordTiming("in the", 0.75, 1.5))
    assert received(replace(chunk, words=())).words == ()


def test_only_known_tensors_are_sent_and_every_required_one() -> None:
    specs = {spec.name: spec for spec in tensors.INPUTS}
    inputs = sent(voices={"piper": "budtender/marcel"})
    assert set(inputs) <= set(specs)
    assert set(inputs) >= tensors.TO_SPEAK
    for name, tensor in inputs.items():
        assert _DATA_TYPES[tensor.datatype()] == specs[name].data_type
        dims = specs[name].dims
        assert dims == (-1,) or tuple(tensor.shape()) == dims


@pytest.mark.parametrize(
    ("make", "engine"),
    [(xtts_v2_on_triton, XttsEngine)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_model_that_clones_is_sent_nothing_it_does_not_honour(
    make: Callable[..., TritonProvider], engine: type[SpeechEngine]
) -> None:
    provider = make("localhost:1", tls=False, samples=FakeSampleWindows())
    window = a_window(provider.name, "a" * 64)
    request = SpeechRequest(
        sentences=("Hi.",), language="en", chain=(), windows={provider.name: window}
    )
    specs = {spec.name: spec for spec in tensors.INPUTS}
    sent = {tensor.name(): tensor for tensor in provider._call(request, b"wav")["inputs"]}
    assert set(sent) <= tensors.TO_SPEAK | engine.honours
    assert set(sent) >= {"sample_ids", "samples"}
    for name, tensor in sent.items():
        assert _DATA_TYPES[tensor.datatype()] == specs[name].data_type


def test_the_gateway_knows_the_languages_of_xtts() -> None:
    assert set(LONGEST) == xtts_v2.LANGUAGES


def test_a_pinned_voice_is_sent_as_voice_and_speaker() -> None:
    assert {"voice", "speaker"} <= set(sent(voices={"piper": "budtender/marcel"}))
    assert "speaker" not in sent(voices={"piper": "en_US-lessac-medium"})
    assert "voice" not in sent(voices={"espeak": "en-us"})


def test_the_gateway_knows_the_catalogue_s_languages() -> None:
    voices = json.loads(CATALOGUE.read_text(encoding="utf-8"))["voices"]
    assert {voice["language"].split("-")[0].lower() for voice in voices} == LANGUAGES


def test_the_longest_text_in_the_shortest_sentences_is_taken() -> None:
    longest = split_sentences("a\n" * (MAX_TEXT_CHARACTERS // 2), "en")
    assert len(longest) <= MAX_SENTENCES
    assert MAX_SENTENCE_CHARACTERS <= SERVED_CHARACTERS


def test_every_model_of_the_repository_is_a_provider_s_name() -> None:
    models = {path.parent.name for path in CATALOGUE.parents[1].glob("*/config.pbtxt")}
    assert models <= set(PROVIDER_NAMES)
