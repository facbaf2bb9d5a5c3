"""What whoever speaks in a sample agreed to: given, shown, taken back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voice_gateway.domain.errors import ConflictError, InvalidRequestError, NotFoundError
from voice_gateway.domain.samples.consent import Consent, consent_text, hash_text
from voice_gateway.domain.samples.sample import (
    PurgeReason,
    SamplePurpose,
    SampleState,
    VoiceSample,
)
from voice_gateway.services.chosen_samples import ChosenSamples
from voice_gateway.services.optimistic import until_written

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voice_gateway.domain.personality import Personality
    from voice_gateway.ports import Clock, SampleRepository, TenantRepository
    from voice_gateway.services.personalities import PersonalityService
    from voice_gateway.services.sample_burial import SampleBurial


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentStatement:
    """Who agreed, and who says so."""

    speaker: str
    attested_by: str
    by: str
    """The caller's id."""
    language: str | None = None
    """Of the text; None takes the personality's."""
    text: str | None = None
    """None takes ours."""
    sample_id: str | None = None
    """None takes the sample that the personality speaks from, or its newest validated one."""
    recording_id: str | None = None


class VoiceConsentService:
    """Keeps consents, each with the sample that it is about."""

    def __init__(
        self,
        *,
        samples: SampleRepository,
        burial: SampleBurial,
        personalities: PersonalityService,
        tenants: TenantRepository,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._samples = samples
        self._chosen = ChosenSamples(samples)
        self._burial = burial
        self._personalities = personalities
        self._tenants = tenants
        self._clock = clock
        self._sleep = sleep

    def give(self, tenant_id: str, personality_id: str, statement: ConsentStatement) -> VoiceSample:
        """Stores that the speaker of a sample agreed to be cloned.

        Raises:
            NotFoundError: The tenant has no such personality, or that has no such sample.
            ConflictError: The sample is not validated, or has its consent already.
            PlanLimitError: The tier does not clone voices.
            InvalidRequestError: We have no text in the language, or the recording is none.
            StaleWriteError: Others kept writing it.
            StorageUnavailableError: The table did not answer.
        """
        personality = self._personalities.get(tenant_id, personality_id)
        self._tenants.plan(tenant_id).require_cloning()
        language = statement.language or personality.voice_config.language
        text = statement.text or consent_text(language, statement.speaker)
        if text is None:
            raise InvalidRequestError(
                "There is no text of ours in this language: send yours.", field="text"
            )

        def agree() -> VoiceSample:
            sample = self._to_consent_to(personality, statement.sample_id)
            content_hash = sample.content_hash
            if sample.state is not SampleState.VALIDATED or content_hash is None:
                raise ConflictError("Consent is given to a validated sample.", field="sample_id")
            if sample.consent is not None and sample.consent.covers == content_hash:
                raise ConflictError("This sample has its consent already.", field="sample_id")
            if statement.recording_id is not None:
                self._check_recording(personality, statement.recording_id)
            now = self._clock.now()
            consent = Consent(
                speaker=statement.speaker,
                attested_by=statement.attested_by,
                recorded_by=statement.by,
                language=language,
                text=text,
                text_hash=hash_text(text),
                given_at=now,
                covers=content_hash,
                recording_id=statement.recording_id,
            )
            agreed = sample.consented(consent, now)
            self._samples.replace((sample, agreed))
            return agreed

        return until_written(agree, self._sleep)

    def get(self, tenant_id: str, personality_id: str) -> VoiceSample:
        """Fetches the sample whose consent lets a personality speak.

        Raises:
            NotFoundError: The tenant has no such personality, or there is no consent.
            StorageUnavailableError: The table did not answer.
        """
        personality = self._personalities.get(tenant_id, personality_id)
        sample = self._chosen.chosen(personality)
        if sample is None or sample.consent is None:
            raise NotFoundError("There is no consent for this personality's voice.")
        return sample

    def revoke(self, tenant_id: str, personality_id: str, by: str) -> Sequence[VoiceSample]:
        """Takes the speaker's consent back: every sample of the personality is purged.

        All of them are unusable from one and the same write on. A second time finds those that are
        still being purged. A personality that was deleted may be restored, so its samples go too.

        Raises:
            NotFoundError: There is no consent.
            StaleWriteError: Others kept writing them.
            StorageUnavailableError: The table or the queue did not answer; ask again.
        """

        def concerned() -> Sequence[VoiceSample]:
            every = self._samples.of_personality(tenant_id, personality_id)
            there = [s for s in every if s.state is not SampleState.PURGED]
            if not any(s.consent is not None or s.tombstone is not None for s in there):
                raise NotFoundError("There is no consent for this personality's voice.")
            return there

        return self._burial.bury(tenant_id, concerned, PurgeReason.CONSENT_REVOKED, by)

    def _find(self, personality: Personality, sample_id: str, field: str) -> VoiceSample:
        sample = self._samples.get(personality.tenant_id, sample_id)
        if sample.personality_id != personality.id:
            raise NotFoundError("There is no sample with this id.", field=field)
        return sample

    def _to_consent_to(self, personality: Personality, sample_id: str | None) -> VoiceSample:
        if sample_id is not None:
            sample = self._find(personality, sample_id, "sample_id")
            if sample.purpose is not SamplePurpose.VOICE:
                raise ConflictError("This sample is no voice to be cloned.", field="sample_id")
            return sample
        chosen = self._chosen.chosen(personality)
        if (
            chosen is not None
            and chosen.tombstone is None
            and chosen.personality_id == personality.id
        ):
            return chosen
        for sample in self._samples.of_personality(personality.tenant_id, personality.id):
            if sample.state is SampleState.VALIDATED and sample.purpose is SamplePurpose.VOICE:
                return sample
        raise ConflictError("There is no validated sample to consent to.", field="sample_id")

    def _check_recording(self, personality: Personality, recording_id: str) -> None:
        recording = self._find(personality, recording_id, "recording_id")
        if (
            recording.purpose is not SamplePurpose.CONSENT
            or recording.state is not SampleState.VALIDATED
        ):
            raise InvalidRequestError(
                "The recording is a validated sample uploaded with purpose=consent.",
                field="recording_id",
            )
