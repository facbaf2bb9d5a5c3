from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voice_gateway.domain.personality import PERSONALITY_ID_PATTERN, slug


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Marcel", "marcel"),
        ("Shanté O.", "shante-o"),
        ("  --Dr. Green's  Shop-- ", "dr-green-s-shop"),
        ("ＡＢＣ ①", "abc-1"),
        ("日本 7", "7"),
        ("日本", ""),
        ("🎤", ""),
        ("", ""),
        ("x" * 80, "x" * 64),
        ("x" * 63 + " yes", "x" * 63),
    ],
)
def test_makes_an_identifier(name: str, expected: str) -> None:
    assert slug(name) == expected


@settings(deadline=None)
@given(st.text())
def test_is_an_id_or_nothing_and_stays_itself(name: str) -> None:
    made = slug(name)
    assert made == "" or re.fullmatch(PERSONALITY_ID_PATTERN, made)
    assert slug(made) == made
