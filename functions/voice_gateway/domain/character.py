"""What makes a personality a character: its name, its traits, and the words it has."""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from voice_gateway.domain.language import LanguageTag

PROMPT_PLACEHOLDERS: Final = (
    "name",
    "shop",
    "description",
    "traits",
    "greeting",
    "phrases",
    "language",
)
"""What a system prompt may leave to be filled in when an agent speaks."""
LEXICON_LANGUAGES_MAX: Final = 20
LEXICON_WORDS_MAX: Final = 200
"""Over all languages together. With the other bounds, a whole personality of the widest characters
stays below the 400 kB of a DynamoDB item."""

_ONE_LINE: Final = r"^[^\p{Cc}\p{Zl}\p{Zp}]*$"
"""For lists and logs: no control characters, no line or paragraph separators."""
# Not stripped as texts are: two keys that differ in a space would silently become one.
_NO_OUTER_SPACE: Final = r"^[^\s\p{Cc}](?:[^\p{Cc}\p{Zl}\p{Zp}]*[^\s\p{Cc}])?$"


def _no_repeats(words: tuple[str, ...]) -> tuple[str, ...]:
    if len({word.casefold() for word in words}) != len(words):
        raise ValueError("each may stand in the list once only")
    return words


def _known_placeholders(template: str) -> str:
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        raise ValueError("a brace stands alone; write {{ or }} for a brace") from None
    known = ", ".join(f"{{{name}}}" for name in PROMPT_PLACEHOLDERS)
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if form or conversion:
            raise ValueError("a placeholder is a name in braces and nothing else")
        if name not in PROMPT_PLACEHOLDERS:
            raise ValueError(f"unknown placeholder; known are {known}")
    return template


def _bounded(lexicon: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    if len({tag.lower() for tag in lexicon}) != len(lexicon):
        raise ValueError("each language may stand in it once only")
    if sum(map(len, lexicon.values())) > LEXICON_WORDS_MAX:
        raise ValueError(f"at most {LEXICON_WORDS_MAX} words, over all languages")
    return lexicon


PersonalityName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=_ONE_LINE),
]
Score = Annotated[int, Field(ge=0, le=100)]
TraitWord = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=40, pattern=_ONE_LINE),
]
Description = Annotated[str, StringConstraints(max_length=2000)]
Greeting = Annotated[str, StringConstraints(max_length=500)]
SystemPrompt = Annotated[
    str, StringConstraints(max_length=8000), AfterValidator(_known_placeholders)
]
Phrase = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=_ONE_LINE),
]
Phrases = Annotated[tuple[Phrase, ...], Field(max_length=50), AfterValidator(_no_repeats)]
LexiconWord = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=_NO_OUTER_SPACE)
]
SayAs = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=_NO_OUTER_SPACE)]
Lexicon = Annotated[
    dict[LanguageTag, dict[LexiconWord, SayAs]],
    Field(max_length=LEXICON_LANGUAGES_MAX),
    AfterValidator(_bounded),
]
"""Language tag → word → how to say it."""


class Traits(BaseModel):
    """How somebody is. 50 is neither the one nor the other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    warmth: Score = 50
    humour: Score = 50
    formality: Score = 50
    energy: Score = 50
    expertise: Score = 50
    words: Annotated[tuple[TraitWord, ...], Field(max_length=20), AfterValidator(_no_repeats)] = ()
    """What the five scores cannot say."""
