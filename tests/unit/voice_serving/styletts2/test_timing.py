from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voice_serving.engines.styletts2.phonemes import Word
from voice_serving.engines.styletts2.symbols import Piece, tokens
from voice_serving.engines.styletts2.timing import WordTimes

if TYPE_CHECKING:
    from voice_serving.engine import WordTime

PHONEMES = "ab cd , ef"
WORDS = (Word("one", 0, 2), Word("two", 3, 5), Word("three", 8, 10))


def hear(times: WordTimes, piece: Piece, *, trimmed: float = 0.0) -> tuple[WordTime, ...]:
    """Every token lasts a tenth of a second, the pad at the start too."""
    frames = np.full(len(tokens(piece.phonemes)), 4, np.int64)
    return times.hear(piece, frames, 0.1 * len(frames), trimmed)


def rounded(words: tuple[WordTime, ...]) -> list[tuple[str, float, float]]:
    return [(each.word, round(each.start, 6), round(each.end, 6)) for each in words]


def test_a_word_lasts_as_long_as_its_phonemes():
    told = hear(WordTimes(WORDS), Piece(0, PHONEMES))
    assert rounded(told) == [("one", 0.1, 0.3), ("two", 0.4, 0.6), ("three", 0.9, 1.1)]


def test_phonemes_last_differently():
    times = WordTimes((Word("one", 0, 2), Word("two", 3, 4)))
    told = times.hear(Piece(0, "ab c"), np.array([1, 2, 3, 4, 10]), 20.0, 0.0)
    assert rounded(told) == [("one", 1.0, 6.0), ("two", 10.0, 20.0)]


def test_what_is_cut_off_is_heard_no_longer():
    told = hear(WordTimes(WORDS), Piece(0, PHONEMES), trimmed=0.05)
    assert rounded(told)[-1] == ("three", 0.9, 1.05)


def test_the_second_piece_goes_on_where_the_first_one_ended():
    times = WordTimes(WORDS)
    assert rounded(hear(times, Piece(0, "ab cd ,"), trimmed=0.1)) == [
        ("one", 0.1, 0.3),
        ("two", 0.4, 0.6),
    ]
    # Eight tokens with the pad, less a tenth of a second; then the second pad.
    assert rounded(hear(times, Piece(8, "ef"))) == [("three", 0.8, 1.0)]


def test_a_word_in_two_pieces_is_told_with_the_second():
    times = WordTimes((Word("1,250", 0, 5), Word("three", 8, 10)))
    assert hear(times, Piece(0, "ab")) == ()
    assert rounded(hear(times, Piece(3, "cd , ef"))) == [("1,250", 0.1, 0.6), ("three", 0.9, 1.1)]


def test_a_word_without_a_phoneme_that_the_model_knows_is_not_heard():
    for words in ((Word("1", 0, 1), Word("two", 2, 4)), (Word("two", 0, 2), Word("1", 3, 4))):
        phonemes = " ".join({"1": "1", "two": "ab"}[word.text] for word in words)
        told = hear(WordTimes(words), Piece(0, phonemes))
        assert [each.word for each in told] == ["two"]
