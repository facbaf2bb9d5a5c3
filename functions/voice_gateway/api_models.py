"""The wire contract: what the API takes and gives. Mapped to the domain beside each model."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_serializer,
)

from voice_gateway.domain.access import GRACE_DEFAULT, GRACE_MAX, KeyName, Scope
from voice_gateway.domain.audio import AudioFormat, usual_rate
from voice_gateway.domain.budget import BudgetState, Optimize
from voice_gateway.domain.chain import Quality
from voice_gateway.domain.character import PersonalityName, Traits
from voice_gateway.domain.language import LanguageTag
from voice_gateway.domain.ledger import Month
from voice_gateway.domain.limits import MAX_TEXT_CHARACTERS
from voice_gateway.domain.listing import PersonalityFilter
from voice_gateway.domain.money import Usd
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
from voice_gateway.domain.statistics import Window
from voice_gateway.domain.tiers import Allowance, Purpose, Stock
from voice_gateway.services.speech_requests import SpeechCommand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_gateway.domain.access import ApiKey
    from voice_gateway.services.budgets import Spending
    from voice_gateway.services.usage import UsageReport


class SpeechBody(BaseModel):
    """`POST /api/speech`: a text to speak in a personality's voice.

    Whatever is left out comes from the personality.
    """

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
    personality: PersonalityId
    language: LanguageTag | None = None
    quality: Quality | None = None
    optimize: Optimize | None = None
    """`cost` asks the cheapest provider of the chain first."""
    provider: ProviderName | None = None
    """Forces one provider and bypasses the chain, the floor included."""
    speed: Speed | None = None
    pitch: Pitch | None = None
    advanced: AdvancedSettings | None = None
    strict: bool = False
    """Fail rather than let another provider than the asked one speak."""
    fresh: bool = False
    """Speak anew what is in the cache, and keep nothing."""
    format: AudioFormat = AudioFormat.WAV
    sample_rate: int | None = Field(default=None, ge=8000, le=48000)
    """Hz; left out, 8000 for `mulaw` and 24 000 for all others."""
    channels: Literal[1, 2] = 1
    """Two carry the same voice."""
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
            optimize=self.optimize,
            provider=self.provider,
            speed=self.speed,
            pitch=self.pitch,
            advanced=self.advanced,
            strict=self.strict,
            fresh=self.fresh,
            audio_format=self.format,
            sample_rate=self.sample_rate or usual_rate(self.format),
            channels=self.channels,
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


class PurgeQuery(BaseModel):
    """The query of `DELETE /api/cache`; what is misspelt must not purge the whole tenant."""

    model_config = ConfigDict(extra="forbid")

    personality: PersonalityId | None = None
    """All of the tenant's when left out."""


class PurgedView(BaseModel):
    """How many sentences were forgotten."""

    purged: int


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


class CostsQuery(BaseModel):
    """The query of `GET /api/costs`."""

    month: Month | None = None
    """The present one when left out."""


class StatisticsQuery(BaseModel):
    """The query of `GET /api/stats`."""

    window: Window = Window.DAY


class BudgetView(BaseModel):
    """A tenant's budget as the API shows it."""

    monthly_usd: Usd | None
    soft_percent: int
    month: Month
    spent_usd: Usd
    state: BudgetState | None
    """Null without a bound."""
    resets_at: datetime

    @classmethod
    def of(cls, spending: Spending) -> Self:
        """Maps from the service."""
        return cls(
            monthly_usd=spending.budget.monthly_usd,
            soft_percent=spending.budget.soft_percent,
            month=spending.month,
            spent_usd=spending.spent_usd,
            state=spending.state,
            resets_at=spending.resets_at,
        )


class ApiKeyBody(BaseModel):
    """`POST /api/keys`: a new API key."""

    model_config = ConfigDict(extra="forbid")

    name: KeyName
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    expires_at: AwareDatetime | None = None


class RotationBody(BaseModel):
    """`POST /api/keys/{id}/rotate`."""

    model_config = ConfigDict(extra="forbid")

    grace_seconds: int = Field(
        default=int(GRACE_DEFAULT.total_seconds()), ge=0, le=int(GRACE_MAX.total_seconds())
    )
    """How long the replaced key can still be used."""


class ApiKeyView(BaseModel):
    """An API key as the API shows it."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    """To the hour."""
    revoked_at: datetime | None
    replaced_by: str | None
    """The id of the key that came with a rotation."""

    @field_serializer("scopes")
    def _in_order(self, scopes: frozenset[str]) -> list[str]:
        return sorted(scopes)


class NewApiKeyView(ApiKeyView):
    """An API key as it is shown once."""

    key: str
    """What goes into `Authorization: Bearer …`; nobody can show it again."""

    @classmethod
    def of(cls, made: ApiKey, key: str) -> Self:
        """Maps from the domain."""
        return cls(**ApiKeyView.model_validate(made).__dict__, key=key)


class ApiKeyPage(BaseModel):
    """A page of a listing, by id."""

    keys: tuple[ApiKeyView, ...]
    next_cursor: str | None
    """Asks for the next page; null at the end."""

    @classmethod
    def of(cls, page: Sequence[ApiKey], next_cursor: str | None) -> Self:
        """Maps from the domain."""
        return cls(keys=tuple(map(ApiKeyView.model_validate, page)), next_cursor=next_cursor)


class StockView(BaseModel):
    """How many there may be, and are."""

    limit: int
    usage: int


class AllowanceView(StockView):
    """How much there is a month, and how much of it is used."""

    resets_at: datetime


class UsageView(BaseModel):
    """`GET /api/usage`: what a tenant may have and use, and has and used."""

    tier: str
    personalities: StockView
    samples: StockView
    characters: AllowanceView
    trial_characters: AllowanceView
    concurrent_jobs: int
    cloning: bool

    @classmethod
    def of(cls, report: UsageReport) -> Self:
        """Maps from the domain."""
        limits = report.plan.limits

        def stock(which: Stock) -> StockView:
            return StockView(limit=getattr(limits, which), usage=report.stock[which])

        def allowance(which: Allowance) -> AllowanceView:
            return AllowanceView(
                limit=getattr(limits, which), usage=report.used[which], resets_at=report.resets_at
            )

        return cls(
            tier=report.plan.tier,
            personalities=stock(Stock.PERSONALITIES),
            samples=stock(Stock.SAMPLES),
            characters=allowance(Allowance.CHARACTERS),
            trial_characters=allowance(Allowance.TRIAL_CHARACTERS),
            concurrent_jobs=limits.concurrent_jobs,
            cloning=limits.cloning,
        )
