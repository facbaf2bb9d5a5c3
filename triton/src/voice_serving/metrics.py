"""Our own metrics beside Triton's.

Triton measures `execute`, which returns at once in a decoupled model, so its own durations say
nothing about speech.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from voice_serving.backend import BackendUtils, Metric

LATENCY_BUCKETS_MS: Final = (10.0, 25.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0)
FACTOR_BUCKETS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 4.0)
BATCH_BUCKETS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class GuardedMetric:
    """One time series that several threads may write; it swallows everything where there is none.

    Triton's own metric objects are not safe: two threads that write one at the same time make the
    server read freed shared memory, and the whole server dies (seen with 2.51).
    """

    def __init__(self, metric: Metric | None, lock: threading.Lock) -> None:
        self._metric = metric
        self._lock = lock

    def increment(self, value: float) -> None:
        """Adds to a counter or a gauge."""
        if self._metric is not None:
            with self._lock:
                self._metric.increment(value)

    def set(self, value: float) -> None:
        """Replaces a gauge's value."""
        if self._metric is not None:
            with self._lock:
                self._metric.set(value)

    def observe(self, value: float) -> None:
        """Adds one observation to a histogram."""
        if self._metric is not None:
            with self._lock:
                self._metric.observe(value)


class ServingMetrics:
    """What a model reports, labelled with its name and version; nothing at all without Triton."""

    def __init__(self, utils: BackendUtils | None, model: str, version: str = "1") -> None:
        self._family_class: Any = getattr(utils, "MetricFamily", None)
        self._labels = {"model": model, "version": version}
        self._families: list[Any] = []
        self._lock = threading.Lock()

        self.first_audio_ms = self._histogram(
            "voice_first_audio_ms", "Milliseconds from admission to the first audio sent"
        )
        self.queue_ms = self._histogram(
            "voice_queue_ms", "Milliseconds that a request waited for a free worker"
        )
        self.in_flight = self._metric(
            "voice_in_flight", "Requests waiting or being spoken", "GAUGE"
        )
        self.rejected = self._metric(
            "voice_rejected_total", "Requests refused because the model was full", "COUNTER"
        )
        self.real_time_factor = self._histogram(
            "voice_real_time_factor", "Seconds of work for a second of audio", FACTOR_BUCKETS
        )
        self.batch_size = self._histogram(
            "voice_batch_size", "Sentences that one step of the model moved on", BATCH_BUCKETS
        )
        self.slots = self._metric("voice_slots", "Sentences that are being generated", "GAUGE")
        self.conditioning_hits = self._metric(
            "voice_conditioning_hits_total", "Cloned voices found in the cache", "COUNTER"
        )
        self.conditioning_misses = self._metric(
            "voice_conditioning_misses_total", "Cloned voices not found in the cache", "COUNTER"
        )

    def _histogram(
        self, name: str, description: str, buckets: tuple[float, ...] = LATENCY_BUCKETS_MS
    ) -> GuardedMetric:
        return self._metric(name, description, "HISTOGRAM", buckets=list(buckets))

    def _metric(self, name: str, description: str, kind: str, **options: Any) -> GuardedMetric:
        kind_code = getattr(self._family_class, kind, None)
        if kind_code is None:
            return GuardedMetric(None, self._lock)
        family = self._family_class(name=name, description=description, kind=kind_code)
        # A metric lives only as long as somebody holds its family.
        self._families.append(family)
        metric = family.Metric(labels=dict(self._labels), **options)
        return GuardedMetric(metric, self._lock)
