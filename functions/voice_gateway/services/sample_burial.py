"""Ends samples: unusable from one write on, and purged soon after."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from voice_gateway.domain.samples.sample import MAX_CHANGES
from voice_gateway.services.optimistic import until_written

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voice_gateway.domain.samples.sample import PurgeReason, VoiceSample
    from voice_gateway.ports import Clock, SampleQueue, SampleRepository


class SampleBurial:
    """Puts tombstones in the place of samples."""

    def __init__(
        self,
        *,
        samples: SampleRepository,
        queue: SampleQueue,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._samples = samples
        self._queue = queue
        self._clock = clock
        self._sleep = sleep

    def bury(
        self,
        tenant_id: str,
        concerned: Callable[[], Sequence[VoiceSample]],
        reason: PurgeReason,
        by: str,
    ) -> Sequence[VoiceSample]:
        """Makes samples unusable, all in one write, and has what is stored of them deleted.

        Args:
            tenant_id: Whose they are.
            concerned: Tells which, as they are now; asked again when somebody was faster. Those
                that are buried already stay as they are, and are deleted once more.
            reason: Why.
            by: Who wants it.

        Returns:
            What stands in their place, in the order of `concerned`.

        Raises:
            StaleWriteError: Others kept writing them.
            StorageUnavailableError: The table or the queue did not answer; ask again.
        """

        def bury() -> Sequence[VoiceSample]:
            now = self._clock.now()
            present = concerned()
            living = [sample for sample in present if sample.tombstone is None]
            buried = {sample.id: sample.buried(reason, by, now) for sample in living}
            for first in range(0, len(living), MAX_CHANGES):
                together = living[first : first + MAX_CHANGES]
                self._samples.replace(*((sample, buried[sample.id]) for sample in together))
            return [buried.get(sample.id, sample) for sample in present]

        gone = until_written(bury, self._sleep)
        for sample in gone:
            self._queue.attend(tenant_id, sample.id)
        return gone
