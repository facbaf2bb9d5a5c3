"""Which voice of each provider is most like a personality's own, and how like it is.

What is not known of the personality or of a voice is left out of the comparison rather than taken
for a likeness; how much was known shows in the parts.
"""

from __future__ import annotations

import hashlib
import math
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from voice_gateway.domain.language import LanguageTag
from voice_gateway.domain.voices import Gender, choose, language_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voice_gateway.domain.personality import VoiceConfig
    from voice_gateway.domain.samples.sample import VoiceSample
    from voice_gateway.domain.voices import Voice

Likeness = Annotated[float, Field(ge=0, le=1)]

WEIGHTS: Final = {"gender": 0.35, "language": 0.2, "pitch": 0.125, "age": 0.1}
"""By how soon a listener says that it is another speaker. The pitch would count more if that of the
catalogues' voices were measured, and not taken from their gender."""
_USUAL_PITCH: Final = {Gender.MALE: 115.0, Gender.NEUTRAL: 160.0, Gender.FEMALE: 205.0}
"""Hz. What a voice is taken to have: no catalogue tells it."""
_OCTAVES_APART: Final = 0.5
"""At this distance pitches have nothing in common any more."""
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
    pitch_hz: Annotated[float, Field(gt=0)] | None = None
    """The median."""

    @property
    def known(self) -> bool:
        """Whether there is anything to compare but the language."""
        return (self.gender, self.age, self.pitch_hz) != (None, None, None)


class VoiceMatch(BaseModel):
    """A provider's voice, and how like the personality's own it is."""

    model_config = ConfigDict(frozen=True)

    provider: str
    voice: str
    score: Likeness
    """The mean of the parts, by their weights."""
    parts: dict[str, Likeness]
    """`gender`, `pitch`, `language`, `age`: those that could be compared."""


class VoiceMatches(BaseModel):
    """Who would speak for a personality at each provider if no voice were pinned, and how like."""

    model_config = ConfigDict(frozen=True)

    basis: str
    """`basis_of` what they were worked out from."""
    made_at: datetime
    voices: dict[str, VoiceMatch]
    """By provider, the most like first."""
    unavailable: dict[str, str]
    """Provider → why its voices could not be listed: a `FailureReason`."""


def traits_of(config: VoiceConfig, sample: VoiceSample | None) -> SpeakerTraits:
    """What is known of how a personality sounds: what its owner says, and what its sample measures.

    Args:
        config: The owner's words.
        sample: The chosen one; one that may not be cloned is not listened to for this either.
    """
    pitch = None
    if sample is not None and sample.refusal is None and sample.report is not None:
        measured = sample.report.measurements
        pitch = None if measured is None else measured.pitch_hz
    return SpeakerTraits(language=config.language.lower(), gender=config.gender, pitch_hz=pitch)


def basis_of(config: VoiceConfig, sample: VoiceSample | None) -> str:
    """Tells what matches were worked out from: another one when they no longer hold.

    A hash, so that nothing that was measured of a speaker stays when the sample has to go.
    """
    traits = traits_of(config, sample).model_dump_json()
    told = f"{traits}/{config.quality}/{config.speed}/{config.pitch}"
    return hashlib.sha256(told.encode()).hexdigest()


def most_like(
    wanted: SpeakerTraits | None,
    voices: Sequence[Voice],
    language: str,
    *,
    classes: Sequence[str] = (),
    controls: frozenset[str] = frozenset(),
) -> Voice | None:
    """Chooses the voice that is most like the wanted one; `choose` decides among equals.

    Args:
        wanted: With nothing known but the language, `choose` alone decides.
        voices: One provider's, in any order.
        language: BCP 47 tag; of who speaks, as `wanted` may speak another one.
        classes: The best first.
        controls: The settings that it should follow.

    Returns:
        The voice, or None when nobody speaks the language.
    """
    if wanted is not None and wanted.known:
        here = wanted.model_copy(update={"language": language})
        spoken = {
            voice: _score(_parts(here, voice))
            for voice in voices
            if any(language_of(tag) == language_of(language) for tag in voice.languages)
        }
        highest = max(spoken.values(), default=0.0)
        voices = [voice for voice, score in spoken.items() if score == highest]
    return choose(voices, language, classes=classes, controls=controls)


def likeness(wanted: SpeakerTraits | None, language: str, voice: Voice | None) -> float | None:
    """Returns how like the wanted voice this one is; None where nothing could be compared.

    The same language is no likeness by itself.
    """
    if wanted is None or voice is None:
        return None
    parts = _parts(wanted.model_copy(update={"language": language}), voice)
    return _score(parts) if parts.keys() > {"language"} else None


def match_of(wanted: SpeakerTraits, voice: Voice) -> VoiceMatch:
    """Compares a voice with the wanted one, as far as both are known."""
    parts = _parts(wanted, voice)
    return VoiceMatch(
        provider=voice.provider,
        voice=voice.name,
        score=_score(parts),
        parts={name: round(part, 3) for name, part in sorted(parts.items())},
    )


def _parts(wanted: SpeakerTraits, voice: Voice) -> dict[str, float]:
    parts = {"language": max(_same_accent(wanted.language, tag) for tag in voice.languages)}
    if wanted.gender is not None and voice.gender is not None:
        parts["gender"] = _same_gender(wanted.gender, voice.gender)
    if wanted.pitch_hz is not None and voice.gender is not None:
        octaves = math.log2(_USUAL_PITCH[voice.gender] / wanted.pitch_hz)
        parts["pitch"] = _near(octaves, _OCTAVES_APART)
    if (apart := _ages_apart(wanted.age, voice.age)) is not None:
        parts["age"] = _near(apart, len(_AGES) / 2)
    return parts


def _score(parts: Mapping[str, float]) -> float:
    total = sum(WEIGHTS[name] for name in parts)
    score = sum(WEIGHTS[name] * part for name, part in parts.items()) / total
    return round(min(score, 1.0), 3)


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
