from __future__ import annotations

import logging
from difflib import SequenceMatcher
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_serving.engines.styletts2.phonemes import Phonemizer, normalised
from voice_serving.engines.styletts2.symbols import NUMBERS, pieces, pronounceable, tokens


@pytest.fixture(scope="module")
def phonemizer() -> Phonemizer:
    return Phonemizer()


def test_the_form_of_the_training_texts(phonemizer):
    # As in the authors' lists: espeak's stress, and every mark between spaces.
    spoken = phonemizer.phonemes("We come to the sermon. At last, in the twentieth month,")
    assert spoken == "wiː kˈʌm tə ðə sˈɜːmən . æt lˈæst , ɪnðə twˈɛntiəθ mˈʌnθ ,"
    assert phonemizer.phonemes("Hello, “world”!") == "həlˈoʊ , “ wˈɜːld ” !"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Dr. Smith met Mrs. Jones.", "Dr Smith met Mrs Jones."),
        ("It is $3.50.", "It is 3 dollars and 50 cents."),
        ("It is $1.", "It is 1 dollar."),
        ("It is £2.01, or €1.5 billion.", "It is 2 pounds and 1 penny, or 1.5 billion euros."),
        ("That makes $1,250,000.", "That makes 1,250,000 dollars."),
        ("E.g. this, i.e. that.", "E.g. this, that is that."),
        ("e.g. this", "for example this"),
        ("No. 5 says no. No.", "No 5 says no. No."),
        ("J. Smith of the U.S. Navy", "J Smith of the U S Navy"),
        ("He left the U.S.", "He left the U S."),
        ("apples, pears etc. are fine etc.", "apples, pears etc are fine etc."),
        ("Wait -- what - now? 5-6", "Wait—what—now? 5-6"),
        ("It’s", "It's"),
    ],
)
def test_what_is_written_otherwise_than_it_is_read(phonemizer, written, read):
    assert phonemizer.phonemes(written) == phonemizer.phonemes(read)
    assert "$" not in normalised(written)


def test_numbers_are_read_whole(phonemizer):
    assert phonemizer.phonemes("3.5 at 10:30") == "θɹˈiː pɔɪnt fˈaɪv æt tˈɛn θˈɜːɾi"
    assert phonemizer.phonemes("1,250 people") == phonemizer.phonemes("1250 people")


@pytest.mark.parametrize("text", ["...", "?!", "“”", "\u200b", " ", "—", "\0"])
def test_nothing_to_pronounce(phonemizer, text):
    assert not pronounceable(phonemizer.phonemes(text))
    assert list(pieces(phonemizer.phonemes(text), 100)) == []


@given(st.text(max_size=60))
def test_any_text_becomes_known_numbers_and_no_log_line(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.Logger, "handle", lambda *_: pytest.fail("logged"))
        numbers = tokens(Phonemizer().phonemes(text))
    assert numbers[0] == 0
    assert all(0 <= number < 178 for number in numbers)


def test_the_table_is_the_authors(phonemizer):
    from upstream_styletts2 import import_module

    assert import_module("text_utils").dicts == NUMBERS


@given(st.text(alphabet="aˈɪ .,!", max_size=200), st.integers(2, 40))
def test_pieces_lose_nothing_that_is_said(phonemes, longest):
    found = list(pieces(phonemes, longest))
    assert all(phonemes[start : start + len(piece)] == piece for start, piece in found)
    cut = [piece for _, piece in found]
    assert all(0 < len(piece) <= longest for piece in cut)
    said = [symbol for symbol in phonemes if symbol not in " .,!"]
    assert [symbol for piece in cut for symbol in piece if symbol not in " .,!"] == said


@pytest.mark.parametrize(
    ("text", "longest", "expected"),
    [
        ("a b c , d e f . g h i j", 18, ["a b c , d e f .", "g h i j"]),
        ("a b c d , e f g h i", 12, ["a b c d ,", "e f g h i"]),
        ("aa bb cc dd", 7, ["aa bb", "cc dd"]),
        ("a" * 10, 4, ["aaaa", "aaaa", "aa"]),
    ],
)
def test_a_text_is_cut_where_it_pauses(text, longest, expected):
    assert [piece.phonemes for piece in pieces(text, longest)] == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, “world”!", ["Hello", "world"]),
        # espeak says these in one go, and so their times are one.
        ("We sat in the house of the king.", ["We", "sat", "in the", "house", "of the", "king"]),
        ("I could have been able to.", ["I", "could have", "been", "able", "to"]),
        # These take several goes, and are one word of the text.
        ("It was 1999, not 1,250,000.", ["It", "was", "1999", "not", "1,250,000"]),
        ("At 10:30 it's 3.5 degrees.", ["At", "10:30", "it's", "3.5", "degrees"]),
        ("Some well-known words.", ["Some", "well-known", "words"]),
        # As it is read.
        ("It is $3.50.", ["It", "is", "3", "dollars", "and", "50", "cents"]),
        ("Dr. Smith, e.g. here", ["Dr", "Smith", "for", "example", "here"]),
        ("You ' and & me", ["You", "and", "&", "me"]),
        ("Some café in 日本 here", ["Some", "café", "in", "日本", "here"]),
        ("...", []),
    ],
)
def test_which_phonemes_say_which_word(phonemizer, text, words):
    phonemes = phonemizer.phonemes(text)
    found = phonemizer.words(text)
    assert [word.text for word in found] == words
    # Together they are all that is said.
    said = " ".join(phonemes[word.start : word.end] for word in found)
    assert said.split() == [group for group in phonemes.split() if pronounceable(group)]
    for word in found:
        alone = phonemizer.phonemes(word.text).replace(" ", "").translate(_WITHOUT_STRESS)
        # A vowel or so is another in company: `to` and `tə`.
        spoken = phonemes[word.start : word.end].replace(" ", "").translate(_WITHOUT_STRESS)
        assert SequenceMatcher(None, alone, spoken).ratio() >= 0.5, word.text


_WITHOUT_STRESS = str.maketrans("", "", "ˈˌ")


@given(st.text(max_size=60))
def test_any_text_has_words_in_order(text):
    phonemizer = Phonemizer()
    phonemes = phonemizer.phonemes(text)
    words = phonemizer.words(text)
    assert phonemizer.phonemes(text) == phonemes, "to look for the words has changed the reading"
    assert all(word.start < word.end <= len(phonemes) for word in words)
    assert all(one.end < other.start for one, other in pairwise(words))


@pytest.mark.parametrize("beginnings", [[0], [0, 4, 8], [4, 0]])
def test_where_espeak_contradicts_itself_no_word_is_told(phonemizer, monkeypatch, beginnings):
    monkeypatch.setattr(phonemizer, "_beginnings", lambda _: beginnings)
    assert phonemizer.words("One two.") == ()
