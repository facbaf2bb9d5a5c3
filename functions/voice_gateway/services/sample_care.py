"""Looks after a sample: brings it from where it is to where it should be.

S3's events, our own messages and the sweep all say the same thing, "look at this sample", and
whatever it needs is read from what is there: its record, and the newest version of its original.
So it means nothing how often they come, or in which order, or who died on the way.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from voice_gateway.domain.errors import NotFoundError, StaleWriteError
from voice_gateway.domain.samples.assessment import refuse
from voice_gateway.domain.samples.report import Finding, FindingCode, Severity
from voice_gateway.domain.samples.requirements import MAX_BYTES
from voice_gateway.domain.samples.sample import (
    MOST_HASHES,
    PreparedWindow,
    PurgeReason,
    SamplePurpose,
    SampleState,
    StoredObject,
)
from voice_gateway.services.optimistic import until_written

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_gateway.domain.samples.preparation import PreparedSample
    from voice_gateway.domain.samples.report import SampleReport
    from voice_gateway.domain.samples.sample import VoiceSample
    from voice_gateway.ports import (
        Clock,
        SampleFiles,
        SampleObserver,
        SampleQueue,
        SampleRepository,
    )
    from voice_gateway.services.personalities import PersonalityService
    from voice_gateway.services.sample_purge import SamplePurger
    from voice_gateway.services.samples import SampleService

_SYSTEM = "system"


class SampleCare:
    """Validates, prepares, activates, expires and purges samples."""

    def __init__(
        self,
        *,
        samples: SampleRepository,
        files: SampleFiles,
        queue: SampleQueue,
        inspector: SampleService,
        purger: SamplePurger,
        personalities: PersonalityService,
        observer: SampleObserver,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._samples = samples
        self._files = files
        self._queue = queue
        self._inspector = inspector
        self._purger = purger
        self._personalities = personalities
        self._observer = observer
        self._clock = clock
        self._sleep = sleep

    def attend(self, tenant_id: str, sample_id: str) -> None:
        """Does what a sample needs now; an unknown one needs nothing.

        Raises:
            StaleWriteError: Others kept writing it.
            StorageUnavailableError: The table, the bucket or a cache did not answer.
        """
        until_written(lambda: self._attend(tenant_id, sample_id), self._sleep)

    def sweep(self) -> int:
        """Has everybody looked after whose time has come; returns how many those are.

        Raises:
            StorageUnavailableError: The table or the queue did not answer.
        """
        due = self._samples.due(self._clock.now())
        for tenant_id, sample_id in due:
            self._queue.attend(tenant_id, sample_id)
        return len(due)

    def _attend(self, tenant_id: str, sample_id: str) -> None:
        try:
            sample = self._samples.get(tenant_id, sample_id)
        except NotFoundError:
            return  # records are never deleted, so this object is none that the API let in
        if sample.tombstone is not None:
            self._purger.purge(sample)
            return
        latest = self._files.latest(sample.path)
        if latest is None:
            self._miss(sample)
        elif latest != sample.upload or not sample.judged:
            self._follow_up(self._judge(sample, latest))
        else:
            self._follow_up(sample)

    def _judge(self, sample: VoiceSample, latest: StoredObject) -> VoiceSample:
        if sample.upload != latest or sample.state is not SampleState.RECEIVED:
            received = sample.received(latest, self._clock.now())
            self._samples.replace((sample, received))
            sample = received
        report, prepared = self._look(sample, latest)
        # Under their hashes: whoever looks at another version at the same time disturbs nobody.
        windows = tuple(self._store(sample, each) for each in prepared)
        judged = sample.judged_as(report, windows, latest, self._clock.now())
        self._samples.replace((sample, judged))
        self._observer.judged(judged)
        return judged

    def _look(
        self, sample: VoiceSample, latest: StoredObject
    ) -> tuple[SampleReport, tuple[PreparedSample, ...]]:
        if latest.size > MAX_BYTES:
            advice = f"The file is too large: {MAX_BYTES // 2**20} MB is the most."
            return refuse("", _fatal(FindingCode.TOO_LARGE, advice)), ()
        if len(sample.content_hashes) >= MOST_HASHES:
            # Without a hash, so that the record grows no more: nothing is made of this one.
            advice = "Too many recordings came this way: begin a new upload."
            return refuse("", _fatal(FindingCode.TOO_OFTEN, advice)), ()
        data = self._files.read(sample.path, latest)
        if data is None:
            raise StaleWriteError  # purged or uploaded anew meanwhile: begin again
        report = self._inspector.inspect(data)
        if not report.usable or sample.purpose is not SamplePurpose.VOICE:
            return report, ()
        return report, self._inspector.prepare(data, report)

    def _store(self, sample: VoiceSample, prepared: PreparedSample) -> PreparedWindow:
        path = f"{sample.folder}{prepared.provider}/{prepared.content_hash}.wav"
        self._files.write(path, prepared.wav)
        return PreparedWindow(
            provider=prepared.provider,
            path=path,
            content_hash=prepared.content_hash,
            sample_rate=prepared.sample_rate,
            seconds=prepared.seconds,
            start=prepared.start,
            loudness=prepared.loudness,
            true_peak=prepared.true_peak,
        )

    def _miss(self, sample: VoiceSample) -> None:
        """There is no original: it may still come, or never came, or is lost."""
        if not self._is_due(sample):
            return
        if sample.state is SampleState.AWAITING_UPLOAD:
            self._bury(sample, PurgeReason.NEVER_UPLOADED)
        elif sample.state is SampleState.RECEIVED:
            advice = "The file did not arrive whole: upload it again."
            report = refuse("", _fatal(FindingCode.MISSING, advice))
            judged = sample.judged_as(report, (), None, self._clock.now())
            self._samples.replace((sample, judged))
            self._observer.judged(judged)
        else:
            self._follow_up(sample)

    def _follow_up(self, sample: VoiceSample) -> None:
        """What comes after the verdict."""
        if sample.activate and sample.state is SampleState.VALIDATED:
            self._activate(sample)
        elif not self._is_due(sample):
            return
        elif sample.state is SampleState.REJECTED:
            self._bury(sample, PurgeReason.REJECTED)
        elif not self._personalities.is_restorable(
            sample.tenant_id, sample.personality_id, born_by=sample.created_at
        ):
            self._bury(sample, PurgeReason.PERSONALITY_GONE)
        else:
            self._samples.replace((sample, sample.checked(self._clock.now())))

    def _activate(self, sample: VoiceSample) -> None:
        # Deleted meanwhile: then there is no voice to change, and restoring brings back none.
        with suppress(NotFoundError):
            self._personalities.speak_from(sample.tenant_id, sample.personality_id, sample.path)
        self._samples.replace((sample, sample.activated(self._clock.now())))

    def _bury(self, sample: VoiceSample, reason: PurgeReason) -> None:
        buried = sample.buried(reason, _SYSTEM, self._clock.now())
        self._samples.replace((sample, buried))
        self._purger.purge(buried)

    def _is_due(self, sample: VoiceSample) -> bool:
        return sample.due_at is not None and sample.due_at <= self._clock.now()


def _fatal(code: FindingCode, advice: str) -> Finding:
    return Finding(code=code, severity=Severity.FATAL, advice=advice)
