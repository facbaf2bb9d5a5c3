"""What calls functions on this machine beside the API: queues and the clock.

As Lambda does it: a message is handed out, and deleted when the function took it; one that failed
comes back, and after the queue's `maxReceiveCount` it lies among the dead letters. Only the pause
before it comes back is shorter than the queue's visibility timeout, so that nobody waits for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from layout import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambda_runtime import LocalFunction
    from template import QueueSource, Schedule

RETRY_SECONDS: Final = 1
_WAIT_SECONDS: Final = 1
"""How long one question waits for a message; a stop of the stack waits as long."""
_UNREACHABLE_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


async def drain(source: QueueSource, function: LocalFunction, sqs: Any) -> None:
    """Hands a queue's messages to a function until it is cancelled.

    Args:
        source: What the template says of it.
        function: Who takes the messages.
        sqs: A client of the local AWS.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    while True:
        try:
            await take(source, function, sqs)
        except (BotoCoreError, ClientError) as error:
            _log.warning("%s cannot be read: %s", source.queue, type(error).__name__)
            await asyncio.sleep(_UNREACHABLE_SECONDS)


async def take(
    source: QueueSource, function: LocalFunction, sqs: Any, *, wait: int = _WAIT_SECONDS
) -> int:
    """Hands out the next messages; returns how many there were."""
    answer = await asyncio.to_thread(
        sqs.receive_message,
        QueueUrl=source.url,
        MaxNumberOfMessages=source.batch_size,
        WaitTimeSeconds=wait,
        AttributeNames=["All"],
        MessageAttributeNames=["All"],
    )
    messages = answer.get("Messages", ())
    if not messages:
        return 0
    result = await function.invoke(json.dumps(queue_event(source, messages)).encode())
    if result.failed:
        _log.error("%s: %s", function.name, result.payload.decode(errors="replace")[:2000])
    for message in messages:
        handle = {"QueueUrl": source.url, "ReceiptHandle": message["ReceiptHandle"]}
        if result.failed:
            await asyncio.to_thread(
                sqs.change_message_visibility, **handle, VisibilityTimeout=RETRY_SECONDS
            )
        else:
            await asyncio.to_thread(sqs.delete_message, **handle)
    return len(messages)


async def tick(schedule: Schedule, function: LocalFunction) -> None:
    """Calls a function again and again until it is cancelled."""
    while True:
        await asyncio.sleep(schedule.seconds)
        result = await function.invoke(json.dumps(scheduled_event(schedule)).encode())
        if result.failed:
            _log.error("%s: %s", function.name, result.payload.decode(errors="replace")[:2000])


def queue_event(source: QueueSource, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The event of messages from SQS."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message.get("Attributes", {}),
                "messageAttributes": {},
                "md5OfBody": message.get("MD5OfBody", ""),
                "eventSource": "aws:sqs",
                "eventSourceARN": source.arn,
                "awsRegion": REGION,
            }
            for message in messages
        ]
    }


def scheduled_event(schedule: Schedule) -> dict[str, Any]:
    """The event of a rule that goes by the clock."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{schedule.rule}"],
        "detail": {},
    }
