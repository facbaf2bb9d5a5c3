"""XTTS v2 as a speech engine."""

from __future__ import annotations

import itertools
import queue
import secrets
import threading
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from voice_serving.conditioning import ConditioningCache
from voice_serving.engine import AudioChunk, SynthesisInput
from voice_serving.engines.xtts_v2.languages import LONGEST, primary
from voice_serving.engines.xtts_v2.settings import XttsSettings
from voice_serving.errors import (
    CancelledError,
    InternalError,
    InvalidInputError,
    SampleUnknownError,
    VoiceNotInstalledError,
)
from voice_serving.samples import decode_sample
from voice_serving.tensors import CLONING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from voice_serving.engines.xtts_v2.network.model import XttsModel
    from voice_serving.engines.xtts_v2.network.sampling import Taste
    from voice_serving.engines.xtts_v2.network.sentence import Piece, Sentence
    from voice_serving.engines.xtts_v2.network.voice import Voice
    from voice_serving.metrics import ServingMetrics
    from voice_serving.params import Parameters

_SHELF: Final = 32
"""Voices that are ready to speak; what they are made of is kept by the conditioning cache."""
_PATIENCE_SECONDS: Final = 0.05
"""How often a caller that waits for audio is asked whether it still listens."""
_SEEDS: Final = 2**63
_WARM_UP: Final = "A sentence of middling length, to make room for the next ones."


class XttsEngine:
    """Speaks in the voice of a sample, or in one of the checkpoint's own.

    Each request's sentences, cut at the language's limit, go into one loop that moves all callers'
    sentences on together (`network/loop.py`); their audio comes back in order.
    """

    honours: ClassVar[frozenset[str]] = CLONING | {
        *("voice", "speed", "seed"),
        *("temperature", "top_k", "top_p", "repetition_penalty", "length_penalty"),
    }
    tells: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self._settings: XttsSettings
        self._model: XttsModel
        self._conditioning: ConditioningCache
        self._shelf: OrderedDict[tuple[str, ...], Voice] = OrderedDict()
        self._shelf_lock = threading.Lock()
        self._numbers = itertools.count()

    @property
    def concurrency(self) -> int:
        """Requests in progress at once."""
        return self._settings.streams

    def load(self, parameters: Parameters, model_directory: Path, metrics: ServingMetrics) -> None:
        """Reads the checkpoint, converting an official one on its first use.

        Raises:
            InternalError: There is none, or it is no XTTS v2.
        """
        from voice_serving.engines.xtts_v2.network.model import load_model

        self._settings = settings = XttsSettings.from_parameters(parameters)
        self._model = load_model(settings.checkpoint or model_directory, settings, metrics)
        self._conditioning = ConditioningCache(
            f"xtts_v2-{self._model.fingerprint}",
            settings.cache_bytes,
            metrics,
            settings.cache_folder,
            settings.cache_disk_bytes,
        )
        self._conditioning.warm()

    def warm_up(self) -> None:
        """Speaks once, in the checkpoint's first voice or in that of a second of noise."""
        voice = self._model.some_voice()
        request = SynthesisInput(sentences=(_WARM_UP,), language="en", seed=0)
        for _ in self._speak(request, "en", voice, "", lambda: False):
            pass

    def synthesize(
        self, request: SynthesisInput, cancelled: Callable[[], bool]
    ) -> Iterator[AudioChunk]:
        """Speaks the sentences in order; see `SpeechEngine.synthesize`."""
        language = primary(request.language)
        if language not in LONGEST:
            raise VoiceNotInstalledError("xtts_v2 does not speak the language")
        if request.sample_ids:
            name, voice = "clone", self._clone(request)
        else:
            name, voice = self._model.named_voice(request.voice)
        return self._speak(request, language, voice, name, cancelled)

    def forget(self, sample_ids: tuple[str, ...]) -> None:
        """Keeps nothing of these samples, in memory or on disk."""
        with self._shelf_lock:
            for key in [key for key in self._shelf if set(key) & set(sample_ids)]:
                del self._shelf[key]
            self._conditioning.forget(sample_ids)

    def close(self) -> None:
        """Ends the loop."""
        self._model.close()

    def _speak(
        self,
        request: SynthesisInput,
        language: str,
        voice: Voice,
        name: str,
        cancelled: Callable[[], bool],
    ) -> Iterator[AudioChunk]:
        waiting = self._parts(request, language, voice)
        ahead: deque[tuple[int, Sentence | None]] = deque()

        def fill() -> None:
            for index, part in itertools.islice(waiting, self._settings.ahead - len(ahead)):
                if part is not None:
                    self._model.submit(part)
                ahead.append((index, part))

        def chunk(samples: NDArray[np.float32], index: int, last: bool) -> AudioChunk:
            return AudioChunk(
                samples=samples,
                sample_rate=self._model.sample_rate,
                sentence=index,
                last=last,
                voice=name,
            )

        try:
            fill()
            while ahead:
                index, part = ahead[0]
                if part is None:
                    ahead.popleft()
                    fill()
                    yield chunk(np.zeros(0, np.float32), index, True)
                    continue
                piece = _next_piece(part, cancelled)
                if piece.last:
                    ahead.popleft()
                    fill()
                    # The sentence goes on where it was cut.
                    more = bool(ahead) and ahead[0][0] == index
                    if piece.samples.size or not more:
                        yield chunk(piece.samples, index, not more)
                else:
                    yield chunk(piece.samples, index, False)
        finally:
            for _, part in ahead:
                if part is not None:
                    part.gone = True

    def _parts(
        self, request: SynthesisInput, language: str, voice: Voice
    ) -> Iterator[tuple[int, Sentence | None]]:
        """What goes into the loop, each with its sentence's number; None is nothing to say."""
        seed = secrets.randbelow(_SEEDS) if request.seed is None else request.seed
        number = next(self._numbers)
        count = itertools.count()
        for index, sentence in enumerate(request.sentences):
            said = False
            for tokens in self._model.tokenizer.parts(sentence, language):
                said = True
                position = next(count)
                taste = self._taste(request, (seed + position) % _SEEDS)
                rank = (position, number)
                yield index, self._model.sentence(tokens, voice, taste, request.speed, rank)
            if not said:
                yield index, None

    def _taste(self, request: SynthesisInput, seed: int) -> Taste:
        usual = self._model.taste

        def either(asked: float | None, default: float) -> float:
            return default if asked is None else asked

        return type(usual)(
            temperature=either(request.temperature, usual.temperature),
            top_k=usual.top_k if request.top_k is None else request.top_k,
            top_p=either(request.top_p, usual.top_p),
            repetition_penalty=either(request.repetition_penalty, usual.repetition_penalty),
            seed=seed,
        )

    def _clone(self, request: SynthesisInput) -> Voice:
        key = request.sample_ids
        epoch = self._conditioning.epoch
        conditioning = self._conditioning.get(key)
        if conditioning is None:
            if not request.samples:
                raise SampleUnknownError
            conditioning = self._listen(request)
            self._conditioning.put(key, conditioning, epoch)
        with self._shelf_lock:
            voice = self._shelf.get(key)
            if voice is None:
                voice = self._model.voice(conditioning["latents"], conditioning["vector"])
                if self._conditioning.epoch == epoch:
                    self._shelf[key] = voice
            else:
                self._shelf.move_to_end(key)
            while len(self._shelf) > _SHELF:
                self._shelf.popitem(last=False)
        return voice

    def _listen(self, request: SynthesisInput) -> dict[str, NDArray[np.float32]]:
        samples = [
            decode_sample(sample, sample_id, index)
            for index, (sample, sample_id) in enumerate(
                zip(request.samples, request.sample_ids, strict=True)
            )
        ]
        heard = self._model.clone(samples)
        if heard is None:
            raise InvalidInputError("samples", "are too short to hear a voice in them")
        latents, vector = heard
        if not (np.isfinite(latents).all() and np.isfinite(vector).all()):
            raise InvalidInputError("samples", "have no voice that can be told from noise")
        return {"latents": latents, "vector": vector}


def _next_piece(part: Sentence, cancelled: Callable[[], bool]) -> Piece:
    """Waits for the loop, and for as long as the caller does.

    Raises:
        CancelledError: The caller has gone.
        InternalError: The loop broke on it.
    """
    while not cancelled():
        try:
            piece = part.pieces.get(timeout=_PATIENCE_SECONDS)
        except queue.Empty:
            continue
        if isinstance(piece, BaseException):
            raise InternalError("the model failed on this sentence") from piece
        return piece
    raise CancelledError
