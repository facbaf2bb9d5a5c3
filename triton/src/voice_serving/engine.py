"""What every speech engine promises, and the values that go in and come out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from voice_serving.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from voice_serving.params import Parameters

MAX_SENTENCES: Final = 5000
"""Sentences in one request: the gateway's longest text, cut into its shortest sentences."""

MAX_SENTENCE_CHARACTERS: Final = 1000
"""A sentence is one forward pass: memory and the wait for the first sound grow with it."""

RANGES: Final[dict[str, tuple[float, float]]] = {
    "speed": (0.25, 4.0),
    "length_scale": (0.1, 10.0),
    "noise_scale": (0.0, 2.0),
    "noise_w": (0.0, 2.0),
}
"""Smallest and largest value of each number, both allowed."""


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
        for name, (low, high) in RANGES.items():
            value: float | None = getattr(self, name)
            # Written so that NaN, which is neither inside nor outside, is refused too.
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise InvalidInputError(name, f"must be a number from {low:g} to {high:g}")


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


class SpeechEngine(Protocol):
    """A loaded speech model.

    `synthesize` is called from `concurrency` threads at once; everything else from one.
    """

    @property
    def concurrency(self) -> int:
        """How many requests it takes on at once; known after `load`."""

    def load(self, parameters: Parameters, model_directory: Path) -> None:
        """Makes it ready to speak.

        Args:
            parameters: The model's settings.
            model_directory: The version folder, `model_repository/<model>/<version>`.
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
            VoiceNotInstalledError: Nobody here can speak it.
        """

    def close(self) -> None:
        """Gives memory and threads back; nothing is called afterwards."""
