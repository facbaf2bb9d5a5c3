"""The wire contract of voice samples and consent. Mapped to the domain beside each model."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from voice_gateway.domain.language import LanguageTag
from voice_gateway.domain.personality import VoiceConfig
from voice_gateway.domain.samples.consent import CONSENT_TEXTS, ConsentText, PersonName
from voice_gateway.domain.samples.report import SampleReport
from voice_gateway.domain.samples.sample import (
    SampleId,
    SamplePurpose,
    SampleRefusal,
    SampleState,
    Tombstone,
    VoiceSample,
)
from voice_gateway.domain.voice_match import VoiceMatch, basis_of
from voice_gateway.services.voice_consents import ConsentStatement
from voice_gateway.services.voice_samples import SampleOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_gateway.domain.personality import Personality
    from voice_gateway.domain.samples.upload import UploadForm
    from voice_gateway.domain.voice_match import VoiceMatches


class UploadQuery(BaseModel):
    """The query of an upload."""

    activate: bool = True
    """Whether it becomes the personality's voice as soon as it is validated."""
    purpose: SamplePurpose = SamplePurpose.VOICE

    def order(self, tenant_id: str, personality_id: str, by: str) -> SampleOrder:
        """Maps it to the service's order."""
        return SampleOrder(
            tenant_id=tenant_id,
            personality_id=personality_id,
            by=by,
            purpose=self.purpose,
            activate=self.activate,
        )


class ChosenSampleBody(BaseModel):
    """`PUT …/voice/sample`: the sample that a personality speaks from."""

    model_config = ConfigDict(extra="forbid")

    id: SampleId


class ConsentBody(BaseModel):
    """`POST …/voice/consent`: who agreed, and who says so."""

    model_config = ConfigDict(extra="forbid")

    speaker: PersonName
    attested_by: PersonName
    language: LanguageTag | None = None
    """Of the text; the personality's when left out."""
    text: ConsentText | None = None
    """What the speaker agreed to, word for word; ours in that language when left out."""
    sample_id: SampleId | None = None
    """The sample that the personality speaks from when left out, or else its newest one."""
    recording_id: SampleId | None = None
    """A sample uploaded with `purpose=consent`, in which the speaker says so."""

    def statement(self, by: str) -> ConsentStatement:
        """Maps it to the service's statement."""
        return ConsentStatement(
            speaker=self.speaker,
            attested_by=self.attested_by,
            by=by,
            language=self.language,
            text=self.text,
            sample_id=self.sample_id,
            recording_id=self.recording_id,
        )


class WindowView(BaseModel):
    """The stretch of a sample that one provider listens to."""

    model_config = ConfigDict(from_attributes=True)

    provider: str
    content_hash: str
    sample_rate: int
    seconds: float
    start: float
    loudness: float
    true_peak: float


class SampleView(BaseModel):
    """A sample as the API shows it."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    personality_id: str
    path: str
    """What `voice_config.sample_path` holds of a personality that speaks from it."""
    purpose: SamplePurpose
    state: SampleState
    activate: bool
    """Whether it still waits to become the personality's voice."""
    refusal: SampleRefusal | None
    """Why no voice may be cloned from it; null when one may."""
    created_at: datetime
    updated_at: datetime
    report: SampleReport | None
    windows: tuple[WindowView, ...]
    tombstone: Tombstone | None

    @classmethod
    def of(cls, sample: VoiceSample) -> Self:
        """Maps from the domain."""
        return cls.model_validate(sample)


class SampleList(BaseModel):
    """A personality's samples, the newest first."""

    samples: tuple[SampleView, ...]

    @classmethod
    def of(cls, samples: Sequence[VoiceSample]) -> Self:
        """Maps from the domain."""
        return cls(samples=tuple(map(SampleView.of, samples)))


class UploadView(BaseModel):
    """A form (`multipart/form-data`): post its fields, and then the recording as `file`."""

    sample: SampleView
    url: str
    fields: Mapping[str, str]
    expires_at: datetime
    max_bytes: int

    @classmethod
    def of(cls, sample: VoiceSample, form: UploadForm) -> Self:
        """Maps from the domain."""
        return cls(
            sample=SampleView.of(sample),
            url=form.url,
            fields=form.fields,
            expires_at=form.expires_at,
            max_bytes=form.max_bytes,
        )


class ConsentView(BaseModel):
    """A consent, with the sample that it is about."""

    sample_id: str
    speaker: str
    attested_by: str
    language: str
    text: str
    text_hash: str
    given_at: datetime
    recording_id: str | None
    valid: bool
    """False when the sample is another recording by now than the one consented to."""

    @classmethod
    def of(cls, sample: VoiceSample) -> Self:
        """Maps from the domain.

        Raises:
            ValueError: The sample has no consent.
        """
        if sample.consent is None:
            raise ValueError("there is no consent")
        return cls(
            sample_id=sample.id,
            valid=sample.refusal is None,
            **sample.consent.model_dump(exclude={"recorded_by", "covers"}),
        )


class ConsentTexts(BaseModel):
    """What a speaker may be given to agree to, by language; `{speaker}` stands for the name."""

    texts: Mapping[str, str] = Field(default_factory=lambda: CONSENT_TEXTS)


class VoiceMatchesView(BaseModel):
    """Who would speak for a personality at each provider if no voice were pinned there."""

    model_config = ConfigDict(from_attributes=True)

    made_at: datetime
    voices: dict[str, VoiceMatch]
    """By provider, the most like first."""
    unavailable: dict[str, str]
    """Provider → why its voices could not be listed."""

    @classmethod
    def of(cls, matches: VoiceMatches) -> Self:
        """Maps from the domain."""
        return cls.model_validate(matches)


class VoiceView(VoiceConfig):
    """`GET …/voice`: how a personality sounds, and what became of the sample it speaks from."""

    sample: SampleView | None
    matches: VoiceMatchesView | None
    """Who would speak elsewhere, unpinned; null where nobody asked since something changed."""

    @classmethod
    def of(
        cls,
        personality: Personality,
        sample: VoiceSample | None,
        matches: VoiceMatches | None = None,
    ) -> Self:
        """Maps from the domain; matches of another voice than the present one are not shown."""
        config = personality.voice_config
        holds = matches is not None and matches.basis == basis_of(config, sample)
        return cls(
            **{name: getattr(config, name) for name in VoiceConfig.model_fields},
            sample=None if sample is None else SampleView.of(sample),
            matches=VoiceMatchesView.of(matches) if matches is not None and holds else None,
        )


class VoiceBody(VoiceConfig):
    """`PUT …/voice`: what GET gave may be sent back; only the owner's part of it is written."""

    sample: Annotated[JsonValue, Field(exclude=True)] = None
    matches: Annotated[JsonValue, Field(exclude=True)] = None

    def config(self) -> VoiceConfig:
        """Maps it to the domain."""
        return VoiceConfig(**{name: getattr(self, name) for name in VoiceConfig.model_fields})
