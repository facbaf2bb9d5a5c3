"""The teacher: espeak-ng, with the phonemes, the exact times and the waveform of what it says.

piper-tts carries espeak-ng as one shared object (``espeakbridge.so``) with its data. The same
object serves twice here: its Python face gives the phonemes that Piper will feed the voice with,
and its C face, through ctypes, speaks and reports when every phoneme begins.

espeak-ng keeps global state: one teacher in a process, and no threads.
"""

import ctypes
import re
import tempfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import piper
from numpy.typing import NDArray
from piper import espeakbridge

__all__ = ["SAMPLE_RATE", "SPEAKERS", "Speaker", "Teacher", "Utterance"]

SAMPLE_RATE: Final = 22050
"""espeak-ng's own rate: nothing is resampled."""

_PACKAGE: Final = Path(piper.__file__).parent

# From espeak-ng's public header, speak_lib.h.
_RETRIEVAL: Final = 1
_PHONEME_EVENTS_IN_IPA: Final = 1 | 2
_DO_NOT_EXIT: Final = 0x8000
_RATE, _PITCH, _RANGE = 1, 3, 4
_UTF8: Final = 1
_EVENT_PHONEME: Final = 7


@dataclass(frozen=True, slots=True)
class Speaker:
    """One of the teacher's voices."""

    name: str
    rate: int
    """Words a minute."""
    lowest: float
    """No pitch below this, in Hz; with ``highest`` it keeps the pitch tracker off octave errors."""
    highest: float
    variant: str
    """An espeak-ng voice variant. Flutter and roughness are off: the voice learns from a steady
    teacher and brings its own liveliness, through ``noise_scale``. So is the echo."""


SPEAKERS: Final = (
    Speaker(
        name="marcel",
        rate=162,
        lowest=50.0,
        highest=190.0,
        variant="""
language variant
name marcel
gender male
pitch 76 122
flutter 0
roughness 0
formant 0 100 100 100
formant 1 96 98 95
formant 2 96 98 95
formant 3 96 100 100
formant 4 95 95 105
formant 5 95 90 105
stressAdd 10 10 0 0 0 0 -20 -20
""",
    ),
    Speaker(
        name="shante",
        rate=172,
        lowest=95.0,
        highest=330.0,
        variant="""
language variant
name shante
gender female
pitch 150 236
flutter 0
roughness 0
formant 0 105 85 140
formant 1 112 90 130
formant 2 114 85 130
formant 3 114 80 130
formant 4 116 80 140
formant 5 116 75 140
formant 6 110 70 150
formant 7 110 70 150
formant 8 110 70 150
stressAdd 0 0 -10 -10 0 0 10 30
breath 0 2 3 3 3 3 3 2
consonants 110 115
""",
    ),
)


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the teacher said, and when."""

    phonemes: list[str]
    """One Unicode code point each, punctuation included, as Piper's phonemiser gives them."""
    events: list[tuple[int, str]]
    """(first sample, IPA symbols) of every sound; a pause has no symbols."""
    audio: NDArray[np.float32]
    """[samples] at ``SAMPLE_RATE``, in [-1, 1]."""


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_OnAudio = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Teacher:
    """espeak-ng, speaking American English as one of ``SPEAKERS``."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="teacher-")
        data = self._lay_out_data(Path(self._home.name))
        self._pcm = bytearray()
        self._events: list[tuple[int, str]] = []
        espeakbridge.initialize(str(data))
        # espeakbridge switches the phoneme events off: this second initialisation comes after it.
        self._library = ctypes.CDLL(str(_PACKAGE / "espeakbridge.so"))
        self._library.espeak_Synth.argtypes = [
            ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
            ctypes.c_uint, ctypes.c_uint, ctypes.POINTER(ctypes.c_uint), ctypes.c_void_p,
        ]  # fmt: skip
        options = _DO_NOT_EXIT | _PHONEME_EVENTS_IN_IPA
        rate = self._library.espeak_Initialize(_RETRIEVAL, 0, str(data).encode(), options)
        if rate != SAMPLE_RATE:
            raise RuntimeError(f"espeak-ng answered {rate}, not {SAMPLE_RATE} Hz")
        self._callback = _OnAudio(self._collect)  # kept: ctypes does not hold it for the library
        self._library.espeak_SetSynthCallback(self._callback)

    @staticmethod
    def _lay_out_data(home: Path) -> Path:
        """Copy espeak-ng's data folder as links, with our own variants among its own."""
        data = home / "espeak-ng-data"
        variants = data / "voices" / "!v"
        variants.mkdir(parents=True)
        source = _PACKAGE / "espeak-ng-data"
        for folder in (source, source / "voices", source / "voices" / "!v"):
            for entry in folder.iterdir():
                link = data / folder.relative_to(source) / entry.name
                if not link.exists():
                    link.symlink_to(entry)
        for speaker in SPEAKERS:
            (variants / speaker.name).write_text(speaker.variant.lstrip())
        return data

    def say(self, text: str, speaker: Speaker) -> Utterance:
        """Speak one line of text."""
        phonemes = self._phonemes(text)
        self._pcm.clear()
        self._events.clear()
        if self._library.espeak_SetVoiceByName(f"en-us+{speaker.name}".encode()) != 0:
            raise RuntimeError(f"espeak-ng does not know the voice of {speaker.name}")
        self._library.espeak_SetParameter(_RATE, speaker.rate, 0)
        line = text.encode() + b"\0"
        self._library.espeak_Synth(line, len(line), 0, 1, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        audio = np.frombuffer(bytes(self._pcm), np.int16).astype(np.float32) / 32768
        return Utterance(phonemes, list(self._events), audio)

    def _collect(self, samples: object, count: int, events: object) -> int:
        """Take a piece of audio and its events from the library. 0 tells it to go on."""
        if samples and count:
            self._pcm.extend(ctypes.string_at(samples, 2 * count))  # type: ignore[arg-type]
        index = 0
        while events[index].type:  # type: ignore[index]
            event = events[index]  # type: ignore[index]
            if event.type == _EVENT_PHONEME:
                self._events.append((event.sample, event.id.string.decode("utf-8", "ignore")))
            index += 1
        return 0

    @staticmethod
    def _phonemes(text: str) -> list[str]:
        """Give Piper's phonemes of a line, all sentences in one list with a space between them."""
        espeakbridge.set_voice("en-us")
        line = ""
        for sounds, mark, _ in espeakbridge.get_phonemes(text):
            line += re.sub(r"\([^)]+\)", "", sounds) + mark + " "
        return list(unicodedata.normalize("NFD", line.rstrip()))
