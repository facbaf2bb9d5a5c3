from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.domain.limits import MAX_SENTENCE_CHARACTERS
from voice_gateway.domain.text import pause_after, split_sentences


@pytest.mark.parametrize(
    ("language", "text", "sentences"),
    [
        ("en", "Dr. Smith is in. Ask Mr. Jones.", ["Dr. Smith is in.", "Ask Mr. Jones."]),
        ("en", "It is $4.99. Take 3.5 g now!", ["It is $4.99.", "Take 3.5 g now!"]),
        (
            "en",
            "See https://weedgo.com/shop?id=2.5 now! Then call.",
            ["See https://weedgo.com/shop?id=2.5 now!", "Then call."],
        ),
        ("en", "22.5% THC vs. 18 mg CBD, i.e. lots. Yes?", None),
        ("en", "Well... maybe. Fine", ["Well... maybe.", "Fine"]),
        ("en-US", 'She said "Hi there. How are you?" Then left.', None),
        ("en", "We open at 9 a.m. on Monday. Bye.", ["We open at 9 a.m. on Monday.", "Bye."]),
        ("zh-cn", "你好。你想要什么？3.5克多少钱？", ["你好。", "你想要什么？", "3.5克多少钱？"]),
        ("ja", "こんにちは。元気ですか？はい！", ["こんにちは。", "元気ですか？", "はい！"]),
        ("ar", "مرحبا. كيف حالك؟ أنا بخير!", ["مرحبا.", "كيف حالك؟", "أنا بخير!"]),
        ("hi", "नमस्ते। आप कैसे हैं?", ["नमस्ते।", "आप कैसे हैं?"]),
        ("fr", "Bonjour M. Dupont. Ça va ?", ["Bonjour M. Dupont.", "Ça va ?"]),
        ("de", "Am 3. Mai kommt Dr. Müller. Gut!", ["Am 3. Mai kommt Dr. Müller.", "Gut!"]),
        ("xx", "Hello there. Bye.", ["Hello there.", "Bye."]),
        ("en", "One line\nanother line\r\n\r\nthird", ["One line", "another line", "third"]),
        ("en", "Tab\tand\x00control\u200b marks.", ["Tab and control marks."]),
    ],
)
def test_splits_where_a_reader_would(language: str, text: str, sentences: list[str] | None) -> None:
    split = list(split_sentences(text, language))
    if sentences is not None:
        assert split == sentences
    assert "".join("".join(split).split()) == "".join(
        text.replace("\x00", "").replace("\u200b", "").split()
    )


@pytest.mark.parametrize("text", ["", "   ", "...", "!?", "😀 — …", "\n\n"])
def test_finds_nothing_to_pronounce(text: str) -> None:
    assert split_sentences(text, "en") == ()


@pytest.mark.parametrize("text", ["٣", "३", "๓", "③", "３", "༣", "൩"])
def test_digits_of_every_script_are_spoken(text: str) -> None:
    assert split_sentences(f"Hello. {text}. Bye.", "en") == ("Hello.", "3.", "Bye.")


def test_leaves_out_pieces_without_a_word() -> None:
    assert split_sentences("Hi. ... 😀! Bye.", "en") == ("Hi.", "Bye.")


@pytest.mark.parametrize(
    "text",
    ["word, " * 200, "word " * 200, "x" * 1000, "词" * 700, "1,000,000 and " * 60, "词，" * 300],
)
def test_cuts_long_sentences_and_loses_nothing(text: str) -> None:
    pieces = split_sentences(text, "en")
    assert max(map(len, pieces)) <= MAX_SENTENCE_CHARACTERS
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_cuts_at_a_clause_before_it_cuts_at_a_word() -> None:
    clause = "a clause that goes on for quite a while and then some, "
    pieces = split_sentences(clause * 8, "en")
    assert len(pieces) > 1
    assert all(piece.endswith("some,") for piece in pieces)


def test_a_number_s_comma_is_no_clause() -> None:
    pieces = split_sentences("we sold 1,000 units of that " * 12, "en")
    assert not any(piece.endswith("1,") for piece in pieces)


@given(st.text(max_size=2000), st.sampled_from(["en", "zh", "ar", "th", "xx"]))
def test_any_text_gives_short_sentences_with_something_to_say(text: str, language: str) -> None:
    for sentence in split_sentences(text, language):
        assert 0 < len(sentence) <= MAX_SENTENCE_CHARACTERS
        assert sentence == sentence.strip()
        assert any(character.isalnum() for character in sentence)


@pytest.mark.parametrize(
    ("shorter", "longer"),
    [("One,", "One."), ("One;", "One!"), ("One?", "One..."), ("一，", "一。"), ("One,", "One")],
)
def test_the_mark_at_the_end_sets_the_pause(shorter: str, longer: str) -> None:
    assert 0 < pause_after(shorter) < pause_after(longer) < 1
