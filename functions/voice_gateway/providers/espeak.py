"""The floor: espeak-ng inside the function. No model, no network, no key, 100-odd languages."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import threading
from functools import cached_property
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from voice_gateway.domain.chain import FLOOR
from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.language import primary
from voice_gateway.domain.speech import ProviderCapabilities, SpeechChunk
from voice_gateway.domain.voice_match import likeness, most_like
from voice_gateway.domain.voices import Gender, Voice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from numpy.typing import NDArray

    from voice_gateway.domain.speech import SpeechRequest
    from voice_gateway.ports import SpeechProvider
    from voice_gateway.providers.registry import Deployment

# From speak_lib.h of espeak-ng 1.52.
_OUTPUT_SYNCHRONOUS: Final = 2
_DONT_EXIT: Final = 0x8000
_UTF8: Final = 1
_PARAMETER_RATE: Final = 1
_PARAMETER_PITCH: Final = 3
_WORDS_A_MINUTE: Final = 165
_RATE_RANGE: Final = (80, 450)
_WOMAN: Final = "+f2"
_GENDERS: Final = {"": Gender.MALE, "m": Gender.MALE, "f": Gender.FEMALE}
"""By a variant's name without its number; the plain voices are a man's."""
_PREFERRED: Final = {"en": "en-us", "zh": "cmn", "no": "nb"}
"""For tags that the library lists under another name, or would give a rarer accent."""
_log = logging.getLogger(__name__)
_CALLBACK: Final = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class _Voice(ctypes.Structure):
    """The head of `espeak_VOICE`: as much of it as is read here."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
    )


class _Library:
    """The C library, whose whole state is global: one voice and one synthesis at a time."""

    def __init__(self) -> None:
        import espeakng_loader

        self._lock = threading.Lock()
        self._pieces: list[NDArray[np.int16]] = []
        self._stop = threading.Event()
        self._c = ctypes.CDLL(espeakng_loader.get_library_path())
        self._c.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        self._c.espeak_Synth.argtypes = (
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        )
        self._data = Path(espeakng_loader.get_data_path())
        self.sample_rate = int(
            self._c.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, bytes(self._data), _DONT_EXIT)
        )
        if self.sample_rate <= 0:
            raise RuntimeError("espeak-ng did not start: its data are not where they should be")
        # ctypes keeps no reference of its own: without this one the callback would be collected.
        self._callback = _CALLBACK(self._collect)

    @cached_property
    def variants(self) -> frozenset[str]:
        """What may follow a voice's name after a plus, such as `f2`."""
        return frozenset(path.name for path in (self._data / "voices" / "!v").iterdir())

    def voices(self) -> dict[str, str]:
        """Returns every voice: BCP 47 tag, lower case → the name to ask for it by."""
        voices: dict[str, str] = {}
        with self._lock:
            listed = self._c.espeak_ListVoices(None)
            for voice in takewhile(bool, (listed[i] for i in count())):
                # A priority byte, then the tag.
                tag = voice.contents.languages[1:].decode()
                voices.setdefault(tag, voice.contents.identifier.decode().rpartition("/")[2])
        return voices

    def speak(
        self, text: str, voice: str, *, rate: int, pitch: int, stop: threading.Event
    ) -> NDArray[np.int16] | None:
        """Synthesises a sentence.

        Args:
            text: Plain text; markup in it is read out, not obeyed.
            voice: One of `voices`, with or without one of `variants`: `en-us+f2`. Never anything
                else: the library copies the name into a small buffer without looking.
            rate: Words a minute.
            pitch: 0 to 100; 50 is the voice's own, 25 half an octave.
            stop: Set from another thread to end early.

        Returns:
            Mono samples, or None when there is no such voice.
        """
        with self._lock:
            if self._c.espeak_SetVoiceByName(voice.encode()) != 0:
                return None
            self._c.espeak_SetParameter(_PARAMETER_RATE, rate, 0)
            self._c.espeak_SetParameter(_PARAMETER_PITCH, pitch, 0)
            # Global too: another user of the library in this process may have set its own.
            self._c.espeak_SetSynthCallback(self._callback)
            self._pieces, self._stop = [], stop
            data = text.encode() + b"\0"
            self._c.espeak_Synth(data, len(data), 0, 1, 0, _UTF8, None, None)
            pieces, self._pieces = self._pieces, []
        return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int16)

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if samples and count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).astype(np.int16))
        return int(self._stop.is_set())


def offer(_: Deployment) -> Callable[[], SpeechProvider]:
    """Returns what makes the provider: it is everywhere."""
    return EspeakProvider


class EspeakProvider:
    """Speaks anything, plainly, when nobody else can."""

    @property
    def name(self) -> str:
        """The registered name."""
        return FLOOR

    @cached_property
    def capabilities(self) -> ProviderCapabilities:
        """Every language that the library has a voice for; none where it does not load."""
        try:
            voices = self._voices
        except (OSError, RuntimeError):
            # Without the floor the others still speak.
            _log.exception("espeak-ng does not load: there is no floor")
            return ProviderCapabilities(languages=frozenset())
        spoken = {primary(tag) for tag in (*voices, *_PREFERRED)}
        return ProviderCapabilities(languages=frozenset(spoken), pitch=True)

    @cached_property
    def _voices(self) -> dict[str, str]:
        return self._library.voices()

    @cached_property
    def _tags(self) -> dict[str, tuple[str, ...]]:
        """Voice → the tags that it is listed under."""
        tags: dict[str, tuple[str, ...]] = {}
        for tag, name in self._voices.items():
            tags[name] = (*tags.get(name, ()), tag)
        return tags

    @cached_property
    def _library(self) -> _Library:
        return _Library()

    async def voices(self) -> tuple[Voice, ...]:
        """Lists the library's voices, each as a man's and as a woman's; it has more variants.

        Raises:
            ProviderError: `unavailable`; the library does not load.
        """
        try:
            names = await asyncio.to_thread(lambda: tuple(self._tags))
        except (OSError, RuntimeError):
            detail = "espeak-ng does not load"
            raise ProviderError(self.name, FailureReason.UNAVAILABLE, detail) from None
        return tuple(each for name in names for each in self._both(name))

    async def voice_for(self, request: SpeechRequest) -> Voice:
        """Tells who would speak a request.

        Raises:
            ProviderError: `unavailable` when there is no voice for the language.
        """
        if (pinned := self._pinned(request)) is not None:
            return self._voice(pinned)
        both = self._both(self._voice_for(request.language))
        return most_like(request.wanted, both, request.language) or both[0]

    async def warm_up(self) -> None:
        """Loads the library, so that the fall is as quick as the rest."""
        await asyncio.to_thread(lambda: self.capabilities)

    async def aclose(self) -> None:
        """Nothing to release: the library belongs to the process."""

    async def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        """Speaks sentence by sentence, each one chunk.

        Raises:
            ProviderError: `unavailable` when there is no voice for the language.
        """
        found = await self.voice_for(request)
        voice, match = found.name, likeness(request.wanted, request.language, found)
        wanted_rate = round(_WORDS_A_MINUTE * request.speed)
        rate = min(max(wanted_rate, _RATE_RANGE[0]), _RATE_RANGE[1])
        spoken = None if rate == wanted_rate else rate / _WORDS_A_MINUTE
        # The library's scale is logarithmic: ±50 steps are ±12 semitones.
        pitch = min(max(round(50 + request.pitch * 50 / 12), 0), 99)
        stop = threading.Event()
        try:
            for index, sentence in enumerate(request.sentences):
                samples = await asyncio.to_thread(
                    self._library.speak, sentence, voice, rate=rate, pitch=pitch, stop=stop
                )
                if samples is None:
                    raise ProviderError(
                        self.name,
                        FailureReason.UNAVAILABLE,
                        f"espeak-ng has no voice {voice}",
                        of_request=True,
                    )
                yield SpeechChunk(
                    samples=samples.astype(np.float32) * np.float32(1 / 32768),
                    sample_rate=self._library.sample_rate,
                    sentence=index,
                    last=True,
                    provider=self.name,
                    voice=voice,
                    speed=spoken,
                    match=match,
                )
        finally:
            stop.set()

    def _pinned(self, request: SpeechRequest) -> str | None:
        """The voice that the personality wants, if the library has it.

        Only names that the library lists are handed to it: it copies a longer one past the end of
        its buffer, and opens a path. One it does not have must not take the floor away.
        """
        if (wanted := request.voices.get(self.name)) is None:
            return None
        name, plus, variant = wanted.partition("+")
        known = {voice.lower(): voice for voice in self._voices.values()} | self._voices
        if name.lower() not in known or bool(plus) != (variant in self._library.variants):
            request.journal.not_applied.add("voice")
            return None
        return f"{known[name.lower()]}{plus}{variant}"

    def _both(self, name: str) -> tuple[Voice, Voice]:
        """A voice as it is, which is a man's, and its usual variant of a woman's."""
        return self._voice(name), self._voice(name + _WOMAN)

    def _voice(self, name: str) -> Voice:
        plain, _, variant = name.partition("+")
        return Voice(
            provider=self.name,
            name=name,
            languages=self._tags[plain],
            gender=_GENDERS.get(variant.rstrip("0123456789")),
            voice_class="formant",
            sample_rate=self._library.sample_rate,
            streaming=False,
        )

    def _voice_for(self, language: str) -> str:
        tag = language.lower()
        alone = primary(tag)
        for candidate in (tag, _PREFERRED.get(alone, alone)):
            if candidate in self._voices:
                return self._voices[candidate]
        spoken = [v for t, v in self._voices.items() if primary(t) == alone]
        if alone in spoken:
            return alone  # `fr` is listed as fr-fr, after fr-be
        if spoken:
            return spoken[0]
        detail = f"espeak-ng has no voice for {alone}"
        raise ProviderError(self.name, FailureReason.UNAVAILABLE, detail, of_request=True)
