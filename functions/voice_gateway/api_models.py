"""The wire contract: what the API takes and gives. Mapped to the domain beside each model."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from voice_gateway.domain.audio import AudioFormat
from voice_gateway.domain.chain import Quality
from voice_gateway.domain.character import PersonalityName, Traits
from voice_gateway.domain.language import LanguageTag
from voice_gateway.domain.limits import MAX_TEXT_CHARACTERS, OUTPUT_RATE_DEFAULT
from voice_gateway.domain.listing import PersonalityFilter
from voice_gateway.domain.personality import (
    AdvancedSettings,
    Character,
    Personality,
    PersonalityId,
    Pitch,
    ProviderName,
    Speed,
    VoiceConfig,
)
from voice_gateway.domain.tiers import Purpose
from voice_gateway.services.speech import SpeechCommand

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    purpose: Purpose = Purpose.LIVE

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
            purpose=self.purpose,
            seconds_left=seconds_left,
        )


class PersonalityBody(Character):
    """`POST /api/personalities`: a new personality."""

    id: PersonalityId | None = None
    """Made from the name when left out."""

    def fingerprint(self) -> str:
        """Tells this body from another, whatever the order and the spaces it came with.

        Only of what was said: a release that knows more fields still knows the repetition.
        """
        said = json.dumps(self.model_dump(mode="json", exclude_unset=True), sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()


class PageQuery(BaseModel):
    """The query of a listing."""

    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = None
    """`next_cursor` of the page before."""


class PersonalitiesQuery(PageQuery):
    """The query of `GET /api/personalities`."""

    name: PersonalityName | None = None
    """How the name begins."""
    language: LanguageTag | None = None
    quality: Quality | None = None
    deleted: bool = False

    def wanted(self) -> PersonalityFilter:
        """Maps it to the domain's filter."""
        return PersonalityFilter(
            name=self.name, language=self.language, quality=self.quality, deleted=self.deleted
        )


class PersonalityView(BaseModel):
    """A personality as the API shows it; whose it is stays inside."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    description: str
    traits: Traits
    greeting: str
    system_prompt: str
    phrases: tuple[str, ...]
    lexicon: dict[str, dict[str, str]]
    voice_config: VoiceConfig
    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    restorable_until: datetime | None
    """When a deleted one is gone for good."""

    @classmethod
    def of(cls, personality: Personality) -> Self:
        """Maps from the domain."""
        return cls.model_validate(personality)


class PersonalityPage(BaseModel):
    """A page of a listing, by id."""

    personalities: tuple[PersonalityView, ...]
    next_cursor: str | None
    """Asks for the next page; null at the end."""

    @classmethod
    def of(cls, page: Sequence[Personality], next_cursor: str | None) -> Self:
        """Maps from the domain."""
        return cls(personalities=tuple(map(PersonalityView.of, page)), next_cursor=next_cursor)


class VersionPage(BaseModel):
    """A page of a personality's history, the newest version first."""

    versions: tuple[PersonalityView, ...]
    next_cursor: str | None
    """Asks for the next page; null at the end."""

    @classmethod
    def of(cls, page: Sequence[Personality], next_cursor: str | None) -> Self:
        """Maps from the domain."""
        return cls(versions=tuple(map(PersonalityView.of, page)), next_cursor=next_cursor)
