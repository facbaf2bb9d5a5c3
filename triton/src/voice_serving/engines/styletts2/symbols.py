"""The phonemes that StyleTTS2 knows, and how many of them it hears at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAD: Final = "$"
MARKS: Final = ';:,.!?¡¿—…"«»“”'
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_IPA: Final = (
    "ɑɐɒæɓʙβɔɕçɗɖðʤəɘɚɛɜɝɞɟʄɡɠɢʛɦɧħɥʜɨɪʝɭɬɫɮʟɱɯɰŋɳɲɴøɵɸθœɶʘɹɺɾɻʀʁɽʂʃʈʧʉʊʋⱱʌɣɤʍχʎʏʑʐʒʔʡʕʢǀǁǂǃ"
    "ˈˌːˑʼʴʰʱʲʷˠˤ˞↓↑→↗↘'̩'ᵻ"
)

NUMBERS: Final = {
    symbol: number for number, symbol in enumerate([_PAD, *MARKS, " ", *_LETTERS, *_IPA])
}
"""Symbol → its number; one stands twice in the authors' list, and its second place counts."""

_BREAKS: Final = (frozenset(".!?…"), frozenset(";:—,"), frozenset(" "))
"""Where a text too long is best cut; the earlier ones are preferred."""


class Piece(NamedTuple):
    """Some of a text's phonemes, to be spoken in one breath."""

    start: int
    """Where it begins among the text's."""
    phonemes: str


def tokens(phonemes: str) -> tuple[int, ...]:
    """Numbers of the phonemes, after the pad with which every text began in training.

    What has no number is left out; nothing is logged, since it would be a customer's text.
    """
    return (NUMBERS[_PAD], *(NUMBERS[symbol] for symbol in phonemes if symbol in NUMBERS))


def pronounceable(phonemes: str) -> bool:
    """Whether there is anything in it besides marks and spaces."""
    return any(symbol in NUMBERS and symbol not in MARKS + " " for symbol in phonemes)


def pieces(phonemes: str, longest: int) -> Iterator[Piece]:
    """Cuts a text that is too long, at the end of a sentence, a clause or a word if there is one.

    Args:
        phonemes: What `phonemes` gives.
        longest: Symbols in a piece.

    Yields:
        Pieces with something to pronounce, in order.
    """
    rest = phonemes.lstrip()
    while rest:
        start = len(phonemes) - len(rest)
        cut = len(rest) if len(rest.rstrip()) <= longest else _best_cut(rest[:longest])
        piece, rest = rest[:cut].rstrip(), rest[cut:].lstrip()
        if pronounceable(piece):
            yield Piece(start, piece)


def _best_cut(text: str) -> int:
    for breaks in _BREAKS:
        # In the second half only, so that no scrap is spoken by itself.
        for place in range(len(text) - 1, len(text) // 2, -1):
            if text[place] in breaks:
                return place + 1
    return len(text)
