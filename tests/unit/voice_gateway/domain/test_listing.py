from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.domain.language import within
from voice_gateway.domain.listing import folded


@pytest.mark.parametrize(
    ("text", "bare"),
    [("Shanté", "shante"), ("SHANTE\u0301", "shante"), ("Straße", "strasse"), ("İzmir", "izmir")],
)
def test_folds_case_and_accents(text: str, bare: str) -> None:
    assert folded(text) == bare


@given(st.text())
def test_folding_again_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)


@pytest.mark.parametrize(
    ("tag", "wanted", "is_within"),
    [
        ("fr", "fr", True),
        ("fr-CA", "FR", True),
        ("fr", "fr-CA", False),
        ("fro", "fr", False),
        ("zh-Hant-TW", "zh-hant", True),
    ],
)
def test_a_language_holds_its_kinds(tag: str, wanted: str, is_within: bool) -> None:
    assert within(tag, wanted) is is_within
