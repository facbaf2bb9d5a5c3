"""The voices of a provider, and which of them is meant."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.language import primary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Gender(StrEnum):
    """How a voice is heard."""

    FEMALE = "female"
    MALE = "male"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One voice of one provider."""

    provider: str
    name: str
    """What it is asked for by."""
    languages: tuple[str, ...]
    """BCP 47 tags as the provider writes them; the first is its own."""
    gender: Gender | None
    """None where the provider does not say."""
    voice_class: str
    """The provider's own kind, which decides quality and price: `neural2`, `chirp3-hd`."""
    sample_rate: int
    """Hz."""
    streaming: bool
    """Whether its audio comes before the sentence is done."""
    controls: frozenset[str] = frozenset({"speed", "pitch"})
    """Which settings of a request it can follow."""
    age: str | None = None
    styles: tuple[str, ...] = ()
    """The manners of speaking that the provider names."""


SAME_LANGUAGE: Final[Mapping[str, str]] = MappingProxyType(
    {"cmn": "zh", "nb": "no", "fil": "tl", "iw": "he", "in": "id", "jw": "jv"}
)
"""Primary subtags that mean what another one means, or what people mean by it."""

_USUAL_REGION: Final[Mapping[str, str]] = MappingProxyType(
    {"ar": "sa", "en": "us", "es": "es", "fr": "fr", "pt": "br", "zh": "cn", "de": "de", "nl": "nl"}
)


def language_of(tag: str) -> str:
    """The language alone, under one name: `zh` of `cmn-CN`."""
    alone = primary(tag)
    return SAME_LANGUAGE.get(alone, alone)


def all_names(languages: Iterable[str]) -> frozenset[str]:
    """Adds to primary subtags the others that mean the same."""
    known = {language_of(tag) for tag in languages}
    return frozenset(known | {other for other, one in SAME_LANGUAGE.items() if one in known})


def named(voices: Iterable[Voice], name: str) -> Voice | None:
    """The voice of this name, in whatever case it is written."""
    return next((voice for voice in voices if voice.name.lower() == name.lower()), None)


def choose(
    voices: Iterable[Voice],
    language: str,
    *,
    gender: Gender | None = None,
    classes: Sequence[str] = (),
    controls: frozenset[str] = frozenset(),
) -> Voice | None:
    """Chooses the voice that fits best; the same from the same voices, in whatever order.

    The region counts most, then the gender, then what the voice can follow, then its class. A
    voice that speaks the language, with whatever region, is good enough.

    Args:
        voices: What there is.
        language: BCP 47 tag.
        gender: Wanted, or None for any.
        classes: The best first; one that is not named comes after them.
        controls: The settings that it should follow.

    Returns:
        The voice, or None when nobody speaks the language.
    """
    spoken = [
        voice
        for voice in voices
        if any(language_of(tag) == language_of(language) for tag in voice.languages)
    ]

    def rank(voice: Voice) -> tuple[int, bool, int, int, str]:
        return (
            min(
                index * 3 + _distance(tag, language)
                for index, tag in enumerate(voice.languages)
                if language_of(tag) == language_of(language)
            ),
            gender is not None and voice.gender is not gender,
            len(controls - voice.controls),
            classes.index(voice.voice_class) if voice.voice_class in classes else len(classes),
            voice.name,
        )

    return min(spoken, key=rank, default=None)


def _distance(tag: str, wanted: str) -> int:
    """0 for the region wanted, 1 for the usual one, 2 for any other."""
    language, region = language_of(tag), tag.lower().partition("-")[2]
    if region and region == wanted.lower().partition("-")[2]:
        return 0
    return 1 if region == _USUAL_REGION.get(language) else 2
