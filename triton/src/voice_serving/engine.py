"""What every speech engine promises, and the values that go in and come out."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from voice_serving.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from voice_serving.metrics import ServingMetrics
    from voice_serving.params import Parameters

MAX_SENTENCES: Final = 5000
"""Sentences in one request: the gateway's longest text, cut into its shortest sentences."""

MAX_SENTENCE_CHARACTERS: Final = 1000
"""A sentence is one forward pass: memory and the wait for the first sound grow with it."""

MAX_SAMPLES: Final = 3
"""Samples of one voice."""

MAX_SAMPLE_BYTES: Final = 8 * 1024 * 1024
"""Of one prepared sample: a minute and a half of 16 bits at 44.1 kHz."""

RANGES: Final[dict[str, tuple[float, float]]] = {
    "speed": (0.25, 4.0),
    "length_scale": (0.1, 10.0),
    "noise_scale": (0.0, 2.0),
    "noise_w": (0.0, 2.0),
    "seed": (0, 2**63 - 1),
    "temperature": (0.05, 2.0),
    "top_k": (1, 1000),
    "top_p": (0.01, 1.0),
    "repetition_penalty": (1.0, 20.0),
    "length_penalty": (-10.0, 10.0),
    "alpha": (0.0, 1.0),
    "beta": (0.0, 1.0),
    "diffusion_steps": (1, 50),
    "embedding_scale": (0.0, 10.0),
}
"""Smallest and largest value of each number, both allowed."""

_SAMPLE_ID: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ForgetInput:
    """Samples of which nothing may be kept; the constructor raises `InvalidInputError`."""

    sample_ids: tuple[str, ...]
    """SHA-256 of each prepared WAV, in lower-case hex."""

    def __post_init__(self) -> None:
        if not self.sample_ids:
            raise InvalidInputError("sample_ids", "must name what is to be forgotten")
        _check_ids(self.sample_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisInput:
    """Sentences to speak in order, and how.

    It cannot be made wrong: the constructor raises `InvalidInputError` naming the field.
    """

    sentences: tuple[str, ...]
    language: str
    """BCP 47, in any case: `en`, `pt-BR`."""
    voice: str | None = None
    """None lets the engine choose by language."""
    speaker: str | None = None
    """Name or number within the voice; None is the voice's own default."""
    speed: float = 1.0
    """2.0 takes half the time."""
    length_scale: float | None = None
    """Instead of the voice's own length of a phoneme; `speed` still divides it."""
    noise_scale: float | None = None
    """How much the timbre varies."""
    noise_w: float | None = None
    """How much the rhythm varies."""
    sample_ids: tuple[str, ...] = ()
    """The voice to clone: SHA-256 of each prepared WAV, in lower-case hex."""
    samples: tuple[bytes, ...] = ()
    """The WAVs themselves, in the order of `sample_ids`; empty when they need not be sent."""
    seed: int | None = None
    """The same seed gives the same audio; None draws one."""
    temperature: float | None = None
    """XTTS: below 1 more even, above 1 more lively."""
    top_k: int | None = None
    """XTTS: the next token is one of so many."""
    top_p: float | None = None
    """XTTS: the next token is one of the likeliest, which together have this probability."""
    repetition_penalty: float | None = None
    """XTTS: how much less likely a token becomes by having been used."""
    length_penalty: float | None = None
    """XTTS: weighs beams against each other. There is only one here, as in its own defaults."""
    alpha: float | None = None
    """StyleTTS2: timbre; 0 keeps the sample's, 1 takes the text's."""
    beta: float | None = None
    """StyleTTS2: prosody; 0 keeps the sample's, 1 takes the text's."""
    diffusion_steps: int | None = None
    """StyleTTS2: more take longer and vary more."""
    embedding_scale: float | None = None
    """StyleTTS2: emotional intensity."""

    def __post_init__(self) -> None:
        if not self.sentences:
            raise InvalidInputError("sentences", "must hold at least one sentence")
        if len(self.sentences) > MAX_SENTENCES:
            raise InvalidInputError("sentences", f"must hold at most {MAX_SENTENCES} sentences")
        for index, sentence in enumerate(self.sentences):
            if not sentence.strip():
                raise InvalidInputError(f"sentences[{index}]", "must not be empty")
            if len(sentence) > MAX_SENTENCE_CHARACTERS:
                raise InvalidInputError(
                    f"sentences[{index}]", f"must be at most {MAX_SENTENCE_CHARACTERS} characters"
                )
        if not self.language.strip():
            raise InvalidInputError("language", "must not be empty")
        if len(self.sample_ids) > MAX_SAMPLES:
            raise InvalidInputError("sample_ids", f"must name at most {MAX_SAMPLES} samples")
        _check_ids(self.sample_ids)
        if self.samples and len(self.samples) != len(self.sample_ids):
            raise InvalidInputError("samples", "must be as many as sample_ids")
        for index, sample in enumerate(self.samples):
            if len(sample) > MAX_SAMPLE_BYTES:
                raise InvalidInputError(
                    f"samples[{index}]", f"must be at most {MAX_SAMPLE_BYTES} bytes"
                )
        for name, (low, high) in RANGES.items():
            value: float | None = getattr(self, name)
            # Written so that NaN, which is neither inside nor outside, is refused too.
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise InvalidInputError(name, f"must be a number from {low:g} to {high:g}")


@dataclass(frozen=True, slots=True)
class WordTime:
    """When a word is heard, in seconds from the start of its sentence's audio."""

    word: str
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioChunk:
    """A piece of audio, never across a sentence's end."""

    samples: NDArray[np.float32]
    """Mono, in [-1, 1]; shape [n]. Empty only when the sentence has nothing to pronounce."""
    sample_rate: int
    """Hz."""
    sentence: int
    """Index into the request's `sentences`."""
    last: bool
    """Whether this chunk ends its sentence."""
    voice: str
    """Who spoke: `voice/speaker`, or `voice` where it has only one."""
    words: tuple[WordTime, ...] = ()
    """Those of the sentence that end in this chunk, where the engine knows them."""


class SpeechEngine(Protocol):
    """A loaded speech model.

    `synthesize` is called from `concurrency` threads at once; everything else from one.
    """

    honours: ClassVar[frozenset[str]]
    """Names of the optional inputs that mean something to it; its config.pbtxt takes no others."""
    tells: ClassVar[frozenset[str]]
    """Names of the optional outputs that it may give; its config.pbtxt declares no others."""

    @property
    def concurrency(self) -> int:
        """How many requests it takes on at once; known after `load`."""

    def load(self, parameters: Parameters, model_directory: Path, metrics: ServingMetrics) -> None:
        """Makes it ready to speak.

        Args:
            parameters: The model's settings.
            model_directory: The version folder, `model_repository/<model>/<version>`.
            metrics: What only the engine knows of goes here.
        """

    def warm_up(self) -> None:
        """Speaks once, so that the first customer does not pay for lazy starts."""

    def synthesize(
        self, request: SynthesisInput, cancelled: Callable[[], bool]
    ) -> Iterator[AudioChunk]:
        """Speaks the sentences in order.

        Args:
            request: What to say.
            cancelled: Asked before every piece of work; true means that nobody listens any more.

        Yields:
            Chunks in order; the last one of every sentence has `last` set.

        Raises:
            CancelledError: `cancelled` answered true.
            InvalidInputError: The voice cannot do what is asked.
            SampleUnknownError: A sample must be sent first.
            VoiceNotInstalledError: Nobody here can speak it.
        """

    def forget(self, sample_ids: tuple[str, ...]) -> None:
        """Keeps nothing of these samples from now on, in memory or on disk."""

    def close(self) -> None:
        """Gives memory and threads back; nothing is called afterwards."""


def _check_ids(sample_ids: tuple[str, ...]) -> None:
    for index, sample_id in enumerate(sample_ids):
        if not _SAMPLE_ID.fullmatch(sample_id):
            raise InvalidInputError(f"sample_ids[{index}]", "must be a SHA-256 in lower-case hex")
