"""Text → sentences, the unit that is spoken, cached and continued at."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

import sentencex

from voice_gateway.domain.language import primary
from voice_gateway.domain.limits import MAX_SENTENCE_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u2060\ufeff]")
_SPACES: Final = re.compile(r"[^\S\n]+")
_PARAGRAPHS: Final = re.compile(r"\n+")
# The segmenter does not end a sentence at a full-width mark that a digit or Latin letter follows.
_AFTER_FULL_WIDTH_END: Final = re.compile(r"(?<=[。！？｡])(?![。！？｡」』”’）)])")
# Zero-width, so that a cut loses nothing; a comma inside a number has no space after it.
_CLAUSE_END: Final = re.compile(r"(?<=[;:,—–،؛]\s)|(?<=[、，；：])")
_WORD_END: Final = re.compile(r"(?<=\s)")

_PAUSES: Final = (
    (re.compile(r"[.。｡।۔!?！？؟][\"'”’」』)）]*$"), 0.30),
    (re.compile(r"(?:…|\.\.\.)[\"'”’)]*$"), 0.45),
    (re.compile(r"[;:；：؛]$"), 0.20),
    (re.compile(r"[,،、，—–]$"), 0.12),
)
_PAUSE_OTHERWISE: Final = 0.25


def split_sentences(text: str, language: str, say: Callable[[str], str] = str) -> tuple[str, ...]:
    """Splits a text into the sentences to speak, in order.

    A sentence longer than `MAX_SENTENCE_CHARACTERS` is cut at clauses, then at words. A piece
    without a letter or a digit (`"..."`, a lone emoji) has nothing to pronounce and is left out.

    Args:
        text: What the customer wrote; any Unicode.
        language: BCP 47 tag; only its first part counts. An unknown one is split as English is.
        say: Writes a whole sentence as it is to be said. Not the text: a say-as that ends in a
            letter alone ("T H C.") would be taken for somebody's initials.

    Returns:
        Non-empty sentences without surrounding space; empty when nothing can be pronounced.
    """
    clean = _CONTROL.sub(" ", unicodedata.normalize("NFC", text).replace("\r", "\n"))
    clean = "".join(map(_plain_digit, clean))
    return tuple(
        piece
        for paragraph in _PARAGRAPHS.split(_SPACES.sub(" ", clean))
        for sentence in _segment(paragraph.strip(), primary(language))
        for piece in _short_enough(say(sentence))
        if any(character.isalnum() for character in piece)
    )


def pause_after(sentence: str) -> float:
    """Returns the gap in seconds that the sentence's last mark asks for."""
    # "..." also ends in a full stop: the longest pause that fits is the one meant.
    fitting = [seconds for pattern, seconds in _PAUSES if pattern.search(sentence)]
    return max(fitting, default=_PAUSE_OTHERWISE)


def _plain_digit(character: str) -> str:
    """Writes `٣`, `३` and `③` as `3`: no engine reads out the digits of every script."""
    digit = unicodedata.digit(character, None)
    return character if digit is None or character.isascii() else str(digit)


def _segment(paragraph: str, language: str) -> Iterator[str]:
    for sentence in sentencex.segment(language, paragraph):
        for part in _AFTER_FULL_WIDTH_END.split(sentence):
            if part := part.strip():
                yield part


def _short_enough(sentence: str) -> Iterator[str]:
    if len(sentence) <= MAX_SENTENCE_CHARACTERS:
        yield sentence
        return
    for boundary in (_CLAUSE_END, _WORD_END):
        pieces = [piece for piece in boundary.split(sentence) if piece]
        if len(pieces) > 1:
            for joined in _joined(pieces):
                yield from _short_enough(joined)
            return
    for start in range(0, len(sentence), MAX_SENTENCE_CHARACTERS):
        yield sentence[start : start + MAX_SENTENCE_CHARACTERS]


def _joined(pieces: list[str]) -> Iterator[str]:
    """Puts neighbouring pieces together again as far as the limit allows."""
    held = pieces[0]
    for piece in pieces[1:]:
        if len(held) + len(piece) > MAX_SENTENCE_CHARACTERS:
            yield held.strip()
            held = piece
        else:
            held += piece
    yield held.strip()
