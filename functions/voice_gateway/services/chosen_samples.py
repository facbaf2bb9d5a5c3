"""From a personality to the sample that it speaks from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voice_gateway.domain.errors import NotFoundError
from voice_gateway.domain.samples.sample import sample_at

if TYPE_CHECKING:
    from voice_gateway.domain.personality import Personality
    from voice_gateway.domain.samples.sample import VoiceSample
    from voice_gateway.ports import SampleRepository


class ChosenSamples:
    """Finds samples by what personalities hold of them."""

    def __init__(self, samples: SampleRepository) -> None:
        self._samples = samples

    def chosen(self, personality: Personality) -> VoiceSample | None:
        """Fetches the sample that a personality speaks from, a tombstone too.

        Returns:
            It; None when the personality names none, or none that the tenant has.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        place = sample_at(personality.voice_config.sample_path or "")
        if place is None or place[0] != personality.tenant_id:
            return None
        try:
            return self._samples.get(*place)
        except NotFoundError:
            return None
