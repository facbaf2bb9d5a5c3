"""What an owner does with the samples of a personality's voice."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from voice_gateway.domain.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    TooLargeError,
)
from voice_gateway.domain.samples.sample import (
    PurgeReason,
    SamplePurpose,
    SampleState,
    VoiceSample,
)
from voice_gateway.domain.samples.upload import MAX_DIRECT_BYTES
from voice_gateway.domain.tiers import Stock
from voice_gateway.services.chosen_samples import ChosenSamples
from voice_gateway.services.optimistic import until_written

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from voice_gateway.domain.personality import Personality
    from voice_gateway.domain.samples.upload import UploadForm
    from voice_gateway.ports import (
        Clock,
        SampleFiles,
        SampleRepository,
        TenantRepository,
    )
    from voice_gateway.services.personalities import PersonalityService
    from voice_gateway.services.sample_burial import SampleBurial


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOrder:
    """What a caller wants to upload, and for whom."""

    tenant_id: str
    personality_id: str
    by: str
    """The caller's id."""
    purpose: SamplePurpose = SamplePurpose.VOICE
    activate: bool = True
    """Whether it becomes the personality's voice as soon as it is validated."""


class VoiceSampleService:
    """Uploads, shows, chooses and takes away samples, each tenant's own."""

    def __init__(
        self,
        *,
        samples: SampleRepository,
        files: SampleFiles,
        burial: SampleBurial,
        personalities: PersonalityService,
        tenants: TenantRepository,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._samples = samples
        self._chosen = ChosenSamples(samples)
        self._files = files
        self._burial = burial
        self._personalities = personalities
        self._tenants = tenants
        self._clock = clock
        self._sleep = sleep

    def upload(self, order: SampleOrder, data: bytes) -> VoiceSample:
        """Takes a recording; the store's event has it validated.

        Raises:
            InvalidRequestError: There are no bytes.
            TooLargeError: There are too many for this way.
            NotFoundError: The tenant has no such personality.
            PlanLimitError: The tier has no room for one more, or does not clone voices.
            StorageUnavailableError: The table or the store did not answer.
        """
        if not data:
            raise InvalidRequestError("The body is empty: send the recording.", field="body")
        if len(data) > MAX_DIRECT_BYTES:
            raise TooLargeError(
                f"At most {MAX_DIRECT_BYTES} bytes come this way; for more, POST to "
                f"/api/personalities/{order.personality_id}/voice/uploads and use its form.",
                field="body",
            )
        sample = self._begin(order)
        stored = self._files.write(sample.path, data)

        def receive() -> VoiceSample:
            present = self._samples.get(sample.tenant_id, sample.id)
            if present.state is not SampleState.AWAITING_UPLOAD:
                return present  # the event was faster
            received = present.received(stored, self._clock.now())
            self._samples.replace((present, received))
            return received

        return until_written(receive, self._sleep)

    def request_upload(self, order: SampleOrder) -> tuple[VoiceSample, UploadForm]:
        """Makes a form with which a recording is uploaded past us.

        Raises:
            NotFoundError: The tenant has no such personality.
            PlanLimitError: The tier has no room for one more, or does not clone voices.
            StorageUnavailableError: The table or the store did not answer.
        """
        sample = self._begin(order)
        return sample, self._files.upload_form(sample.path)

    def list(self, tenant_id: str, personality_id: str) -> Sequence[VoiceSample]:
        """Lists a personality's samples, the newest first, without those that were purged.

        Raises:
            NotFoundError: The tenant has no such personality.
            StorageUnavailableError: The table did not answer.
        """
        self._personalities.get(tenant_id, personality_id)
        every = self._samples.of_personality(tenant_id, personality_id)
        return [sample for sample in every if sample.tombstone is None]

    def get(self, tenant_id: str, personality_id: str, sample_id: str) -> VoiceSample:
        """Fetches one; a purged one is its tombstone.

        Raises:
            NotFoundError: The tenant has no such personality, or that has no such sample.
            StorageUnavailableError: The table did not answer.
        """
        self._personalities.get(tenant_id, personality_id)
        return self._find(tenant_id, personality_id, sample_id)

    def chosen(self, personality: Personality) -> VoiceSample | None:
        """Fetches the sample that a personality speaks from; see `ChosenSamples.chosen`."""
        return self._chosen.chosen(personality)

    def choose(
        self,
        tenant_id: str,
        personality_id: str,
        sample_id: str,
        *,
        expected: Collection[int] | None = None,
    ) -> Personality:
        """Lets a personality speak from another of its samples.

        Raises:
            NotFoundError: The tenant has no such personality, or that has no such sample.
            ConflictError: The sample is not validated, or is no voice.
            PlanLimitError: The tier does not clone voices.
            PreconditionFailedError: The personality is in another version than expected.
            StaleWriteError: Others kept writing it.
            StorageUnavailableError: The table did not answer.
        """
        sample = self._find(tenant_id, personality_id, sample_id)
        if sample.state is not SampleState.VALIDATED or sample.purpose is not SamplePurpose.VOICE:
            raise ConflictError("Only a validated voice sample can be chosen.", field="id")
        self._tenants.plan(tenant_id).require_cloning()
        return self._personalities.speak_from(
            tenant_id, personality_id, sample.path, expected=expected
        )

    def remove_voice(self, tenant_id: str, personality_id: str, by: str) -> Personality:
        """Takes a personality's voice away: the sample is purged, others speak for it.

        Raises:
            NotFoundError: The tenant has no such personality, or that speaks from no sample.
            StaleWriteError: Others kept writing.
            StorageUnavailableError: The table or the queue did not answer; ask again.
        """
        personality = self._personalities.get(tenant_id, personality_id)
        if personality.voice_config.sample_path is None:
            raise NotFoundError("This personality speaks from no sample.")
        sample = self.chosen(personality)
        # First the tombstone: from then on nobody clones the voice, whatever comes in between.
        # A sample of another personality stays that one's.
        if sample is not None and sample.personality_id == personality_id:
            self._burial.bury(tenant_id, lambda: self._all_of(sample), PurgeReason.DELETED, by)
        return self._personalities.speak_from(tenant_id, personality_id, None)

    def delete(self, tenant_id: str, personality_id: str, sample_id: str, by: str) -> VoiceSample:
        """Purges one sample, chosen or not; a second time does nothing more.

        Raises:
            NotFoundError: The tenant has no such personality, or that has no such sample.
            StaleWriteError: Others kept writing it.
            StorageUnavailableError: The table or the queue did not answer; ask again.
        """
        sample = self.get(tenant_id, personality_id, sample_id)
        gone = self._burial.bury(tenant_id, lambda: self._all_of(sample), PurgeReason.DELETED, by)
        return gone[0]

    def _begin(self, order: SampleOrder) -> VoiceSample:
        self._personalities.get(order.tenant_id, order.personality_id)
        now = self._clock.now()
        voice = order.purpose is SamplePurpose.VOICE
        sample = VoiceSample(
            id=uuid4().hex,
            tenant_id=order.tenant_id,
            personality_id=order.personality_id,
            purpose=order.purpose,
            created_at=now,
            created_by=order.by,
            updated_at=now,
            activate=order.activate and voice,
        )
        plan = self._tenants.plan(order.tenant_id)
        if sample.activate:
            plan.require_cloning()
        ceiling = plan.ceiling(Stock.SAMPLES)
        until_written(lambda: self._samples.create(sample, ceiling=ceiling), self._sleep)
        return sample

    def _find(self, tenant_id: str, personality_id: str, sample_id: str) -> VoiceSample:
        sample = self._samples.get(tenant_id, sample_id)
        if sample.personality_id != personality_id:
            raise NotFoundError("There is no sample with this id.")
        return sample

    def _all_of(self, sample: VoiceSample) -> Sequence[VoiceSample]:
        """The sample as it is now, and the recording of its consent."""
        present = self._samples.get(sample.tenant_id, sample.id)
        if present.consent is None or present.consent.recording_id is None:
            return [present]
        return [present, self._samples.get(sample.tenant_id, present.consent.recording_id)]
