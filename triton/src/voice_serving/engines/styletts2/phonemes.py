"""English text to phonemes, in the form that StyleTTS2 was trained on.

That is espeak-ng's American English in IPA, stress marked, punctuation kept and set apart by
spaces: `həlˈoʊ , wˈɜːld .` espeak swallows punctuation, so the text is cut at it and put together
again.

Between spaces stands what espeak says in one go, and that is not always a word: `in the` becomes
`ɪnðə`, and 35 `θˈɜːɾi fˈaɪv`. Where in the text each of them begins is only told while espeak
speaks, so `words` lets it speak, and does not listen.
"""

from __future__ import annotations

import ctypes
import re
import threading
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from voice_serving.engines.styletts2.symbols import MARKS
from voice_serving.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# From speak_lib.h of espeak-ng 1.52.
_OUTPUT_SYNCHRONOUS: Final = 2
_DONT_EXIT: Final = 0x8000
_UTF8: Final = 1
_IPA: Final = 2
_VOICE: Final = b"en-us"
_RATE: Final = 1
_FASTEST: Final = 450
_NO_MORE_EVENTS: Final = 0
_WORD_BEGINS: Final = 1

_CURRENCIES: Final = {
    "$": ("dollar", "cent"),
    "€": ("euro", "cent"),
    "£": ("pound", "penny"),
}
_PLURALS: Final = {"penny": "pence"}
_MONEY: Final = re.compile(
    r"([$€£])\s?(\d[\d,]*)(\.\d+)?(?!\d)(\s(?:thousand|million|billion|trillion)\b)?"
)
_ABBREVIATION: Final = re.compile(
    r"\b(?:(Mr|Mrs|Ms|Dr|Prof|Capt|Gen|Col|Lt|Sgt|Rev|Hon|St|Mt|Ft)\.(?=\s+[A-Z])"
    r"|(vs|etc|Inc|Ltd|Co|Corp|Jr|Sr)\.(?=,|\s+[a-z])"
    r"|(No)\.(?=\s?\d))"
)
_LATIN: Final = (
    (re.compile(r"\be\.\s?g\."), "for example"),
    (re.compile(r"\bi\.\s?e\."), "that is"),
)
_INITIALS: Final = re.compile(
    r"\b(?:[A-Za-z]\.){2,}(?!$)"  # the U.S. is
    r"|\b(?:[A-Za-z]\.)+[A-Za-z](?=\.$)"  # in the U.S., whose last point ends the sentence
    r"|\b[A-Z]\.(?=\s[A-Z])"  # J. Smith
)
_MARKS: Final = re.compile(rf"([{re.escape(MARKS)}]+)")
_NUMBER_MARK: Final = re.compile(r"(?<=\d)([.,:])(?=\d)")
_HELD: Final = {".": "\ue000", ",": "\ue001", ":": "\ue002"}
"""Marks inside a number are espeak's to read, so they hide while the text is cut at marks."""
_LANGUAGE_SWITCH: Final = re.compile(r"\([a-z-]+\)")
_LIKE_A_DASH: Final = re.compile(r"\s+-+\s+|-{2,}|–")
_PLAINER: Final = str.maketrans({"‘": "'", "’": "'", "\0": " "})


_SAID: Final = re.compile(r"\S+")


class _Event(ctypes.Structure):
    """`espeak_EVENT`."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("message", ctypes.c_uint),
        ("position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_uint64),
    )


_CALLBACK: Final = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Word(NamedTuple):
    """What is said of a text, and the place of its phonemes among all."""

    text: str
    start: int
    end: int


class Phonemizer:
    """espeak-ng as a library, whose whole state is global: one text at a time.

    Raises:
        InternalError: The library or its data are not where they should be.
    """

    def __init__(self) -> None:
        import espeakng_loader

        self._lock = threading.Lock()
        self._c = ctypes.CDLL(espeakng_loader.get_library_path())
        data = bytes(Path(espeakng_loader.get_data_path()))
        if self._c.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, data, _DONT_EXIT) <= 0:
            raise InternalError("espeak-ng did not start: its data are not where they should be")
        if self._c.espeak_SetVoiceByName(_VOICE) != 0:
            raise InternalError("espeak-ng has no American English")
        self._c.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._c.espeak_TextToPhonemes.argtypes = (
            ctypes.POINTER(ctypes.c_char_p),
            ctypes.c_int,
            ctypes.c_int,
        )
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
        self._begun: list[int] = []
        # ctypes keeps no reference of its own: without this one the callback would be collected.
        self._callback = _CALLBACK(self._note)

    def phonemes(self, text: str) -> str:
        """Transcribes a sentence; empty when there is nothing to read in it."""
        return " ".join(phonemes for phonemes, _ in self._parts(text))

    def words(self, text: str) -> tuple[Word, ...]:
        """Tells which of a sentence's phonemes say which of its words.

        The words are those that are read: money and abbreviations are written out, and marks are
        left out. A written word that espeak says in one go with the one before is told together
        with it (`in the`); one that takes several goes (35) is one. It takes a few milliseconds.

        Returns:
            In order; nothing of what stands between two marks where espeak speaks otherwise than
            it transcribes.
        """
        found: list[Word] = []
        place = 0
        for phonemes, read in self._parts(text):
            if read:
                found += _words(read, self._beginnings(read), phonemes, place)
            place += len(phonemes) + 1
        return tuple(found)

    def _parts(self, text: str) -> Iterator[tuple[str, str]]:
        """Yields phonemes and what they were read from, which is nothing for marks."""
        for number, part in enumerate(_MARKS.split(normalised(text))):
            if number % 2:
                yield " ".join(part), ""
            elif part.strip():
                shown = "".join(_SHOWN.get(each, each) for each in part)
                if phonemes := self._read(shown):
                    yield phonemes, shown

    def _beginnings(self, words: str) -> list[int]:
        """Where in the text each thing begins that espeak says in one go."""
        text = words.encode()
        with self._lock:
            self._begun = []
            self._c.espeak_SetSynthCallback(self._callback)
            self._c.espeak_SetParameter(_RATE, _FASTEST, 0)
            self._c.espeak_Synth(text, len(text) + 1, 0, 1, 0, _UTF8, None, None)
            return self._begun

    def _note(self, _samples: object, _count: int, events: ctypes._Pointer[_Event]) -> int:
        number = 0
        while (event := events[number]).type != _NO_MORE_EVENTS:
            if event.type == _WORD_BEGINS:
                self._begun.append(event.position - 1)
            number += 1
        return 0

    def _read(self, words: str) -> str:
        clauses = []
        # espeak moves the pointer on, a clause at a time, and sets it to null at the end.
        text = ctypes.c_char_p(words.encode())
        with self._lock:
            while text.value is not None:
                clause = self._c.espeak_TextToPhonemes(ctypes.byref(text), _UTF8, _IPA)
                clauses.append((clause or b"").decode())
        return " ".join(_LANGUAGE_SWITCH.sub("", " ".join(clauses)).split())


def _words(read: str, beginnings: Sequence[int], phonemes: str, place: int) -> list[Word]:
    said = list(_SAID.finditer(phonemes))
    written = list(_SAID.finditer(read))
    starts = [word.start() for word in written]
    owners = [max(bisect_right(starts, each) - 1, 0) for each in beginnings]
    if len(said) != len(owners) or owners != sorted(owners):
        return []
    found = []
    for owner in sorted(set(owners)):
        until = next((each for each in owners if each > owner), len(written))
        # What follows and is no word of its own has been said with it, unless it is silent.
        joined = [word[0] for word in written[owner + 1 : until] if any(map(str.isalnum, word[0]))]
        own = [group for group, each in zip(said, owners, strict=True) if each == owner]
        text = " ".join([written[owner][0], *joined])
        found.append(Word(text, place + own[0].start(), place + own[-1].end()))
    return found


_SHOWN: Final = {hidden: mark for mark, hidden in _HELD.items()}


def normalised(text: str) -> str:
    """What is written otherwise than it is read, as far as espeak does not know it.

    Money in the order in which it is said; abbreviations and initials without the points that would
    become pauses; the marks inside of a number hidden.
    """
    text = text.strip().translate(_PLAINER)
    for pattern, meaning in _LATIN:
        text = pattern.sub(meaning, text)
    text = _MONEY.sub(_said_money, text)
    text = _ABBREVIATION.sub(lambda match: match[match.lastindex or 0], text)
    text = _INITIALS.sub(lambda match: " ".join(match[0].replace(".", " ").split()), text)
    text = _LIKE_A_DASH.sub("—", text)
    return _NUMBER_MARK.sub(lambda match: _HELD[match[1]], text)


def _said_money(match: re.Match[str]) -> str:
    unit, part = _CURRENCIES[match[1]]
    whole, fraction, scale = match[2].rstrip(","), match[3] or "", match[4]
    if scale is not None:
        return f"{whole}{fraction}{scale} {unit}s"
    if fraction in ("", ".00"):
        return f"{whole} {_counted(unit, whole)}"
    if len(fraction) != len(".00"):
        return f"{whole}{fraction} {unit}s"
    return f"{whole} {_counted(unit, whole)} and {int(fraction[1:])} {_counted(part, fraction[1:])}"


def _counted(unit: str, amount: str) -> str:
    return unit if int(amount.replace(",", "")) == 1 else _PLURALS.get(unit, f"{unit}s")
