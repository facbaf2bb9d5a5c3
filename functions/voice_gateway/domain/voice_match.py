"""Which voice of each provider is most like a personality's own, and how like it is.

What is not known of the personality or of a voice is left out of the comparison rather than taken
for a likeness; how much was known shows in the parts.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from voice_gateway.domain.language import LanguageTag
from voice_gateway.domain.voices import Gender, language_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from voice_gateway.domain.voices import Voice

Likeness = Annotated[float, Field(ge=0, le=1)]

WEIGHTS: Final = {"gender": 0.35, "pitch": 0.25, "language": 0.2, "age": 0.1, "rate": 0.1}
"""By how soon a listener says that it is another speaker."""
_USUAL_PITCH: Final = {Gender.MALE: 115.0, Gender.NEUTRAL: 160.0, Gender.FEMALE: 205.0}
"""Hz. What a voice is taken to have that nobody has measured."""
_ASSUMED: Final = 0.5
"""How much an assumed pitch counts of what a measured one would."""
_OCTAVES_APART: Final = 0.5
"""At this distance pitches have nothing in common any more."""
_RATES_APART: Final = 0.5
_AGES: Final = ("child", "teen", "young", "adult", "middle", "senior")
_SAME_AGE: Final = {
    "youth": "teen",
    "young_adult": "young",
    "middle_aged": "middle",
    "old": "senior",
}


class SpeakerTraits(BaseModel):
    """What is known of how somebody sounds; None where nothing is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    language: LanguageTag = "en"
    """With its region: the accent."""
    gender: Gender | None = None
    age: str | None = None
    """`child`, `teen`, `young`, `adult`, `middle` or `senior`."""
    pitch_hz: Annotated[float, Field(gt=30, lt=1000)] | None = None
    """The median."""
    characters_per_second: Annotated[float, Field(gt=0, lt=100)] | None = None


class VoiceMatch(BaseModel):
    """A provider's voice, and how like the personality's own it is."""

    model_config = ConfigDict(frozen=True)

    provider: str
    voice: str
    score: Likeness
    """The mean of the parts, by their weights."""
    parts: dict[str, Likeness]
    """`gender`, `pitch`, `language`, `age`, `rate`: those that could be compared."""


def median_pitch(pitches: NDArray[np.float64]) -> float | None:
    """Returns the median in Hz of the voiced frames (above 0); None when there are none."""
    voiced = pitches[pitches > 0]
    return float(np.median(voiced)) if voiced.size else None


def ranked(
    wanted: SpeakerTraits,
    voices: Iterable[Voice],
    measured: Mapping[tuple[str, str], SpeakerTraits] | None = None,
) -> dict[str, tuple[VoiceMatch, ...]]:
    """Ranks every provider's voices that speak the language.

    Args:
        wanted: The personality's own voice.
        voices: The catalogues', in any order.
        measured: (provider, voice) → what was measured of it, beyond what its catalogue says.

    Returns:
        Provider → its voices, the most like first; the same whatever the order of `voices`. A
        provider without a voice in the language is left out.
    """
    known = measured or {}
    matches = [
        _match(wanted, voice, known.get((voice.provider, voice.name)))
        for voice in voices
        if any(language_of(tag) == language_of(wanted.language) for tag in voice.languages)
    ]
    matches.sort(key=lambda match: (match.provider, -match.score, match.voice))
    by_provider = groupby(matches, key=lambda match: match.provider)
    return {provider: tuple(found) for provider, found in by_provider}


def chosen(
    ranking: Mapping[str, tuple[VoiceMatch, ...]], pinned: Mapping[str, str]
) -> dict[str, str]:
    """Returns provider → voice: what the owner pinned, else the most like."""
    return {provider: found[0].voice for provider, found in ranking.items()} | dict(pinned)


def score_of(
    ranking: Mapping[str, tuple[VoiceMatch, ...]], provider: str, voice: str
) -> float | None:
    """Returns how like the personality's own the voice is that spoke; None where nobody knows."""
    for match in ranking.get(provider, ()):
        if match.voice.lower() == voice.lower():
            return match.score
    return None


def _match(wanted: SpeakerTraits, voice: Voice, measured: SpeakerTraits | None) -> VoiceMatch:
    weights = dict(WEIGHTS)
    parts = {"language": max(_same_accent(wanted.language, tag) for tag in voice.languages)}
    gender = voice.gender or (measured.gender if measured else None)
    if wanted.gender is not None and gender is not None:
        parts["gender"] = _same_gender(wanted.gender, gender)
    pitch = measured.pitch_hz if measured else None
    if pitch is None and gender is not None:
        pitch = _USUAL_PITCH[gender]
        weights["pitch"] *= _ASSUMED
    if wanted.pitch_hz is not None and pitch is not None:
        parts["pitch"] = _near(np.log2(pitch / wanted.pitch_hz), _OCTAVES_APART)
    age = voice.age or (measured.age if measured else None)
    if (apart := _ages_apart(wanted.age, age)) is not None:
        parts["age"] = _near(apart, len(_AGES) / 2)
    rate = measured.characters_per_second if measured else None
    if wanted.characters_per_second is not None and rate is not None:
        parts["rate"] = _near(np.log2(rate / wanted.characters_per_second), _RATES_APART)
    total = sum(weights[name] for name in parts)
    score = sum(weights[name] * likeness for name, likeness in parts.items()) / total
    return VoiceMatch(
        provider=voice.provider,
        voice=voice.name,
        score=round(min(score, 1.0), 3),
        parts={name: round(likeness, 3) for name, likeness in sorted(parts.items())},
    )


def _same_accent(wanted: str, tag: str) -> float:
    """1 for the same region, 0.5 for another or an unknown one, 0 for another language."""
    if language_of(wanted) != language_of(tag):
        return 0.0
    return 1.0 if _region(wanted) == _region(tag) else 0.5


def _region(tag: str) -> str:
    return tag.lower().partition("-")[2]


def _same_gender(wanted: Gender, gender: Gender) -> float:
    if wanted is gender:
        return 1.0
    return 0.5 if Gender.NEUTRAL in (wanted, gender) else 0.0


def _ages_apart(wanted: str | None, age: str | None) -> int | None:
    places = [_place(age) for age in (wanted, age)]
    if None in places:
        return None
    first, second = (place for place in places if place is not None)
    return abs(first - second)


def _place(age: str | None) -> int | None:
    name = (age or "").lower().replace(" ", "_").replace("-", "_")
    name = _SAME_AGE.get(name, name)
    return _AGES.index(name) if name in _AGES else None


def _near(distance: float, apart: float) -> float:
    """1 for the same, falling straight to 0 at `apart`."""
    return max(0.0, 1.0 - abs(float(distance)) / apart)
