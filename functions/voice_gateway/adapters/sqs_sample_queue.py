"""The queue of those who look after voice samples: S3 writes its events there too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from voice_gateway.adapters.dynamodb_table import storage_errors

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient


class SqsSampleQueue:
    """Implements `ports.SampleQueue`."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def attend(self, tenant_id: str, sample_id: str) -> None:
        """Has a sample looked after soon; see the port."""
        body = json.dumps({"tenant": tenant_id, "sample": sample_id})
        with storage_errors():
            self._client.send_message(QueueUrl=self._url, MessageBody=body)
