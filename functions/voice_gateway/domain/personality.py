"""A personality: a named character with its own voice."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from voice_gateway.domain.budget import Optimize
from voice_gateway.domain.chain import PROVIDER_NAMES, Quality
from voice_gateway.domain.character import (
    Description,
    Greeting,
    Lexicon,
    PersonalityName,
    Phrases,
    SystemPrompt,
    Traits,
)
from voice_gateway.domain.language import LanguageTag
from voice_gateway.domain.voices import Gender

PERSONALITY_ID_PATTERN: Final = r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$"
VOICE_NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.+/-]*$"
"""Names of voices reach HTTP headers and C libraries: nothing but what such names are made of."""
SPEED_MIN: Final = 0.25
SPEED_MAX: Final = 4.0
PITCH_MAX_SEMITONES: Final = 12.0
RESTORABLE_FOR: Final = timedelta(days=30)
"""How long a deleted personality can be brought back; after that it is gone."""
SUPERSEDED_KEPT_FOR: Final = timedelta(days=90)
"""How long the history holds a version that is no longer the last one."""


def _known_provider(name: str) -> str:
    if name not in PROVIDER_NAMES:
        raise ValueError(f"unknown provider; known are {', '.join(PROVIDER_NAMES)}")
    return name


def _no_repeats(chain: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(chain)) != len(chain):
        raise ValueError("a provider may stand in a chain once only")
    return chain


ProviderName = Annotated[str, AfterValidator(_known_provider)]
PersonalityId = Annotated[str, StringConstraints(pattern=PERSONALITY_ID_PATTERN)]
Speed = Annotated[float, Field(ge=SPEED_MIN, le=SPEED_MAX, allow_inf_nan=False)]
Pitch = Annotated[
    float, Field(ge=-PITCH_MAX_SEMITONES, le=PITCH_MAX_SEMITONES, allow_inf_nan=False)
]
VoiceName = Annotated[str, StringConstraints(pattern=VOICE_NAME_PATTERN, max_length=128)]
FallbackChain = Annotated[
    tuple[ProviderName, ...], Field(min_length=1), AfterValidator(_no_repeats)
]


class AdvancedSettings(BaseModel):
    """StyleTTS2's controls, in the seed's own names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(default=0.3, ge=0, le=1, allow_inf_nan=False)
    """Timbre: 0 keeps the sample's, 1 takes the text's."""
    beta: float = Field(default=0.7, ge=0, le=1, allow_inf_nan=False)
    """Prosody: 0 keeps the sample's, 1 takes the text's."""
    diffusion_steps: int = Field(default=5, ge=1, le=50)
    embedding_scale: float = Field(default=1.0, ge=0, le=10, allow_inf_nan=False)
    """Emotional intensity."""


class VoiceConfig(BaseModel):
    """How a personality sounds: the seed's `voice_config` JSON and a voice pinned per provider."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: ProviderName | None = None
    """Asked before the quality's chain; None leaves the choice to `quality`."""
    fallback_chain: FallbackChain | None = None
    """Replaces the quality's chain."""
    sample_path: str | None = Field(default=None, max_length=1024)
    """S3 key of the accepted voice sample."""
    language: LanguageTag = "en"
    gender: Gender | None = None
    """How the voice is heard: what a substitute should be like. None where nobody says."""
    speed: Speed = 1.0
    """1.0 is the voice's own; 2.0 takes half the time."""
    pitch: Pitch = 0.0
    """Semitones."""
    quality: Quality = Quality.HIGH
    optimize: Optimize = Optimize.QUALITY
    """What the chain's order is for."""
    advanced: AdvancedSettings = AdvancedSettings()
    voices: dict[ProviderName, VoiceName] = Field(default_factory=dict)
    """Provider → the name of the voice to speak with there."""


class Character(BaseModel):
    """All that an owner decides of a personality: what is written and replaced as a whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PersonalityName
    description: Description = ""
    traits: Traits = Traits()
    greeting: Greeting = ""
    """What it says first."""
    system_prompt: SystemPrompt = ""
    """Tells a language model who it is; see `PROMPT_PLACEHOLDERS`."""
    phrases: Phrases = ()
    """What it says often: spoken once, ahead of time."""
    lexicon: Lexicon = Field(default_factory=dict)
    voice_config: VoiceConfig = VoiceConfig()


class Personality(Character):
    """A named character of one tenant, in one of its versions."""

    id: PersonalityId
    tenant_id: str
    version: int = Field(default=1, ge=1)
    """Each accepted write is one more."""
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    counted: bool = False
    """Whether it takes one of the tier's places while it is there: the seeded ones take none."""

    @property
    def takes_a_place(self) -> bool:
        """Whether it takes one of the tier's places now."""
        return self.counted and self.deleted_at is None

    @property
    def restorable_until(self) -> datetime | None:
        """When a deleted one is gone for good, in whole seconds as the table counts them."""
        if self.deleted_at is None:
            return None
        return (self.deleted_at + RESTORABLE_FOR).replace(microsecond=0)

    def is_gone(self, now: datetime) -> bool:
        """Whether it was deleted so long ago that nobody can bring it back."""
        until = self.restorable_until
        return until is not None and until <= now

    def rewritten(self, character: Character, now: datetime) -> Self:
        """The next version, with another character."""
        written = {name: getattr(character, name) for name in Character.model_fields}
        return self._next(now, **written)

    def deleted(self, now: datetime) -> Self:
        """The next version, which is deleted."""
        return self._next(now, deleted_at=now)

    def restored(self, now: datetime) -> Self:
        """The next version, which is there again."""
        return self._next(now, deleted_at=None)

    def _next(self, now: datetime, **changes: object) -> Self:
        return self.model_copy(update={**changes, "version": self.version + 1, "updated_at": now})


def slug(name: str) -> str:
    """Turns a name into an identifier: `Shanté O.` → `shante-o`.

    Returns:
        Lower-case ASCII letters, digits and single hyphens, 64 characters at most; empty when the
        name has no Latin letter or digit to keep.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name.lower()).strip("-")[:64].rstrip("-")
