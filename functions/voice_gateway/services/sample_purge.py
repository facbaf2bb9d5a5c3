"""Deletes everything of a voice but its tombstone."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from voice_gateway.domain.errors import NotFoundError

if TYPE_CHECKING:
    from voice_gateway.domain.samples.sample import VoiceSample
    from voice_gateway.ports import (
        Clock,
        ConditioningCache,
        SampleFiles,
        SampleObserver,
        SampleRepository,
        VoiceAudioCache,
    )
    from voice_gateway.services.personalities import PersonalityService


class SamplePurger:
    """Every step can be done again: whoever begins anew after a crash leaves nothing behind."""

    def __init__(
        self,
        *,
        samples: SampleRepository,
        files: SampleFiles,
        conditioning: ConditioningCache,
        audio: VoiceAudioCache,
        personalities: PersonalityService,
        observer: SampleObserver,
        clock: Clock,
    ) -> None:
        self._samples = samples
        self._files = files
        self._conditioning = conditioning
        self._audio = audio
        self._personalities = personalities
        self._observer = observer
        self._clock = clock

    def purge(self, sample: VoiceSample) -> None:
        """Deletes what is stored of a sample that has its tombstone.

        Also of one that was purged before: an upload, a look at it or an answer that was under way
        at that time may have stored something since.

        Raises:
            ValueError: It has no tombstone.
            StaleWriteError: Somebody else wrote the sample in between.
            StorageUnavailableError: Somebody did not answer; what was not deleted still is there.
        """
        if sample.tombstone is None:
            raise ValueError("only a buried sample can be purged")
        hashes = sample.tombstone.content_hashes
        self._files.purge(sample.folder)
        self._conditioning.forget(hashes)
        self._audio.purge(
            sample.tenant_id, personality_id=sample.personality_id, content_hashes=hashes
        )
        self._detach(sample)
        after = sample.purged(self._clock.now())
        if (after.state, after.settled) != (sample.state, sample.settled):
            self._samples.replace((sample, after))
            self._observer.purged(after)

    def _detach(self, sample: VoiceSample) -> None:
        # Deleted meanwhile: then the tombstone keeps anybody from speaking from the sample.
        with suppress(NotFoundError):
            self._personalities.speak_from(
                sample.tenant_id, sample.personality_id, None, instead_of=sample.path
            )
