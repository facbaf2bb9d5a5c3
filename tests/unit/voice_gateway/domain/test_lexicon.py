from __future__ import annotations

import pytest

from voice_gateway.domain.lexicon import as_said

LEXICON = {
    "en": {"THC": "T H C", "indica": "in dih kuh", "g": "grams", "St. John": "Saint John"},
    "en-GB": {"THC": "tee aitch see"},
    "de": {"g": "Gramm"},
    "ja": {"大麻": "たいま"},
}


@pytest.mark.parametrize(
    ("text", "language", "said"),
    [
        ("THC, and THC!", "en", "T H C, and T H C!"),
        ("THCA and xTHC", "en", "THCA and xTHC"),
        ("Indica is indica.", "en", "in dih kuh is in dih kuh."),
        ("INDICA thc", "en", "INDICA thc"),
        ("3.5 g of it", "en-US", "3.5 grams of it"),
        ("THC", "EN-gb", "tee aitch see"),
        ("5 g at St. John's", "en-GB", "5 grams at Saint John's"),
        ("5 g THC", "de-AT", "5 Gramm THC"),
        ("5 g THC", "fr", "5 g THC"),
        ("医療大麻です", "ja", "医療たいまです"),
        ("", "en", ""),
    ],
)
def test_says_each_word_as_the_lexicon_has_it(text: str, language: str, said: str) -> None:
    assert as_said(text, LEXICON, language) == said


def test_what_was_put_in_is_not_looked_up_again() -> None:
    assert as_said("a b", {"en": {"a": "b", "b": "a"}}, "en") == "b a"


@pytest.mark.parametrize("word", ["C++", ".*", "(a", "\\d", "$1"])
def test_words_are_no_patterns(word: str) -> None:
    assert as_said(f"say {word} now 5", {"en": {word: r"\1 it"}}, "en") == r"say \1 it now 5"


def test_how_an_accent_is_written_makes_no_difference() -> None:
    assert as_said("cafe\u0301", {"en": {"caf\u00e9": "kaffay"}}, "en") == "kaffay"
    assert as_said("caf\u00e9", {"en": {"cafe\u0301": "kaffay"}}, "en") == "kaffay"
