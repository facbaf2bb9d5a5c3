"""A voice sample: from the promise of an upload to the tombstone that is left of it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from voice_gateway.domain.personality import PersonalityId
from voice_gateway.domain.samples.consent import Consent
from voice_gateway.domain.samples.report import SampleReport

SAMPLE_ID_PATTERN: Final = r"^[0-9a-f]{32}$"
UPLOAD_LIFETIME: Final = timedelta(minutes=15)
"""How long the form of an upload is good."""
UPLOAD_GRACE: Final = timedelta(minutes=15)
"""After that: an upload that began in time may still arrive, and its event may be late."""
LOOK_LIFETIME: Final = timedelta(minutes=20)
"""What is received and has no verdict by then is looked at again."""
FINISH_LIFETIME: Final = timedelta(minutes=5)
REJECTED_KEPT_FOR: Final = timedelta(days=1)
CHECKED_EVERY: Final = timedelta(days=7)
"""How often a sample is asked whether its personality is still there."""
MOST_HASHES: Final = 300
"""What a record may remember for its purge: a hundred recordings, each with its windows."""
SETTLING: Final = timedelta(hours=1)
"""How long after a purge the same is purged once more: longer than any upload, look at a sample or
answer that began before it can still be under way."""
MAX_CHANGES: Final = 45
"""Samples that change together: a transaction has at most 100 writes, and each takes two."""
_ORIGINAL: Final = re.compile(r"tenants/(?P<tenant>[^/]+)/samples/(?P<id>[0-9a-f]{32})/original")

SampleId = Annotated[str, StringConstraints(pattern=SAMPLE_ID_PATTERN)]


class SampleState(StrEnum):
    """Where a sample stands."""

    AWAITING_UPLOAD = "awaiting_upload"
    RECEIVED = "received"
    VALIDATED = "validated"
    REJECTED = "rejected"
    PURGING = "purging"
    """Unusable; what was stored of it is being deleted."""
    PURGED = "purged"
    """Nothing is left but the tombstone."""


class SamplePurpose(StrEnum):
    """What a recording is for."""

    VOICE = "voice"
    """To be cloned."""
    CONSENT = "consent"
    """Somebody reads out the consent; never cloned."""


class PurgeReason(StrEnum):
    """Why a sample had to go."""

    DELETED = "deleted"
    CONSENT_REVOKED = "consent_revoked"
    NEVER_UPLOADED = "never_uploaded"
    REJECTED = "rejected"
    PERSONALITY_GONE = "personality_gone"


class SampleRefusal(StrEnum):
    """Why a voice may not be cloned from a sample."""

    CONSENT_MISSING = "consent_missing"
    NOT_VALIDATED = "sample_not_validated"
    GONE = "sample_gone"


class StoredObject(BaseModel):
    """One version of an object in the store."""

    model_config = ConfigDict(frozen=True)

    version_id: str
    etag: str
    size: int
    """Bytes."""


class PreparedWindow(BaseModel):
    """The stretch of a sample that one provider listens to, and where it lies."""

    model_config = ConfigDict(frozen=True)

    provider: str
    path: str
    """S3 key of the WAV: 16 bits, mono."""
    content_hash: str
    """SHA-256 of the WAV, hexadecimal: what caches key on."""
    sample_rate: int
    """Hz."""
    seconds: float
    start: float
    """Seconds into the original."""
    loudness: float
    """LUFS."""
    true_peak: float
    """dBTP."""


class Tombstone(BaseModel):
    """What stays of a sample that was purged: no audio, and no name of the speaker."""

    model_config = ConfigDict(frozen=True)

    reason: PurgeReason
    by: str
    """Who asked: the caller's id, or `system`."""
    at: datetime
    content_hashes: tuple[str, ...] = ()
    """Of the original and of everything that was cut from it."""
    consent_hash: str | None = None
    """Of the text of the consent that it had."""
    purged_at: datetime | None = None
    """When everything had been deleted for the first time."""


class VoiceSample(BaseModel):
    """A recording of one tenant, made for one personality."""

    model_config = ConfigDict(frozen=True)

    id: SampleId
    tenant_id: str
    personality_id: PersonalityId
    purpose: SamplePurpose = SamplePurpose.VOICE
    state: SampleState = SampleState.AWAITING_UPLOAD
    version: int = Field(default=1, ge=1)
    """Each accepted write is one more."""
    created_at: datetime
    created_by: str
    updated_at: datetime
    activate: bool = True
    """Whether it becomes its personality's voice as soon as it is validated; false once done."""
    upload: StoredObject | None = None
    """The original that the verdict is about."""
    report: SampleReport | None = None
    windows: tuple[PreparedWindow, ...] = ()
    content_hashes: tuple[str, ...] = ()
    """Of the original and its windows, in every version that there ever was."""
    consent: Consent | None = None
    tombstone: Tombstone | None = None
    settled: bool = False
    """Whether a purged one was purged again after everything that was under way had ended."""

    @property
    def path(self) -> str:
        """S3 key of the original."""
        return original_path(self.tenant_id, self.id)

    @property
    def folder(self) -> str:
        """S3 prefix of everything that is stored of it."""
        return f"tenants/{self.tenant_id}/samples/{self.id}/"

    @property
    def content_hash(self) -> str | None:
        """SHA-256 of the original that the verdict is about; None before it."""
        return None if self.report is None else self.report.content_hash

    @property
    def judged(self) -> bool:
        """Whether there is a verdict."""
        return self.state in (SampleState.VALIDATED, SampleState.REJECTED)

    @property
    def refusal(self) -> SampleRefusal | None:
        """Why no voice may be cloned from it; None when one may."""
        if self.tombstone is not None:
            return SampleRefusal.GONE
        if self.state is not SampleState.VALIDATED:
            return SampleRefusal.NOT_VALIDATED
        covered = self.consent is not None and self.consent.covers == self.content_hash
        if self.purpose is not SamplePurpose.VOICE or not covered:
            return SampleRefusal.CONSENT_MISSING
        return None

    @property
    def due_at(self) -> datetime | None:
        """When somebody has to look after it if nothing happens; None when never again."""
        match self.state:
            case SampleState.AWAITING_UPLOAD:
                return self.created_at + UPLOAD_LIFETIME + UPLOAD_GRACE
            case SampleState.RECEIVED:
                return self.updated_at + LOOK_LIFETIME
            case SampleState.REJECTED:
                return self.updated_at + REJECTED_KEPT_FOR
            case SampleState.VALIDATED:
                wait = FINISH_LIFETIME if self.activate else CHECKED_EVERY
                return self.updated_at + wait
        if self.settled or self.tombstone is None:
            return None
        return self.tombstone.purged_at + SETTLING if self.tombstone.purged_at else self.updated_at

    def received(self, upload: StoredObject | None, now: datetime) -> Self:
        """The next version: its bytes are there."""
        return self._next(now, state=SampleState.RECEIVED, upload=upload)

    def judged_as(
        self,
        report: SampleReport,
        windows: tuple[PreparedWindow, ...],
        upload: StoredObject | None,
        now: datetime,
    ) -> Self:
        """The next version: with its verdict."""
        # Of a consent that is read out nothing is asked but that it can be heard.
        voice = self.purpose is SamplePurpose.VOICE
        accepted = report.usable if voice else report.measurements is not None
        # What was not read has no hash.
        found = filter(None, (report.content_hash, *(window.content_hash for window in windows)))
        return self._next(
            now,
            state=SampleState.VALIDATED if accepted else SampleState.REJECTED,
            activate=self.activate and accepted and voice,
            upload=upload,
            report=report,
            windows=windows,
            content_hashes=tuple(dict.fromkeys((*self.content_hashes, *found))),
        )

    def activated(self, now: datetime) -> Self:
        """The next version: it needs not be made its personality's voice any more."""
        return self._next(now, activate=False)

    def checked(self, now: datetime) -> Self:
        """The next version: it was looked after."""
        return self._next(now)

    def consented(self, consent: Consent, now: datetime) -> Self:
        """The next version: its speaker agreed."""
        return self._next(now, consent=consent)

    def buried(self, reason: PurgeReason, by: str, now: datetime) -> Self:
        """The next version: unusable from this write on, and nothing known of it but its hashes."""
        return self._next(
            now,
            state=SampleState.PURGING,
            activate=False,
            upload=None,
            report=None,
            windows=(),
            content_hashes=(),
            consent=None,
            tombstone=Tombstone(
                reason=reason,
                by=by,
                at=now,
                content_hashes=self.content_hashes,
                consent_hash=None if self.consent is None else self.consent.text_hash,
            ),
        )

    def purged(self, now: datetime) -> Self:
        """The next version: everything has been deleted, for the first or for the last time."""
        if self.tombstone is None:
            raise ValueError("only a buried sample can be purged")
        first = self.tombstone.purged_at
        return self._next(
            now,
            state=SampleState.PURGED,
            tombstone=self.tombstone.model_copy(update={"purged_at": first or now}),
            settled=first is not None and now >= first + SETTLING,
        )

    def _next(self, now: datetime, **changes: object) -> Self:
        return self.model_copy(update={**changes, "version": self.version + 1, "updated_at": now})


def original_path(tenant_id: str, sample_id: str) -> str:
    """S3 key of a sample's original."""
    return f"tenants/{tenant_id}/samples/{sample_id}/original"


def sample_at(path: str) -> tuple[str, str] | None:
    """Reads whose sample an S3 key names; None when it is no original's.

    Returns:
        The tenant's id and the sample's.
    """
    match = _ORIGINAL.fullmatch(path)
    return (match["tenant"], match["id"]) if match else None
