"""Samples, their bytes, their queue and the caches of voices, in memory."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

from fakes.stock import FakeStock
from voice_gateway.domain.errors import (
    ConflictError,
    NotFoundError,
    StaleWriteError,
    StorageUnavailableError,
)
from voice_gateway.domain.samples.requirements import MAX_BYTES
from voice_gateway.domain.samples.sample import UPLOAD_LIFETIME, StoredObject
from voice_gateway.domain.samples.upload import UploadForm
from voice_gateway.domain.tiers import Stock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from voice_gateway.domain.samples.sample import VoiceSample
    from voice_gateway.domain.tiers import Ceiling
    from voice_gateway.ports import Clock


class FakeSamples:
    """Implements `ports.SampleRepository`.

    Attributes:
        broken: While true, every call fails as an unreachable table does.
        stock: How many samples each tenant has that are not buried.
        written: Every version that was stored, in order.
    """

    def __init__(self) -> None:
        self.broken = False
        self.stock = FakeStock()
        self.written: list[VoiceSample] = []
        self._lock = threading.Lock()
        self._stored: dict[tuple[str, str], VoiceSample] = {}

    def create(self, sample: VoiceSample, *, ceiling: Ceiling | None = None) -> None:
        """Stores a new one."""
        self._check()
        with self._lock:
            if (sample.tenant_id, sample.id) in self._stored:
                raise ConflictError("There is a sample with this id already.", field="id")
            self.stock.count_up(sample.tenant_id, Stock.SAMPLES, ceiling)
            self._keep(sample)

    def get(self, tenant_id: str, sample_id: str) -> VoiceSample:
        """Fetches one."""
        self._check()
        found = self._stored.get((tenant_id, sample_id))
        if found is None:
            raise NotFoundError("There is no sample with this id.")
        return found

    def replace(self, *changes: tuple[VoiceSample, VoiceSample]) -> None:
        """Puts versions in the place of the ones before: all of them, or none."""
        self._check()
        with self._lock:
            for previous, _ in changes:
                present = self._stored.get((previous.tenant_id, previous.id))
                if present is None or present.version != previous.version:
                    raise StaleWriteError
            for previous, changed in changes:
                if changed.tombstone is not None and previous.tombstone is None:
                    self.stock.count_down(changed.tenant_id, Stock.SAMPLES)
                self._keep(changed)

    def of_personality(self, tenant_id: str, personality_id: str) -> Sequence[VoiceSample]:
        """Lists a personality's samples, the newest first."""
        self._check()
        found = [
            sample
            for (tenant, _), sample in self._stored.items()
            if (tenant, sample.personality_id) == (tenant_id, personality_id)
        ]
        return sorted(found, key=lambda sample: (sample.created_at, sample.id), reverse=True)

    def due(self, now: datetime) -> Sequence[tuple[str, str]]:
        """Lists the samples that somebody has to look after by now."""
        self._check()
        return [
            place
            for place, sample in self._stored.items()
            if sample.due_at is not None and int(sample.due_at.timestamp()) <= now.timestamp()
        ]

    def _keep(self, sample: VoiceSample) -> None:
        self._stored[sample.tenant_id, sample.id] = sample
        self.written.append(sample)

    def _check(self) -> None:
        if self.broken:
            raise StorageUnavailableError("broken on purpose")


class FakeSampleFiles:
    """Implements `ports.SampleFiles`, as a bucket with versions.

    Attributes:
        broken: While true, every call fails as an unreachable bucket does.
        versions: Path → what was stored there, the newest last.
    """

    def __init__(self, clock: Clock) -> None:
        self.broken = False
        self.versions: dict[str, list[tuple[StoredObject, bytes]]] = {}
        self._clock = clock
        self._count = 0

    def upload_form(self, path: str) -> UploadForm:
        """Makes a form that nobody can post."""
        self._check()
        return UploadForm(
            url="https://bucket.example/",
            fields={"key": path},
            expires_at=self._clock.now() + UPLOAD_LIFETIME,
            max_bytes=MAX_BYTES,
        )

    def write(self, path: str, data: bytes) -> StoredObject:
        """Stores bytes at a path."""
        self._check()
        self._count += 1
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        stored = StoredObject(version_id=f"v{self._count}", etag=etag, size=len(data))
        self.versions.setdefault(path, []).append((stored, data))
        return stored

    def latest(self, path: str) -> StoredObject | None:
        """Tells what lies at a path now."""
        self._check()
        found = self.versions.get(path)
        return found[-1][0] if found else None

    def read(self, path: str, version: StoredObject) -> bytes | None:
        """Fetches the bytes of one version."""
        self._check()
        found = self.versions.get(path, ())
        return next((data for stored, data in found if stored == version), None)

    def purge(self, folder: str) -> None:
        """Deletes every version of everything below a folder."""
        self._check()
        for path in [path for path in self.versions if path.startswith(folder)]:
            del self.versions[path]

    def _check(self) -> None:
        if self.broken:
            raise StorageUnavailableError("broken on purpose")


class FakeSampleQueue:
    """Implements `ports.SampleQueue`.

    Attributes:
        broken: While true, every call fails as an unreachable queue does.
        waiting: What nobody has taken yet: tenants' and samples' ids.
    """

    def __init__(self) -> None:
        self.broken = False
        self.waiting: list[tuple[str, str]] = []

    def attend(self, tenant_id: str, sample_id: str) -> None:
        """Has a sample looked after soon."""
        if self.broken:
            raise StorageUnavailableError("broken on purpose")
        self.waiting.append((tenant_id, sample_id))


class FakeVoiceCaches:
    """Implements `ports.ConditioningCache` and `ports.VoiceAudioCache`.

    Attributes:
        broken: While true, every call fails as an unreachable model or cache does.
        kept: The hashes of samples and windows of which something is kept.
    """

    def __init__(self) -> None:
        self.broken = False
        self.kept: set[str] = set()

    def forget(self, content_hashes: Sequence[str]) -> None:
        """Deletes what was made of these."""
        self._check()
        self.kept -= set(content_hashes)

    def purge(self, tenant_id: str, *, personality_id: str, content_hashes: Sequence[str]) -> None:
        """Deletes what was spoken in a voice that was cloned from these."""
        self._check()
        self.kept -= set(content_hashes)

    def _check(self) -> None:
        if self.broken:
            raise StorageUnavailableError("broken on purpose")


class FakeSampleObserver:
    """Implements `ports.SampleObserver`: remembers what it was told."""

    def __init__(self) -> None:
        self.verdicts: list[VoiceSample] = []
        self.purges: list[VoiceSample] = []

    def judged(self, sample: VoiceSample) -> None:
        """A sample got its verdict."""
        self.verdicts.append(sample)

    def purged(self, sample: VoiceSample) -> None:
        """Nothing is left of a sample but its tombstone."""
        self.purges.append(sample)
