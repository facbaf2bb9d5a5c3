"""StyleTTS2 as a speech engine."""

from __future__ import annotations

import secrets
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from voice_serving.apart import apart
from voice_serving.conditioning import ConditioningCache
from voice_serving.engine import AudioChunk
from voice_serving.engines.styletts2.batches import Batches
from voice_serving.engines.styletts2.phonemes import Phonemizer
from voice_serving.engines.styletts2.sentence import Sentence
from voice_serving.engines.styletts2.settings import StyleTts2Settings
from voice_serving.engines.styletts2.symbols import pieces, tokens
from voice_serving.engines.styletts2.timing import WordTimes
from voice_serving.errors import (
    CancelledError,
    InvalidInputError,
    SampleUnknownError,
    VoiceNotInstalledError,
)
from voice_serving.samples import decode_sample
from voice_serving.tensors import CLONING, TIMED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    from voice_serving.engine import SynthesisInput, WordTime
    from voice_serving.engines.styletts2.network.speaker import Speaker
    from voice_serving.engines.styletts2.sentence import Spoken
    from voice_serving.engines.styletts2.symbols import Piece
    from voice_serving.metrics import ServingMetrics
    from voice_serving.params import Parameters

SAMPLE_RATE: Final = 24_000
ALPHA: Final = 0.3
BETA: Final = 0.7
GUIDANCE: Final = 1.0
STEPS: Final = 5
"""The authors' own, where a request does not say."""

TAIL: Final = 50
"""Samples at the end of every sentence that are not speech; upstream cuts off as many."""

_PATIENCE_SECONDS: Final = 0.05
"""How often a caller that waits for audio is asked whether it still listens."""
_URGENT_SENTENCES: Final = 3
"""From here on every sentence is equally urgent: its caller has audio to play meanwhile."""
_SEEDS: Final = 2**63
_VOICE: Final = "clone"
_STYLE: Final = "style"
_WARM_UP: Final = (
    "Hi.",
    "A sentence of middling length, to make room for the next ones.",
)


class StyleTts2Engine:
    """Speaks English in the voice of a sample.

    A request's sentences follow one another, because each takes over some of the style of the one
    before; the sentences of all requests share the model's batches (`batches`).
    """

    honours: ClassVar[frozenset[str]] = CLONING | {
        *("speed", "seed"),
        *("alpha", "beta", "diffusion_steps", "embedding_scale"),
    }
    tells: ClassVar[frozenset[str]] = TIMED

    def __init__(self) -> None:
        self._settings: StyleTts2Settings
        self._speaker: Speaker
        self._styles: ConditioningCache
        self._phonemizer: Phonemizer
        self._batches: Batches

    @property
    def concurrency(self) -> int:
        """Requests in progress at once."""
        return self._settings.streams

    def load(self, parameters: Parameters, model_directory: Path, metrics: ServingMetrics) -> None:
        """Reads the checkpoint, rearranging an official one on its first use.

        Raises:
            InternalError: There is none, it is no StyleTTS2, or espeak-ng does not start.
        """
        from voice_serving.engines.styletts2.network.loading import load_speaker

        self._settings = settings = StyleTts2Settings.from_parameters(parameters)
        self._phonemizer = Phonemizer()
        self._speaker, fingerprint = load_speaker(settings, model_directory)
        self._styles = ConditioningCache(
            f"styletts2-{fingerprint}",
            settings.cache_bytes,
            metrics,
            settings.cache_folder,
            settings.cache_disk_bytes,
        )
        self._styles.warm()
        self._batches = Batches(
            self._speaker.speak, settings.batch, settings.window_ms / 1000, metrics
        )

    def warm_up(self) -> None:
        """Speaks a short and a middling sentence, in a style in the middle of all."""
        style = np.zeros(self._speaker.style_size, np.float32)
        for text in _WARM_UP:
            numbers = tokens(self._phonemizer.phonemes(text))
            self._batches.submit(self._sentence(numbers, style, None, None, 0), 0).result()

    def synthesize(
        self, request: SynthesisInput, cancelled: Callable[[], bool]
    ) -> Iterator[AudioChunk]:
        """Speaks the sentences in order; see `SpeechEngine.synthesize`."""
        if request.language.strip().replace("_", "-").lower().partition("-")[0] != "en":
            raise VoiceNotInstalledError("styletts2 speaks English only")
        if not request.sample_ids:
            raise VoiceNotInstalledError("styletts2 speaks in the voice of a sample, name one")
        return self._speak(request, self._style(request), cancelled)

    def forget(self, sample_ids: tuple[str, ...]) -> None:
        """Keeps nothing of these samples, in memory or on disk."""
        self._styles.forget(sample_ids)

    def close(self) -> None:
        """Ends the batches' thread."""
        self._batches.close()

    def _speak(
        self,
        request: SynthesisInput,
        style: NDArray[np.float32],
        cancelled: Callable[[], bool],
    ) -> Iterator[AudioChunk]:
        seed = secrets.randbelow(_SEEDS) if request.seed is None else request.seed
        parts = self._parts(request)
        spoken: Spoken | None = None
        words: tuple[WordTime, ...]
        times = WordTimes(())
        position, new = 0, True

        def submit(piece: Piece | None) -> Future[Spoken] | None:
            nonlocal position
            if piece is None:
                return None
            numbers = tokens(piece.phonemes)
            previous = None if spoken is None else spoken.style
            sentence = self._sentence(numbers, style, previous, request, (seed + position) % _SEEDS)
            position += 1
            return self._batches.submit(sentence, min(position, _URGENT_SENTENCES))

        upcoming = next(parts, None)
        future = None if upcoming is None else submit(upcoming[2])
        try:
            while upcoming is not None:
                index, last, piece = upcoming
                samples, words = np.zeros(0, np.float32), ()
                if future is not None and piece is not None:
                    if new:
                        # While the model is at work.
                        times = WordTimes(self._phonemizer.words(request.sentences[index]))
                    spoken = _result(future, cancelled)
                    samples = spoken.samples[: max(len(spoken.samples) - TAIL, 0)]
                    words = times.hear(
                        piece,
                        spoken.frames,
                        len(spoken.samples) / SAMPLE_RATE,
                        (len(spoken.samples) - len(samples)) / SAMPLE_RATE,
                    )
                elif cancelled():
                    raise CancelledError
                # The model is at work on the next one while this one is sent.
                upcoming = next(parts, None)
                future = None if upcoming is None else submit(upcoming[2])
                yield AudioChunk(
                    samples=samples,
                    sample_rate=SAMPLE_RATE,
                    sentence=index,
                    last=last,
                    voice=_VOICE,
                    words=words,
                )
                new = last
        finally:
            if future is not None:
                future.cancel()

    def _parts(self, request: SynthesisInput) -> Iterator[tuple[int, bool, Piece | None]]:
        """Yields number of a sentence, whether it ends here, and a piece; none if it is silent."""
        # Slow speech takes as much memory as more of it.
        longest = int((self._speaker.longest - 1) * min(request.speed, 1.0))
        for index, sentence in enumerate(request.sentences):
            found = list(pieces(self._phonemizer.phonemes(sentence), longest))
            if not found:
                yield index, True, None
            for number, piece in enumerate(found, start=1):
                yield index, number == len(found), piece

    def _sentence(
        self,
        numbers: tuple[int, ...],
        style: NDArray[np.float32],
        previous: NDArray[np.float32] | None,
        request: SynthesisInput | None,
        seed: int,
    ) -> Sentence:
        def either(name: str, default: float) -> float:
            asked: float | None = None if request is None else getattr(request, name)
            return default if asked is None else asked

        return Sentence(
            tokens=numbers,
            reference=style,
            previous=previous,
            carry=self._settings.carry,
            alpha=either("alpha", ALPHA),
            beta=either("beta", BETA),
            guidance=either("embedding_scale", GUIDANCE),
            steps=min(int(either("diffusion_steps", STEPS)), self._settings.most_diffusion_steps),
            speed=either("speed", 1.0),
            seed=seed,
        )

    def _style(self, request: SynthesisInput) -> NDArray[np.float32]:
        """The voice asked for: the mean of its samples' styles, shape [style]."""
        epoch = self._styles.epoch
        known = self._styles.get(request.sample_ids)
        if known is not None:
            return known[_STYLE]
        if not request.samples:
            raise SampleUnknownError
        heard = []
        for index, (sample, sample_id) in enumerate(
            zip(request.samples, request.sample_ids, strict=True)
        ):
            audio, rate = decode_sample(sample, sample_id, index)
            if rate != SAMPLE_RATE:
                raise InvalidInputError(f"samples[{index}]", f"must be at {SAMPLE_RATE} Hz")
            style = apart(partial(self._speaker.hear, audio))
            if style is None:
                raise InvalidInputError(f"samples[{index}]", "must hold a second of speech")
            heard.append(style)
        style = np.mean(heard, axis=0, dtype=np.float32)
        if not np.isfinite(style).all():
            raise InvalidInputError("samples", "have no voice that can be told from noise")
        self._styles.put(request.sample_ids, {_STYLE: style}, epoch)
        return style


def _result(future: Future[Spoken], cancelled: Callable[[], bool]) -> Spoken:
    """Waits for the model, and for as long as the caller does.

    Raises:
        CancelledError: The caller has gone, or the engine is closing.
        InternalError: The model gave no numbers.
    """
    while not cancelled():
        try:
            return future.result(timeout=_PATIENCE_SECONDS)
        except FutureTimeoutError:
            continue
        except FutureCancelledError:
            break
    raise CancelledError
