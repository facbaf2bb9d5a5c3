"""The wire contract: what the API takes and gives. Mapped to the domain beside each model."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from voice_gateway.domain.audio import AudioFormat
from voice_gateway.domain.chain import Quality
from voice_gateway.domain.limits import MAX_TEXT_CHARACTERS, OUTPUT_RATE_DEFAULT
from voice_gateway.domain.personality import (
    AdvancedSettings,
    LanguageTag,
    Personality,
    PersonalityId,
    Pitch,
    ProviderName,
    Speed,
    VoiceConfig,
)
from voice_gateway.services.speech import SpeechCommand

if TYPE_CHECKING:
    from collections.abc import Sequence

PersonalityName = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=80,
        # One line, for lists and logs: no control characters, no line or paragraph separators.
        pattern=r"^[^\p{Cc}\p{Zl}\p{Zp}]*$",
    ),
]


class SpeechBody(BaseModel):
    """`POST /api/speech`: a text to speak in a personality's voice.

    Whatever is left out comes from the personality.
    """

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
    personality: PersonalityId
    language: LanguageTag | None = None
    quality: Quality | None = None
    provider: ProviderName | None = None
    """Forces one provider and bypasses the chain, the floor included."""
    speed: Speed | None = None
    pitch: Pitch | None = None
    advanced: AdvancedSettings | None = None
    strict: bool = False
    """Fail rather than let another provider than the asked one speak."""
    format: AudioFormat = AudioFormat.WAV
    sample_rate: int = Field(default=OUTPUT_RATE_DEFAULT, ge=8000, le=48000)

    def command(
        self, tenant_id: str, request_id: str, *, seconds_left: float | None
    ) -> SpeechCommand:
        """Maps it to the service's command."""
        return SpeechCommand(
            tenant_id=tenant_id,
            request_id=request_id,
            personality_id=self.personality,
            text=self.text,
            language=self.language,
            quality=self.quality,
            provider=self.provider,
            speed=self.speed,
            pitch=self.pitch,
            advanced=self.advanced,
            strict=self.strict,
            audio_format=self.format,
            sample_rate=self.sample_rate,
            seconds_left=seconds_left,
        )


class PersonalityBody(BaseModel):
    """`POST /api/personalities`: a new personality."""

    model_config = ConfigDict(extra="forbid")

    name: PersonalityName
    id: PersonalityId | None = None
    """Made from the name when left out."""
    description: Annotated[str, StringConstraints(max_length=2000)] = ""
    voice_config: VoiceConfig = VoiceConfig()


class PageQuery(BaseModel):
    """The query of a listing."""

    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = None
    """`next_cursor` of the page before."""


class PersonalityView(BaseModel):
    """A personality as the API shows it."""

    id: str
    name: str
    description: str
    voice_config: VoiceConfig
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, personality: Personality) -> Self:
        """Maps from the domain; whose it is stays inside."""
        return cls(
            id=personality.id,
            name=personality.name,
            description=personality.description,
            voice_config=personality.voice_config,
            version=personality.version,
            created_at=personality.created_at,
            updated_at=personality.updated_at,
        )


class PersonalityPage(BaseModel):
    """A page of a listing, by id."""

    personalities: tuple[PersonalityView, ...]
    next_cursor: str | None
    """Asks for the next page; null at the end."""

    @classmethod
    def of(cls, page: Sequence[Personality], next_cursor: str | None) -> Self:
        """Maps from the domain."""
        return cls(
            personalities=tuple(PersonalityView.of(personality) for personality in page),
            next_cursor=next_cursor,
        )
