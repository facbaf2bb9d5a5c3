"""The only Logger and Metrics of the functions.

Customers' text and audio never reach a log line: messages are fixed sentences, values are keys.
"""

from __future__ import annotations

import traceback
from functools import cache
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from voice_gateway.domain.errors import VoiceGatewayError

if TYPE_CHECKING:
    from voice_gateway.domain.receipt import Receipt

SERVICE = "voice"
NAMESPACE = "PersonalityVoices"


@cache
def logger() -> Logger:
    """The one logger, made on first use."""
    return Logger(service=SERVICE, utc=True)


@cache
def metrics() -> Metrics:
    """The one metrics sink (CloudWatch EMF on standard output), made on first use."""
    return Metrics(namespace=NAMESPACE, service=SERVICE)


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


class SpeechTelemetry:
    """Implements `ports.SpeechObserver`: a log line an answer, and its figures as metrics."""

    def served(self, tenant_id: str, receipt: Receipt) -> None:
        """Writes the line and the figures, by serving provider."""
        logger().info("speech served", tenant=tenant_id, receipt=receipt.model_dump(mode="json"))
        for turn in receipt.served:
            # One per answer: answers overlap, and the shared sink has one set of dimensions.
            figures = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
            figures.add_dimension("provider", turn.provider)
            figures.add_dimension("quality", receipt.asked.quality)
            figures.add_metric("Sentences", MetricUnit.Count, turn.sentences)
            figures.add_metric("Substituted", MetricUnit.Count, int(receipt.substituted))
            figures.add_metric("Incomplete", MetricUnit.Count, int(not receipt.complete))
            if receipt.first_audio_ms is not None:
                figures.add_metric("FirstAudio", MetricUnit.Milliseconds, receipt.first_audio_ms)
            figures.add_metric("Total", MetricUnit.Milliseconds, receipt.total_ms)
            figures.flush_metrics()

    def receipt_lost(self, tenant_id: str, receipt: Receipt, error: Exception) -> None:
        """Says that the line above is all there is."""
        logger().error(
            "receipt not stored",
            tenant=tenant_id,
            request=receipt.request_id,
            error=type(error).__name__,
        )
