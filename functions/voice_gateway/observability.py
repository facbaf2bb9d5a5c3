"""The only logger and metrics of the functions.

Customers' text and audio never reach a log line: messages are fixed sentences, values are keys.
"""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from voice_gateway.domain.errors import VoiceGatewayError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voice_gateway.domain.receipt import Attempt, Receipt
    from voice_gateway.domain.samples.sample import VoiceSample

SERVICE = "voice"
NAMESPACE = "PersonalityVoices"


@cache
def logger() -> Logger:
    """The one logger, made on first use."""
    return Logger(service=SERVICE, utc=True)


def log_failure(error: Exception, status: int, request_id: str) -> None:
    """Writes down where it broke, never what it said: an error's words may quote the customer."""
    logger().error(
        "request failed",
        request=request_id,
        status=status,
        error=type(error).__name__,
        # Our own errors promise to hold nothing of the customer's.
        detail=str(error) if isinstance(error, VoiceGatewayError) else None,
        where=[f"{f.filename}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)],
    )


@contextmanager
def log_failures(request_id: str) -> Iterator[None]:
    """Writes down what fails inside, and hands on that it failed, but not its words.

    Raises:
        FailedEventError: It failed.
    """
    try:
        yield
    except Exception as error:
        log_failure(error, 500, request_id)
        # Lambda writes whatever is raised to the log, and into the dead letters' attributes.
        raise FailedEventError(type(error).__name__) from None


class FailedEventError(Exception):
    """An event could not be dealt with; it holds the kind of error alone."""


def _figures(**dimensions: str) -> EphemeralMetrics:
    # A sink an answer: answers overlap, and Powertools' shared one has a single set of dimensions.
    figures = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
    for name, value in dimensions.items():
        figures.add_dimension(name, value)
    return figures


class SampleTelemetry:
    """Implements `ports.SampleObserver`: a log line a verdict, and the figures as metrics."""

    def judged(self, sample: VoiceSample) -> None:
        """Writes the line and the figure of a verdict."""
        grade = None if sample.report is None else sample.report.grade.value
        findings = [] if sample.report is None else [f.code.value for f in sample.report.findings]
        logger().info(
            "sample judged",
            tenant=sample.tenant_id,
            sample=sample.id,
            state=sample.state.value,
            grade=grade,
            findings=findings,
        )
        figures = _figures(state=sample.state.value)
        figures.add_metric("SamplesJudged", MetricUnit.Count, 1)
        figures.flush_metrics()

    def purged(self, sample: VoiceSample) -> None:
        """Writes the line and the figure of a purge."""
        reason = None if sample.tombstone is None else sample.tombstone.reason.value
        logger().info(
            "sample purged",
            tenant=sample.tenant_id,
            sample=sample.id,
            reason=reason,
            settled=sample.settled,
        )
        figures = _figures(reason=reason or "unknown")
        figures.add_metric("SamplesPurged", MetricUnit.Count, 1)
        figures.flush_metrics()


class SpeechTelemetry:
    """Implements `ports.SpeechObserver`: a log line an answer, and its figures as metrics."""

    def served(self, tenant_id: str, receipt: Receipt) -> None:
        """Writes the line, and the figures: the answer's once, and each speaker's sentences."""
        logger().info("speech served", tenant=tenant_id, receipt=receipt.model_dump(mode="json"))
        answer = _figures(asked=receipt.asked.provider, quality=receipt.asked.quality)
        answer.add_metric("Failed", MetricUnit.Count, 0)
        answer.add_metric("Substituted", MetricUnit.Count, int(receipt.substituted))
        answer.add_metric("Incomplete", MetricUnit.Count, int(not receipt.complete))
        if receipt.first_audio_ms is not None:
            answer.add_metric("FirstAudio", MetricUnit.Milliseconds, receipt.first_audio_ms)
        answer.add_metric("Total", MetricUnit.Milliseconds, receipt.total_ms)
        answer.flush_metrics()
        for turn in receipt.served:
            figures = _figures(provider=turn.provider)
            figures.add_metric("Sentences", MetricUnit.Count, turn.sentences)
            figures.flush_metrics()

    def failed(self, tenant_id: str, request_id: str, attempts: Sequence[Attempt]) -> None:
        """Writes the line and the figure of an answer that never was."""
        logger().error(
            "speech failed",
            tenant=tenant_id,
            request=request_id,
            attempts=[attempt.model_dump(mode="json") for attempt in attempts],
        )
        answer = _figures(asked=attempts[0].provider)
        answer.add_metric("Failed", MetricUnit.Count, 1)
        answer.flush_metrics()

    def receipt_lost(self, tenant_id: str, receipt: Receipt, error: Exception) -> None:
        """Says that the line above is all there is."""
        logger().error(
            "receipt not stored",
            tenant=tenant_id,
            request=receipt.request_id,
            error=type(error).__name__,
        )

    def miscounted(self, tenant_id: str, request_id: str, error: Exception) -> None:
        """Says by which request the tenant's count is too high."""
        logger().error(
            "characters not given back",
            tenant=tenant_id,
            request=request_id,
            error=type(error).__name__,
        )


class AuthorizationTelemetry:
    """Implements `ports.AuthorizationObserver`."""

    def use_not_noted(self, key_id: str, error: Exception) -> None:
        """Says of which key."""
        logger().error("key's use not noted", key=key_id, error=type(error).__name__)

    def keys_not_fetched(self, error: Exception) -> None:
        """Says why; what the provider answered stays out of it."""
        logger().error("identity provider's keys not fetched", error=type(error).__name__)
