"""Brings dead letters back to the queue that they came from, and says which.

    python scripts/redrive.py                    of the local stack
    python scripts/redrive.py --stack NAME       of a stack on AWS, with the account in force

A letter is sent back first and deleted then: who dies in between sends it twice, and whoever takes
it may get it twice anyhow.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent / "stack"))

import aws
import parts

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUES: Final = {
    "SampleQueue": "SampleValidationDeadLetters",
    "SpeechJobsQueue": "SpeechJobsDeadLetters",
}
"""Queue → its dead letters, as template.yaml calls them."""
_AT_ONCE: Final = 10
_HIDDEN_SECONDS: Final = 60
"""How long a letter that is being sent back is shown to nobody else."""


def main(arguments: list[str] | None = None) -> int:
    """Brings back all that there is; returns the exit status."""
    parser = argparse.ArgumentParser(prog="redrive", description=__doc__)
    parser.add_argument("--stack", help="a CloudFormation stack; the local one without it")
    name = parser.parse_args(arguments).stack
    cloudformation, sqs = (_client(service, name) for service in ("cloudformation", "sqs"))
    found = cloudformation.describe_stack_resources(StackName=name or aws.STACK)["StackResources"]
    urls = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found}
    for queue, dead_letters in QUEUES.items():
        brought = list(redrive(sqs, dead_letters=urls[dead_letters], queue=urls[queue]))
        for body in brought:
            print(f"  {queue}: {describe(body)}")
        print(f"{queue}: {len(brought)} brought back")
    return 0


def redrive(sqs: Any, *, dead_letters: str, queue: str) -> Iterator[str]:
    """Moves the letters that lie there now, not those that come back meanwhile.

    Args:
        sqs: A client of SQS.
        dead_letters: URL of the queue to empty.
        queue: URL of the queue to fill.

    Yields:
        The body of each letter, when it was moved.
    """
    count = "ApproximateNumberOfMessages"
    attributes = sqs.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=[count])
    left = int(attributes["Attributes"][count])
    while left > 0:
        answer = sqs.receive_message(
            QueueUrl=dead_letters,
            MaxNumberOfMessages=min(left, _AT_ONCE),
            VisibilityTimeout=_HIDDEN_SECONDS,
            WaitTimeSeconds=1,
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages", ())
        if not messages:
            return
        for message in messages:
            sqs.send_message(
                QueueUrl=queue,
                MessageBody=message["Body"],
                MessageAttributes=message.get("MessageAttributes", {}),
            )
            sqs.delete_message(QueueUrl=dead_letters, ReceiptHandle=message["ReceiptHandle"])
            yield message["Body"]
        left -= len(messages)


def describe(body: str) -> str:
    """What a letter is about: keys and ids, never more of it."""
    try:
        message = json.loads(body)
        keys = [record["s3"]["object"]["key"] for record in message.get("Records", ())]
        ids = [f"{name} {message[name]}" for name in ("tenant", "sample", "job") if name in message]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "something unreadable"
    return ", ".join([*keys, *ids]) or "something unknown"


def _client(service: str, stack: str | None) -> Any:
    if stack is None:
        return aws.client(service, parts.endpoint())
    import boto3

    return boto3.client(service)  # type: ignore[call-overload]


if __name__ == "__main__":
    sys.exit(main())
