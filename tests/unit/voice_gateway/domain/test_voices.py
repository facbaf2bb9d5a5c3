from __future__ import annotations

import random

import pytest

from voice_gateway.domain.prices import PRICES, usd_per_million
from voice_gateway.domain.voices import Gender, Voice, all_names, choose, language_of, named


def voice(name: str, *languages: str, gender: Gender | None = None, kind: str = "plain") -> Voice:
    return Voice(
        provider="nobody",
        name=name,
        languages=languages,
        gender=gender,
        voice_class=kind,
        sample_rate=24_000,
        streaming=True,
        controls=frozenset() if kind == "stiff" else frozenset({"speed", "pitch"}),
    )


VOICES = (
    voice("amy", "en-GB", gender=Gender.FEMALE),
    voice("bob", "en-US", gender=Gender.MALE),
    voice("cat", "en-US", gender=Gender.FEMALE, kind="good"),
    voice("dan", "fr-CA", "en-US", gender=Gender.MALE, kind="good"),
    voice("eve", "cmn-CN", gender=Gender.FEMALE),
    voice("fox", "en-US", gender=Gender.MALE, kind="stiff"),
)


@pytest.mark.parametrize(
    ("language", "gender", "name"),
    [
        ("en", None, "bob"),
        ("EN-us", Gender.FEMALE, "cat"),
        ("en-gb", Gender.MALE, "amy"),
        ("en-AU", Gender.MALE, "bob"),
        ("fr", None, "dan"),
        ("zh-cn", None, "eve"),
        ("zh", Gender.MALE, "eve"),
    ],
)
def test_region_then_gender(language: str, gender: Gender | None, name: str) -> None:
    shuffled = random.Random(1).sample(VOICES, len(VOICES))
    for voices in (VOICES, shuffled):
        chosen = choose(voices, language, gender=gender)
        assert chosen is not None
        assert chosen.name == name


def test_class_and_controls() -> None:
    best = choose(VOICES, "en", classes=("stiff", "good"))
    assert best is not None
    assert best.name == "fox"
    able = choose(VOICES, "en", classes=("stiff", "good"), controls=frozenset({"pitch"}))
    assert able is not None
    assert able.name == "cat"


def test_nobody_speaks_it() -> None:
    assert choose(VOICES, "tlh") is None
    assert choose((), "en") is None


def test_names() -> None:
    assert named(VOICES, "AMY") is VOICES[0]
    assert named(VOICES, "am") is None
    assert language_of("nb-NO") == language_of("no") == "no"
    assert {"zh", "cmn", "no", "nb", "en"} == all_names(["cmn", "nb", "en"])


def test_prices_are_dated_and_never_guessed_too_low() -> None:
    assert usd_per_million("google", "neural2") == 16.0
    assert usd_per_million("google", "of-tomorrow") == 160.0
    assert usd_per_million("nobody", "plain") == 0.0
    assert all(price.source.startswith("https://") and price.noted.year >= 2026 for price in PRICES)
