"""The languages of XTTS v2, and how much of each it reads at once."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = {
    "ar": 166,
    "cs": 186,
    "de": 253,
    "en": 250,
    "es": 239,
    "fr": 273,
    "hi": 150,
    "hu": 224,
    "it": 213,
    "ja": 71,
    "ko": 95,
    "nl": 251,
    "pl": 224,
    "pt": 203,
    "ru": 182,
    "tr": 226,
    "zh": 82,
}
"""Primary language → characters that it was trained to read at once; a test compares them with
coqui-tts's own."""

EXTRAS: Final = {"ja": ("cutlet", "fugashi", "unidic_lite"), "zh": ("pypinyin",)}
"""What upstream's cleaners import for a language and do not bring."""

_ENDS: Final = (
    re.compile(r"(?<=[.!?。！？؟।…])\s*"),
    re.compile(r"(?<=[,;:，、；：،—–])\s*"),
    re.compile(r"\s+"),
)
"""Where a text may be cut, the best places first."""


def primary(language: str) -> str:
    """`pt` of `pt-BR`."""
    return language.strip().lower().replace("_", "-").partition("-")[0]


def split(text: str, longest: int) -> list[str]:
    """Cuts a text into parts of at most so many characters.

    Each cut is at the last good place that there is: between sentences, else between clauses, else
    between words, else anywhere.
    """
    parts = []
    rest = text.strip()
    while len(rest) > longest:
        cut = _cut(rest, longest)
        parts.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [part for part in (*parts, rest) if part]


def _cut(text: str, longest: int) -> int:
    for pattern in _ENDS:
        # A cut in the first third would leave a scrap.
        found = pattern.finditer(text, longest // 3, longest + 1)
        places = [match.start() for match in found if 0 < match.start() <= longest]
        if places:
            return places[-1]
    return longest
