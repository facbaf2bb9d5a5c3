"""Looks after voice samples: one message of the queue at a time, and a sweep by the clock.

A message is an event of the bucket, or one of ours. A failure is raised: the queue hands the
message out again, and after the third time it lies among the dead letters.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

from voice_gateway import bootstrap
from voice_gateway.domain.samples.sample import sample_at
from voice_gateway.observability import log_failures, logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from voice_gateway.services.sample_care import SampleCare

_SCHEDULED: Final = "aws.events"


def handle(care: SampleCare, event: Mapping[str, Any]) -> dict[str, int]:
    """Does what an event asks for; says how many samples it was about."""
    if event.get("source") == _SCHEDULED:
        return {"swept": care.sweep()}
    # Each once: S3 may put several events of one object into a message.
    places = dict.fromkeys(
        place for record in event["Records"] for place in named_in(json.loads(record["body"]))
    )
    for place in places:
        care.attend(*place)
    return {"attended": len(places)}


def named_in(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields whose samples a message is about: tenants' and samples' ids."""
    if "sample" in message:
        yield message["tenant"], message["sample"]
    # What the bucket sends to see whether the queue is there has no records.
    for record in message.get("Records", ()):
        if place := sample_at(unquote_plus(record["s3"]["object"]["key"])):
            yield place


@cache
def _care() -> SampleCare:
    return bootstrap.sample_care()


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Lambda's entry."""
    logger().set_correlation_id(context.aws_request_id)
    with log_failures(context.aws_request_id):
        return handle(_care(), event)
