"""Metrics that several threads write."""

from __future__ import annotations

import threading

from fakes.pb_utils import FakeBackend
from voice_serving.metrics import GuardedMetric, ServingMetrics

PATIENCE_SECONDS = 20.0


class SlowMetric:
    """A time series whose writer stays inside until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)
        self.inside = 0
        self.most_inside = 0

    def increment(self, value: float) -> None:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.entered.release()
        assert self.leave.acquire(timeout=PATIENCE_SECONDS)
        self.inside -= 1

    observe = increment


def test_one_thread_at_a_time_writes_whatever_the_metric():
    lock = threading.Lock()
    slow = SlowMetric()
    first, second = GuardedMetric(slow, lock), GuardedMetric(slow, lock)
    writers = [
        threading.Thread(target=first.increment, args=(1,)),
        threading.Thread(target=second.observe, args=(1,)),
    ]
    for writer in writers:
        writer.start()
    for _ in writers:
        assert slow.entered.acquire(timeout=PATIENCE_SECONDS)
        slow.leave.release()
    for writer in writers:
        writer.join()
    assert slow.most_inside == 1


def test_the_names_are_those_of_the_dashboards():
    backend = FakeBackend()
    ServingMetrics(backend, "piper")
    assert set(backend.metrics) == {
        "voice_first_audio_ms",
        "voice_queue_ms",
        "voice_in_flight",
        "voice_rejected_total",
        "voice_real_time_factor",
        "voice_batch_size",
        "voice_slots",
        "voice_conditioning_hits_total",
        "voice_conditioning_misses_total",
    }


def test_a_server_with_metrics_but_without_histograms_still_counts():
    backend = FakeBackend()
    backend.MetricFamily = type(
        "MetricFamily", (), {**vars(backend.MetricFamily.__mro__[1]), "made": backend.metrics}
    )
    del backend.MetricFamily.HISTOGRAM
    metrics = ServingMetrics(backend, "piper")
    metrics.queue_ms.observe(1.0)
    metrics.in_flight.increment(1)
    assert backend.metrics["voice_in_flight"].value == 1
