"""What may be said at once, and where a text is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_serving.engines.xtts_v2.languages import primary, split


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two. Three.", ["One. Two.", "Three."]),
        ("One two, three four", ["One two,", "three four"]),
        ("one two three four", ["one two", "three four"]),
        ("abcdefghijklmno", ["abcdefghij", "klmno"]),
        ("  short  ", ["short"]),
        ("。" * 12, ["。" * 10, "。。"]),
        ("", []),
        ("   ", []),
    ],
)
def test_the_best_place_is_taken(text, parts):
    assert split(text, 10) == parts


@given(st.text(), st.integers(1, 40))
def test_nothing_is_lost_and_nothing_too_long(text, longest):
    parts = split(text, longest)
    assert all(0 < len(part) <= longest for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


@pytest.mark.parametrize(("tag", "language"), [("pt-BR", "pt"), ("ZH-cn", "zh"), ("en_US", "en")])
def test_the_region_does_not_matter(tag, language):
    assert primary(tag) == language
