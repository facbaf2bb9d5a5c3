from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.domain.voice_match import (
    SpeakerTraits,
    chosen,
    median_pitch,
    ranked,
    score_of,
)
from voice_gateway.domain.voices import Gender, Voice

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
    [(first, *_)] = ranked(wanted, voices).values()
    return first.voice


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


def test_what_was_measured_tells_voices_apart_that_a_catalogue_does_not() -> None:
    voices = [replace(BASE, name=name) for name in ("low", "like", "high", "slow")]
    wanted = MARCEL.model_copy(update={"characters_per_second": 15.0})
    measured = {
        ("azure", "low"): SpeakerTraits(pitch_hz=80, characters_per_second=15),
        ("azure", "like"): SpeakerTraits(pitch_hz=112, characters_per_second=15),
        ("azure", "high"): SpeakerTraits(pitch_hz=160, characters_per_second=15),
        ("azure", "slow"): SpeakerTraits(pitch_hz=112, characters_per_second=11),
    }
    found = [match.voice for match in ranked(wanted, voices, measured)["azure"]]
    assert found == ["like", "slow", "low", "high"]


def test_the_same_speaker_is_a_whole_likeness_and_the_parts_say_why() -> None:
    measured = {("azure", "a"): SpeakerTraits(pitch_hz=110)}
    [match] = ranked(MARCEL, [replace(BASE, age="adult")], measured)["azure"]
    assert match.score == 1
    assert match.parts == {"age": 1, "gender": 1, "language": 1, "pitch": 1}
    [match] = ranked(MARCEL, [replace(BASE, gender=Gender.FEMALE, age="child")])["azure"]
    assert match.parts["gender"] == 0
    assert match.score < 0.4


def test_what_nobody_knows_is_not_compared() -> None:
    nameless = SpeakerTraits(language="en-us")
    [match] = ranked(nameless, [replace(BASE, gender=None)])["azure"]
    assert match.parts == {"language": 1}
    assert match.score == 1


def test_only_voices_of_the_language_and_every_provider_that_has_one() -> None:
    voices = [
        BASE,
        replace(BASE, provider="google", name="g", languages=("fr-FR", "en-GB")),
        replace(BASE, provider="watson", name="w", languages=("de-DE",)),
    ]
    assert set(ranked(MARCEL, voices)) == {"azure", "google"}
    assert ranked(SpeakerTraits(language="ja"), voices) == {}


def test_a_pin_overrides_what_was_computed() -> None:
    ranking = ranked(MARCEL, [BASE, replace(BASE, provider="google", name="g")])
    assert chosen(ranking, {"google": "mine"}) == {"azure": "a", "google": "mine"}
    assert score_of(ranking, "azure", "A") == ranking["azure"][0].score
    assert score_of(ranking, "google", "mine") is None


GENDERS = st.sampled_from([*Gender, None])
VOICES = st.lists(
    st.builds(
        replace,
        st.just(BASE),
        name=st.text("abc", min_size=1, max_size=4),
        provider=st.sampled_from(["azure", "google"]),
        gender=GENDERS,
        age=st.sampled_from([None, "child", "Senior", "young adult", "unheard-of"]),
        languages=st.sampled_from([("en-US",), ("en-GB", "fr-FR"), ("en",), ("de-DE",)]),
    ),
    unique_by=lambda voice: (voice.provider, voice.name),
)


@given(VOICES, GENDERS, st.floats(40, 900), st.randoms(use_true_random=False))
def test_scores_are_likenesses_and_the_order_of_catalogues_changes_nothing(
    voices: list[Voice], gender: Gender | None, pitch: float, shuffle: random.Random
) -> None:
    wanted = SpeakerTraits(language="en-gb", gender=gender, pitch_hz=pitch, age="adult")
    ranking = ranked(wanted, voices)
    for matches in ranking.values():
        scores = [match.score for match in matches]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= part <= 1 for match in matches for part in match.parts.values())
        assert all(0 <= score <= 1 for score in scores)
    shuffled = list(voices)
    shuffle.shuffle(shuffled)
    assert ranked(wanted, shuffled) == ranking


def test_the_median_pitch_is_that_of_the_voiced_frames() -> None:
    assert median_pitch(np.array([0, 100, 0, 120, 110.0])) == 110
    assert median_pitch(np.zeros(4)) is None


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="pitch_hz"):
        SpeakerTraits(pitch_hz=0)
