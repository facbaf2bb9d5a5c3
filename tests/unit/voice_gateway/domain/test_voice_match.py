from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.domain.personality import VoiceConfig
from voice_gateway.domain.voice_match import (
    SpeakerTraits,
    VoiceMatch,
    basis_of,
    likeness,
    match_of,
    most_like,
    traits_of,
)
from voice_gateway.domain.voices import Gender, Voice, choose

if TYPE_CHECKING:
    import random

BASE = Voice(
    provider="azure",
    name="a",
    languages=("en-US",),
    gender=Gender.MALE,
    voice_class="neural",
    sample_rate=24_000,
    streaming=True,
)
MARCEL = SpeakerTraits(language="en-us", gender=Gender.MALE, age="adult", pitch_hz=110)


def best(wanted: SpeakerTraits, *voices: Voice) -> str:
    found = most_like(wanted, voices, wanted.language)
    assert found is not None
    return found.name


def test_each_trait_decides_when_all_else_is_equal() -> None:
    other = replace(BASE, name="b")
    for unlike in (
        replace(BASE, gender=Gender.FEMALE),
        replace(BASE, gender=Gender.NEUTRAL),
        replace(BASE, languages=("en-GB",)),
        replace(BASE, age="Senior"),
    ):
        assert best(MARCEL, unlike, replace(other, age="adult")) == "b"


def test_gender_weighs_more_than_accent() -> None:
    woman = replace(BASE, gender=Gender.FEMALE)
    assert best(MARCEL, woman, replace(BASE, name="b", languages=("en-AU",))) == "b"


def test_a_measured_pitch_finds_the_gender_that_nobody_declared() -> None:
    woman = replace(BASE, name="b", gender=Gender.FEMALE)
    assert best(SpeakerTraits(pitch_hz=210), BASE, woman) == "b"
    assert best(SpeakerTraits(pitch_hz=105), woman, BASE) == "a"


def test_among_equals_the_class_and_what_a_voice_can_follow_decide() -> None:
    plain = replace(BASE, name="b", voice_class="plain", controls=frozenset({"pitch"}))
    assert most_like(MARCEL, [plain, BASE], "en", classes=("neural", "plain")) == BASE
    assert most_like(MARCEL, [plain, BASE], "en", classes=("plain",)) == plain
    stiff = replace(BASE, controls=frozenset())
    assert most_like(MARCEL, [stiff, plain], "en", controls=frozenset({"pitch"})) == plain


def test_the_whole_likeness_and_the_parts_say_why() -> None:
    match = match_of(MARCEL.model_copy(update={"pitch_hz": 115}), replace(BASE, age="adult"))
    assert match.score == 1
    assert match.parts == {"age": 1, "gender": 1, "language": 1, "pitch": 1}
    match = match_of(MARCEL, replace(BASE, gender=Gender.FEMALE, age="child"))
    assert match.parts["gender"] == 0
    assert match.score < 0.4


def test_what_nobody_knows_is_not_compared_and_the_language_alone_is_no_likeness() -> None:
    nameless = replace(BASE, gender=None)
    assert match_of(SpeakerTraits(language="en-us"), nameless).parts == {"language": 1}
    assert likeness(SpeakerTraits(), "en-us", BASE) is None
    assert likeness(MARCEL, "en-us", nameless) is None
    assert likeness(MARCEL, "en-us", None) is None
    assert likeness(None, "en-us", BASE) is None
    assert likeness(MARCEL, "en-us", BASE) == match_of(MARCEL, BASE).score


def test_only_voices_of_the_language_that_is_spoken() -> None:
    german = replace(BASE, name="w", languages=("de-DE",), gender=Gender.FEMALE)
    assert most_like(MARCEL, [BASE, german], "de") == german
    assert most_like(MARCEL, [BASE, german], "ja") is None


class TestTraits:
    def test_are_the_owner_s_words_where_nothing_may_be_measured(self) -> None:
        config = VoiceConfig(language="en-GB", gender=Gender.FEMALE)
        assert traits_of(config, None) == SpeakerTraits(language="en-gb", gender=Gender.FEMALE)
        assert not traits_of(VoiceConfig(), None).known

    @pytest.mark.parametrize(
        "changed",
        [{"gender": Gender.MALE}, {"language": "fr"}, {"speed": 1.5}, {"quality": "fast"}],
    )
    def test_matches_hold_until_something_changes(self, changed: dict[str, object]) -> None:
        config = VoiceConfig(gender=Gender.FEMALE)
        pinned = config.model_copy(update={"voices": {"google": "mine"}})
        assert basis_of(pinned, None) == basis_of(config, None)
        assert basis_of(VoiceConfig(**{**config.model_dump(), **changed}), None) != basis_of(
            config, None
        )


GENDERS = st.sampled_from([*Gender, None])
VOICES = st.lists(
    st.builds(
        replace,
        st.just(BASE),
        name=st.text("abc", min_size=1, max_size=4),
        gender=GENDERS,
        age=st.sampled_from([None, "child", "Senior", "young adult", "unheard-of"]),
        languages=st.sampled_from([("en-US",), ("en-GB", "fr-FR"), ("en",), ("de-DE",)]),
    ),
    unique_by=lambda voice: voice.name,
)


@given(VOICES, GENDERS, st.floats(40, 900), st.randoms(use_true_random=False))
def test_the_most_like_is_the_same_in_any_order(
    voices: list[Voice], gender: Gender | None, pitch: float, shuffle: random.Random
) -> None:
    wanted = SpeakerTraits(language="en-gb", gender=gender, pitch_hz=pitch, age="adult")
    found = most_like(wanted, voices, "en-gb")
    scores: list[VoiceMatch] = [match_of(wanted, v) for v in voices if v.languages != ("de-DE",)]
    assert all(0 <= each <= 1 for match in scores for each in (match.score, *match.parts.values()))
    if found is None:
        assert not scores
    else:
        assert match_of(wanted, found).score == max(match.score for match in scores)
    shuffled = list(voices)
    shuffle.shuffle(shuffled)
    assert most_like(wanted, shuffled, "en-gb") == found


@given(VOICES)
def test_who_wants_nobody_in_particular_gets_the_usual_voice(voices: list[Voice]) -> None:
    assert most_like(SpeakerTraits(language="en-gb"), voices, "en-gb") == choose(voices, "en-gb")
