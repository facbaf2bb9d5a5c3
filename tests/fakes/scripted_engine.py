"""A speech engine that does what the sentences tell it, one word a sentence."""

from __future__ import annotations

import math
import queue
import threading
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from voice_serving.engine import AudioChunk
from voice_serving.errors import CancelledError, VoiceNotInstalledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from voice_serving.engine import SynthesisInput
    from voice_serving.metrics import ServingMetrics
    from voice_serving.params import Parameters

SAMPLE_RATE: Final = 16000
PATIENCE_SECONDS: Final = 20.0

HOLD: Final = "hold"
"""Waits for `release` before it is spoken."""
BREAK: Final = "break"
"""Raises an error that quotes the text."""
NAN: Final = "nan"
"""Becomes a chunk that is not a number."""
STOP: Final = "stop"
"""Ends the request without a chunk."""
REFUSE: Final = "refuse"
"""Says that nobody speaks this."""


class ScriptedEngine:
    """Speaks every sentence as one sample whose value is the sentence's length."""

    honours: ClassVar[frozenset[str]] = frozenset()
    tells: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, concurrency: int = 1) -> None:
        self._concurrency = concurrency
        self._released = threading.Semaphore(0)
        self._held: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.begun: list[str] = []
        """First sentence of every request that was begun, in order."""
        self.calls: list[str] = []
        """What the model did with the engine, in order."""

    @property
    def concurrency(self) -> int:
        return self._concurrency

    def load(self, parameters: Parameters, model_directory: Path, metrics: ServingMetrics) -> None:
        self.calls.append("load")

    def forget(self, sample_ids: tuple[str, ...]) -> None:
        self.calls.append(f"forget {len(sample_ids)}")

    def warm_up(self) -> None:
        self.calls.append("warm_up")

    def close(self) -> None:
        self.calls.append("close")

    def release(self, count: int = 1) -> None:
        """Lets so many held sentences go on."""
        self._released.release(count)

    def wait_until_held(self) -> str:
        """Waits until a request has come to a held sentence; tells its first sentence."""
        return self._held.get(timeout=PATIENCE_SECONDS)

    def synthesize(
        self, request: SynthesisInput, cancelled: Callable[[], bool]
    ) -> Iterator[AudioChunk]:
        self.begun.append(request.sentences[0])
        for index, sentence in enumerate(request.sentences):
            word = sentence.split()[-1]
            if word == HOLD:
                self._held.put(request.sentences[0])
                assert self._released.acquire(timeout=PATIENCE_SECONDS)
            if cancelled():
                raise CancelledError
            if word == BREAK:
                raise ValueError(f"cannot speak {sentence!r}")
            if word == REFUSE:
                raise VoiceNotInstalledError("no installed voice speaks the language")
            if word == STOP:
                return
            sample = math.nan if word == NAN else float(len(sentence))
            yield AudioChunk(
                samples=np.full(1, sample, np.float32),
                sample_rate=SAMPLE_RATE,
                sentence=index,
                last=True,
                voice="scripted",
            )
