"""English text to phonemes, in the form that StyleTTS2 was trained on.

That is espeak-ng's American English in IPA, stress marked, punctuation kept and set apart by
spaces: `həlˈoʊ , wˈɜːld .` espeak swallows punctuation, so the text is cut at it and put together
again.
"""

from __future__ import annotations

import ctypes
import re
import threading
from pathlib import Path
from typing import Final

from voice_serving.engines.styletts2.symbols import MARKS
from voice_serving.errors import InternalError

# From speak_lib.h of espeak-ng 1.52.
_OUTPUT_SYNCHRONOUS: Final = 2
_DONT_EXIT: Final = 0x8000
_UTF8: Final = 1
_IPA: Final = 2
_VOICE: Final = b"en-us"

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

    def phonemes(self, text: str) -> str:
        """Transcribes a sentence; empty when there is nothing to read in it."""
        parts = []
        for number, part in enumerate(_MARKS.split(normalised(text))):
            if number % 2:
                parts.append(" ".join(part))
            elif part.strip():
                parts.append(self._read("".join(_SHOWN.get(each, each) for each in part)))
        return " ".join(part for part in parts if part)

    def _read(self, words: str) -> str:
        clauses = []
        # espeak moves the pointer on, a clause at a time, and sets it to null at the end.
        text = ctypes.c_char_p(words.encode())
        with self._lock:
            while text.value is not None:
                clause = self._c.espeak_TextToPhonemes(ctypes.byref(text), _UTF8, _IPA)
                clauses.append((clause or b"").decode())
        return " ".join(_LANGUAGE_SWITCH.sub("", " ".join(clauses)).split())


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
