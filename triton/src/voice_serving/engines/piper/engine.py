"""Piper as a speech engine."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from voice_serving.engine import AudioChunk, SynthesisInput
from voice_serving.engines.piper.settings import PiperSettings
from voice_serving.engines.piper.turns import Turns
from voice_serving.engines.piper.voices import (
    InstalledVoice,
    LoadedVoice,
    VoiceLibrary,
    read_voice_config,
)
from voice_serving.errors import CancelledError, InternalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from voice_serving.metrics import ServingMetrics
    from voice_serving.params import Parameters

_URGENT_SENTENCES: Final = 3
"""From here on every sentence is equally urgent: its caller has audio to play meanwhile."""

_WARM_UP_TEXTS: Final = ("Hi.", "A sentence of middling length, to make room for the next ones.")
"""Short and longer, since onnxruntime's memory arena grows on the first long run."""


class PiperEngine:
    """Speaks with the voices of `<version>/voices` and of the setting `voices_dir`.

    A sentence is one forward pass. Passes take turns at `instances` places, so a request that has
    just come is heard before the tail of a long one.

    Unlike piper's own `synthesize`, no sentence is scaled to full volume: that would make a murmur
    as loud as a shout, and loudness is set once for the whole voice further up.
    """

    honours: ClassVar[frozenset[str]] = frozenset(
        {"voice", "speaker", "speed", "length_scale", "noise_scale", "noise_w"}
    )
    tells: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self._settings: PiperSettings
        self._library: VoiceLibrary
        self._turns: Turns
        self._pool: ThreadPoolExecutor

    @property
    def concurrency(self) -> int:
        """Requests in progress at once."""
        return self._settings.streams

    @property
    def voices(self) -> tuple[InstalledVoice, ...]:
        """The voices on this machine."""
        return self._library.installed

    def load(self, parameters: Parameters, model_directory: Path, metrics: ServingMetrics) -> None:
        """Finds the voices; each is read into memory when it is first asked for.

        Raises:
            InternalError: There is no voice at all.
        """
        import onnxruntime
        import piper

        # piper logs the text it speaks (debug) and what it cannot pronounce (warning).
        logging.getLogger("piper").setLevel(logging.ERROR)
        settings = PiperSettings.from_parameters(parameters)
        shipped = model_directory / "voices"
        folders = [shipped] if settings.voices_dir is None else [shipped, settings.voices_dir]
        catalogue = model_directory.parent / "voices.json"
        self._settings = settings
        self._turns = Turns(settings.instances)
        # One more than can be spoken at once, so that a place is taken again as soon as it is free.
        self._ahead = settings.instances + 1
        # One thread for whatever may be under way at once: they mostly wait for their turn.
        self._pool = ThreadPoolExecutor(
            settings.streams * self._ahead, "piper", initializer=_step_back
        )
        self._library = VoiceLibrary(
            folders,
            catalogue if catalogue.is_file() else None,
            lambda voice: _load_voice(onnxruntime, piper, voice, settings),
            settings.max_loaded_voices,
        )
        if not self._library.installed:
            raise InternalError(f"no voice lies in {' or '.join(map(str, folders))}")

    def warm_up(self) -> None:
        """Loads the first voice and speaks with it, at every place."""
        voice = self._library.installed[0]
        request = SynthesisInput(
            sentences=_WARM_UP_TEXTS, language=voice.language, voice=voice.name
        )
        for _ in range(self._settings.instances):
            for _ in self.synthesize(request, cancelled=lambda: False):
                pass

    def synthesize(
        self, request: SynthesisInput, cancelled: Callable[[], bool]
    ) -> Iterator[AudioChunk]:
        """Speaks the sentences in order; see `SpeechEngine.synthesize`."""
        name, speaker = request.voice, request.speaker
        if name is not None and speaker is None and "/" in name:
            # The form in which chunks say who spoke can be asked for as well.
            name, _, speaker = name.partition("/")
        voice = self._library.load(self._library.choose(name, request.language))
        speaker_number, who = voice.speaker(speaker)
        scales = _scales(request, voice)
        gone = threading.Event()

        def speak(index: int) -> list[NDArray[np.float32]]:
            # espeak may hear several sentences where the caller saw one.
            parts = []
            for ids in _phoneme_ids(voice, request.sentences[index]):
                with self._turns.turn(min(index, _URGENT_SENTENCES)) as place:
                    if gone.is_set():
                        raise CancelledError
                    alone = self._turns.nobody_waits
                    session = voice.lone_session if alone else voice.session_at(place)
                    parts.append(_run(session, ids, scales, speaker_number))
            return parts

        # While one sentence is sent off, the next ones are spoken at the other places: sentences
        # side by side use the cores better than threads inside one.
        waiting = iter(range(len(request.sentences)))
        ahead: deque[Future[list[NDArray[np.float32]]]] = deque()

        def fill() -> None:
            for index in itertools.islice(waiting, self._ahead - len(ahead)):
                ahead.append(self._pool.submit(speak, index))

        try:
            for index in range(len(request.sentences)):
                if cancelled():
                    raise CancelledError
                fill()
                parts = ahead.popleft().result() or [np.zeros(0, np.float32)]
                fill()
                for number, samples in enumerate(parts, start=1):
                    yield AudioChunk(
                        samples=samples,
                        sample_rate=voice.sample_rate,
                        sentence=index,
                        last=number == len(parts),
                        voice=who,
                    )
        finally:
            gone.set()
            for future in ahead:
                future.cancel()

    def forget(self, sample_ids: tuple[str, ...]) -> None:
        """Keeps nothing: its voices were trained, not cloned."""

    def close(self) -> None:
        """Forgets the voices."""
        self._pool.shutdown()
        self._library.clear()


def _step_back() -> None:
    # Whoever carries audio away comes first: a sentence that is ready must not wait in line behind
    # the one that is being spoken. Linux gives every thread a priority of its own.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)


def _load_voice(
    onnxruntime: Any, piper: Any, voice: InstalledVoice, settings: PiperSettings
) -> LoadedVoice:
    def session(threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Waiting threads sleep: spinning takes the cores from the other passes. All else is the
        # default, which measured best (scripts/bench_piper_instances.py).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(
            str(voice.model), options, providers=["CPUExecutionProvider"]
        )

    # A pass with one thread runs in its caller's thread, so all may share a session and its
    # weights. More threads come from a pool that the session owns, in which two passes would get
    # in each other's way.
    copies = 1 if settings.threads == 1 else settings.instances
    sessions = tuple(session(settings.threads) for _ in range(copies))
    wider = settings.lone_threads > settings.threads
    config = piper.PiperConfig.from_dict(read_voice_config(voice.config))
    return LoadedVoice(
        name=voice.name,
        sessions=sessions,
        lone_session=session(settings.lone_threads) if wider else sessions[0],
        # piper's own loader offers no session options, so its dataclass is built here.
        piper=piper.PiperVoice(session=sessions[0], config=config),
        sample_rate=config.sample_rate,
        speakers=dict(config.speaker_id_map),
        speaker_count=config.num_speakers,
        default_speaker=config.default_speaker_id,
        length_scale=config.length_scale,
        noise_scale=config.noise_scale,
        noise_w=config.noise_w_scale,
    )


def _scales(request: SynthesisInput, voice: LoadedVoice) -> NDArray[np.float32]:
    """What the model wants as `scales`: noise, length, noise of the rhythm; shape [3]."""

    def either(asked: float | None, default: float) -> float:
        return default if asked is None else asked

    return np.array(
        [
            either(request.noise_scale, voice.noise_scale),
            either(request.length_scale, voice.length_scale) / request.speed,
            either(request.noise_w, voice.noise_w),
        ],
        dtype=np.float32,
    )


def _phoneme_ids(voice: LoadedVoice, sentence: str) -> list[NDArray[np.int64]]:
    """Phonemes of each sentence that espeak hears, as the model's numbers; shapes [n]."""
    # Piper reads `[[…]]` as raw phonemes and C ends a text at NUL; customers mean neither.
    text = sentence.replace("[[", "[ [").replace("\0", " ")
    return [
        np.array(voice.piper.phonemes_to_ids(phonemes), dtype=np.int64)
        for phonemes in voice.piper.phonemize(text)
        if phonemes
    ]


def _run(
    session: Any,
    ids: NDArray[np.int64],
    scales: NDArray[np.float32],
    speaker: int | None,
) -> NDArray[np.float32]:
    """One forward pass; returns mono samples in [-1, 1], shape [n]."""
    inputs: dict[str, NDArray[Any]] = {
        "input": ids[np.newaxis],
        "input_lengths": np.array([ids.size], dtype=np.int64),
        "scales": scales,
    }
    if speaker is not None:
        inputs["sid"] = np.array([speaker], dtype=np.int64)
    samples: NDArray[np.float32] = session.run(None, inputs)[0].reshape(-1)
    # NaN survives the clipping, for the model's own check to find.
    return np.clip(samples, -1.0, 1.0).astype(np.float32, copy=False)
