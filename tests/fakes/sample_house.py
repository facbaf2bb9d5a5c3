"""Everything that has to do with samples, on fakes, with one personality in it."""

from __future__ import annotations

import functools
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fakes.clock import FakeClock
from fakes.personalities import FakePersonalities
from fakes.recordings import encoded, voice, white
from fakes.samples import (
    FakeSampleFiles,
    FakeSampleObserver,
    FakeSampleQueue,
    FakeSamples,
    FakeVoiceCaches,
)
from fakes.tenants import FakeTenants
from voice_gateway.adapters.audio_decoder import SoundfileDecoder
from voice_gateway.adapters.sample_converter import SoxrConverter
from voice_gateway.domain.personality import Personality, VoiceConfig
from voice_gateway.domain.tiers import Plan, Tier
from voice_gateway.services.personalities import PersonalityService
from voice_gateway.services.sample_burial import SampleBurial
from voice_gateway.services.sample_care import SampleCare
from voice_gateway.services.sample_purge import SamplePurger
from voice_gateway.services.samples import SampleService
from voice_gateway.services.voice_consents import VoiceConsentService
from voice_gateway.services.voice_samples import SampleOrder, VoiceSampleService

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_gateway.domain.samples.preparation import PreparedSample
    from voice_gateway.domain.samples.report import SampleReport
    from voice_gateway.domain.samples.sample import VoiceSample
    from voice_gateway.ports import (
        ConditioningCache,
        PersonalityRepository,
        SampleFiles,
        SampleQueue,
        SampleRepository,
        VoiceAudioCache,
    )

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


@functools.cache
def good_recording(hertz: float = 120.0) -> bytes:
    """Eight seconds that are validated, and fit both providers that clone."""
    return encoded(voice(8, 24_000, hertz=hertz) + white(8, 1e-5, 24_000), 24_000)


@functools.cache
def bad_recording() -> bytes:
    """Eight seconds of a telephone."""
    return encoded(voice(8, 8_000), 8_000)


def personality(name: str = "marcel", tenant_id: str = "shop") -> Personality:
    """One without a voice of its own."""
    return Personality(
        id=name,
        tenant_id=tenant_id,
        name=name.title(),
        voice_config=VoiceConfig(language="fr-CA"),
        created_at=NOW,
        updated_at=NOW,
    )


class _RememberingService(SampleService):
    """The real one: the same bytes give the same result, so that once is enough."""

    def __init__(self) -> None:
        super().__init__(SoundfileDecoder(), SoxrConverter())
        self._reports: dict[bytes, SampleReport] = {}
        self._prepared: dict[bytes, tuple[PreparedSample, ...]] = {}

    def inspect(self, data: bytes) -> SampleReport:
        """Writes the report."""
        if data not in self._reports:
            self._reports[data] = super().inspect(data)
        return self._reports[data]

    def prepare(self, data: bytes, report: SampleReport) -> tuple[PreparedSample, ...]:
        """Cuts the windows."""
        if data not in self._prepared:
            self._prepared[data] = super().prepare(data, report)
        return self._prepared[data]


@functools.cache
def _inspector() -> SampleService:
    return _RememberingService()


class SampleHouse:
    """The services over what is given, or over fakes.

    Attributes:
        api: What owners do with samples.
        consents: What owners do with consents.
        care: Who looks after samples.
    """

    def __init__(
        self,
        *,
        clock: FakeClock | None = None,
        personality_id: str | None = "marcel",
        samples: SampleRepository | None = None,
        files: SampleFiles | None = None,
        queue: SampleQueue | None = None,
        personalities: PersonalityRepository | None = None,
        wrap: Callable[[str, Any], Any] = lambda name, port: port,
    ) -> None:
        self.clock = clock or FakeClock(NOW)
        self.tenants = FakeTenants(Plan(tier=Tier.PRO))
        self.samples = FakeSamples()
        self.files = FakeSampleFiles(self.clock)
        self.queue = FakeSampleQueue()
        self.caches = FakeVoiceCaches()
        self.observer = FakeSampleObserver()
        there = () if personality_id is None else (personality(personality_id),)
        self.repository = FakePersonalities(*there, clock=self.clock)
        stored: SampleRepository = wrap("samples", samples or self.samples)
        kept: SampleFiles = wrap("files", files or self.files)
        waiting: SampleQueue = wrap("queue", queue or self.queue)
        conditioning: ConditioningCache = wrap("conditioning", self.caches)
        audio: VoiceAudioCache = wrap("audio", self.caches)
        self.personalities = PersonalityService(
            wrap("personalities", personalities or self.repository),
            self.clock,
            tenants=self.tenants,
            sleep=lambda _: None,
        )
        burial = SampleBurial(samples=stored, queue=waiting, clock=self.clock, sleep=lambda _: None)
        self.consents = VoiceConsentService(
            samples=stored,
            burial=burial,
            personalities=self.personalities,
            tenants=self.tenants,
            clock=self.clock,
            sleep=lambda _: None,
        )
        self.api = VoiceSampleService(
            samples=stored,
            files=kept,
            burial=burial,
            personalities=self.personalities,
            tenants=self.tenants,
            clock=self.clock,
            sleep=lambda _: None,
        )
        self.care = SampleCare(
            samples=stored,
            files=kept,
            queue=waiting,
            inspector=_inspector(),
            purger=SamplePurger(
                samples=stored,
                files=kept,
                conditioning=conditioning,
                audio=audio,
                personalities=self.personalities,
                observer=self.observer,
                clock=self.clock,
            ),
            personalities=self.personalities,
            observer=self.observer,
            clock=self.clock,
            sleep=lambda _: None,
        )

    def order(self, **changes: Any) -> SampleOrder:
        """An order of a recording for the one personality."""
        return SampleOrder(
            **{"tenant_id": "shop", "personality_id": "marcel", "by": "key-1", **changes}
        )

    def validated(self, data: bytes | None = None, **changes: Any) -> VoiceSample:
        """Uploads a recording and has it looked after; returns what became of it."""
        made = self.api.upload(self.order(**changes), data or good_recording())
        self.care.attend(made.tenant_id, made.id)
        return self.samples.get(made.tenant_id, made.id)

    def work_off(self) -> None:
        """Looks after every sample that somebody asked for, and those of them too."""
        while self.queue.waiting:
            self.care.attend(*self.queue.waiting.pop(0))


def bucket_event(path: str, **more: Any) -> dict[str, Any]:
    """What the queue hands over of an object that was created."""
    record = {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": path, **more}}}
    return {"Records": [{"body": json.dumps({"Records": [record]})}]}
