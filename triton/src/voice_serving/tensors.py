"""The only tensor codec: one contract for every speech model.

All models are decoupled with `max_batch_size: 0`, so shapes have no batch dimension. A request is a
list of sentences; the response is a stream of messages, one audio chunk each. With the operation
`forget` it is a list of samples, and the response one empty message. A model's config.pbtxt
declares the inputs that its engine honours (`SpeechEngine.honours`) and, beside the outputs that
all have, those that it tells (`SpeechEngine.tells`); a contract test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from voice_serving.backend import error_response, tensor_response
from voice_serving.engine import AudioChunk, ForgetInput, SynthesisInput
from voice_serving.errors import ErrorCode, InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from voice_serving.backend import BackendRequest, BackendResponse, BackendUtils
    from voice_serving.errors import SpeechServingError


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor, as config.pbtxt must declare it."""

    name: str
    data_type: str
    """`TYPE_…` of config.pbtxt."""
    dims: tuple[int, ...]
    """-1 is any length."""
    optional: bool = False


# Who speaks needs both, and is told so by the codec; Triton would ask for them to forget, too.
SENTENCES: Final = TensorSpec("sentences", "TYPE_STRING", (-1,), optional=True)
LANGUAGE: Final = TensorSpec("language", "TYPE_STRING", (1,), optional=True)
VOICE: Final = TensorSpec("voice", "TYPE_STRING", (1,), optional=True)
SPEAKER: Final = TensorSpec("speaker", "TYPE_STRING", (1,), optional=True)
SPEED: Final = TensorSpec("speed", "TYPE_FP32", (1,), optional=True)
LENGTH_SCALE: Final = TensorSpec("length_scale", "TYPE_FP32", (1,), optional=True)
NOISE_SCALE: Final = TensorSpec("noise_scale", "TYPE_FP32", (1,), optional=True)
NOISE_W: Final = TensorSpec("noise_w", "TYPE_FP32", (1,), optional=True)
SAMPLE_IDS: Final = TensorSpec("sample_ids", "TYPE_STRING", (-1,), optional=True)
SAMPLES: Final = TensorSpec("samples", "TYPE_STRING", (-1,), optional=True)
OPERATION: Final = TensorSpec("operation", "TYPE_STRING", (1,), optional=True)
SEED: Final = TensorSpec("seed", "TYPE_INT64", (1,), optional=True)
TEMPERATURE: Final = TensorSpec("temperature", "TYPE_FP32", (1,), optional=True)
TOP_K: Final = TensorSpec("top_k", "TYPE_INT32", (1,), optional=True)
TOP_P: Final = TensorSpec("top_p", "TYPE_FP32", (1,), optional=True)
REPETITION_PENALTY: Final = TensorSpec("repetition_penalty", "TYPE_FP32", (1,), optional=True)
LENGTH_PENALTY: Final = TensorSpec("length_penalty", "TYPE_FP32", (1,), optional=True)
ALPHA: Final = TensorSpec("alpha", "TYPE_FP32", (1,), optional=True)
BETA: Final = TensorSpec("beta", "TYPE_FP32", (1,), optional=True)
DIFFUSION_STEPS: Final = TensorSpec("diffusion_steps", "TYPE_INT32", (1,), optional=True)
EMBEDDING_SCALE: Final = TensorSpec("embedding_scale", "TYPE_FP32", (1,), optional=True)

INPUTS: Final = (
    *(SENTENCES, LANGUAGE, VOICE, SPEAKER, SPEED, LENGTH_SCALE, NOISE_SCALE, NOISE_W),
    *(SAMPLE_IDS, SAMPLES, OPERATION, SEED),
    *(TEMPERATURE, TOP_K, TOP_P, REPETITION_PENALTY, LENGTH_PENALTY),
    *(ALPHA, BETA, DIFFUSION_STEPS, EMBEDDING_SCALE),
)
TO_SPEAK: Final = frozenset(spec.name for spec in (SENTENCES, LANGUAGE))
"""What every model takes."""
CLONING: Final = frozenset(spec.name for spec in (SAMPLE_IDS, SAMPLES, OPERATION))
"""What every engine that clones honours."""

AUDIO: Final = TensorSpec("audio", "TYPE_FP32", (-1,))
SAMPLE_RATE: Final = TensorSpec("sample_rate", "TYPE_INT32", (1,))
SENTENCE: Final = TensorSpec("sentence", "TYPE_INT32", (1,))
LAST: Final = TensorSpec("last", "TYPE_BOOL", (1,))
SPOKEN_VOICE: Final = TensorSpec("voice", "TYPE_STRING", (1,))

OUTPUTS: Final = (AUDIO, SAMPLE_RATE, SENTENCE, LAST, SPOKEN_VOICE)
"""What every chunk has."""

WORDS: Final = TensorSpec("words", "TYPE_STRING", (-1,))
WORD_TIMES: Final = TensorSpec("word_times", "TYPE_FP32", (-1, 2))
"""Start and end of each of the words, in seconds of their sentence."""
TIMED: Final = frozenset(spec.name for spec in (WORDS, WORD_TIMES))
"""What an engine tells that knows its words' times; a chunk in which no word ends has neither."""

MORE_OUTPUTS: Final = (WORDS, WORD_TIMES)


class Operation(StrEnum):
    """What a request wants."""

    SPEAK = "speak"
    FORGET = "forget"


_STATUS: Final = {
    ErrorCode.INVALID_INPUT: "INVALID_ARG",
    ErrorCode.VOICE_NOT_INSTALLED: "NOT_FOUND",
    ErrorCode.SAMPLE_UNKNOWN: "NOT_FOUND",
    ErrorCode.OVERLOADED: "UNAVAILABLE",
    ErrorCode.CANCELLED: "CANCELLED",
    ErrorCode.DEADLINE: "UNAVAILABLE",
    ErrorCode.INTERNAL: "INTERNAL",
}
"""Our code → the name of Triton's own."""


class RequestCodec:
    """Between Triton's tensors and our values."""

    def __init__(self, utils: BackendUtils) -> None:
        self._utils = utils

    def decode(self, request: BackendRequest) -> SynthesisInput | ForgetInput:
        """Reads one request.

        An absent optional tensor and an empty string mean the same: the default.

        Raises:
            InvalidInputError: A tensor is missing, is not UTF-8, or holds a value out of range.
        """
        sample_ids = self._strings(request, SAMPLE_IDS) or ()
        if self._operation(request) is Operation.FORGET:
            return ForgetInput(sample_ids)
        sentences = self._strings(request, SENTENCES)
        if sentences is None:
            raise InvalidInputError(SENTENCES.name, "is missing")
        speed = self._number(request, SPEED)
        return SynthesisInput(
            sentences=sentences,
            language=self._string(request, LANGUAGE) or "",
            voice=self._string(request, VOICE),
            speaker=self._string(request, SPEAKER),
            speed=1.0 if speed is None else speed,
            length_scale=self._number(request, LENGTH_SCALE),
            noise_scale=self._number(request, NOISE_SCALE),
            noise_w=self._number(request, NOISE_W),
            sample_ids=sample_ids,
            samples=self._blobs(request, SAMPLES),
            seed=self._integer(request, SEED),
            temperature=self._number(request, TEMPERATURE),
            top_k=self._integer(request, TOP_K),
            top_p=self._number(request, TOP_P),
            repetition_penalty=self._number(request, REPETITION_PENALTY),
            length_penalty=self._number(request, LENGTH_PENALTY),
            alpha=self._number(request, ALPHA),
            beta=self._number(request, BETA),
            diffusion_steps=self._integer(request, DIFFUSION_STEPS),
            embedding_scale=self._number(request, EMBEDDING_SCALE),
        )

    def encode(self, chunk: AudioChunk) -> BackendResponse:
        """Writes one chunk."""
        tensor = self._utils.Tensor
        voice = np.array([chunk.voice.encode("utf-8")], dtype=np.object_)
        outputs = [
            tensor(AUDIO.name, np.ascontiguousarray(chunk.samples, dtype=np.float32)),
            tensor(SAMPLE_RATE.name, np.array([chunk.sample_rate], dtype=np.int32)),
            tensor(SENTENCE.name, np.array([chunk.sentence], dtype=np.int32)),
            tensor(LAST.name, np.array([chunk.last], dtype=np.bool_)),
            tensor(SPOKEN_VOICE.name, voice),
        ]
        if chunk.words:
            words = [each.word.encode("utf-8") for each in chunk.words]
            times = [(each.start, each.end) for each in chunk.words]
            outputs += [
                tensor(WORDS.name, np.array(words, dtype=np.object_)),
                tensor(WORD_TIMES.name, np.array(times, dtype=np.float32)),
            ]
        return tensor_response(self._utils, outputs)

    def encode_error(self, error: SpeechServingError) -> BackendResponse:
        """Writes an error, with the code both in the message and as Triton's status."""
        code = getattr(self._utils.TritonError, _STATUS[error.code])
        return error_response(self._utils, error.wire_message, code)

    def _array(self, request: BackendRequest, spec: TensorSpec) -> NDArray[Any] | None:
        tensor = self._utils.get_input_tensor_by_name(request, spec.name)
        if tensor is None:
            return None
        values = tensor.as_numpy().reshape(-1)
        if spec.dims == (1,) and values.size != 1:
            raise InvalidInputError(spec.name, "must hold exactly one value")
        return values

    def _strings(self, request: BackendRequest, spec: TensorSpec) -> tuple[str, ...] | None:
        values = self._array(request, spec)
        if values is None:
            return None
        try:
            return tuple(
                value.decode("utf-8") if isinstance(value, bytes) else str(value)
                for value in values
            )
        except UnicodeDecodeError:
            # The cause would print the bytes, which are the customer's text.
            raise InvalidInputError(spec.name, "must be UTF-8") from None

    def _blobs(self, request: BackendRequest, spec: TensorSpec) -> tuple[bytes, ...]:
        values = self._array(request, spec)
        if values is None:
            return ()
        return tuple(
            value if isinstance(value, bytes) else bytes(value, "utf-8") for value in values
        )

    def _operation(self, request: BackendRequest) -> Operation:
        asked = self._string(request, OPERATION) or Operation.SPEAK.value
        if asked not in set(Operation):
            raise InvalidInputError(OPERATION.name, f"must be one of: {', '.join(Operation)}")
        return Operation(asked)

    def _integer(self, request: BackendRequest, spec: TensorSpec) -> int | None:
        values = self._array(request, spec)
        return None if values is None else int(values[0])

    def _string(self, request: BackendRequest, spec: TensorSpec) -> str | None:
        values = self._strings(request, spec)
        return None if values is None else values[0].strip() or None

    def _number(self, request: BackendRequest, spec: TensorSpec) -> float | None:
        values = self._array(request, spec)
        return None if values is None else float(values[0])
