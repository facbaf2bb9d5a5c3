"""What providers clone from, read from the bucket of the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voice_gateway.adapters.s3_sample_files import storage_errors
from voice_gateway.domain.errors import NotFoundError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from voice_gateway.domain.samples.sample import PreparedWindow


class S3SampleWindows:
    """Implements `ports.SampleWindows`: the path names the content, so any version is the one."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def fetch(self, window: PreparedWindow) -> bytes:
        """Reads the WAV; see the port."""
        with storage_errors() as missing:
            answer = self._client.get_object(Bucket=self._bucket, Key=window.path)
            with answer["Body"] as body:
                return body.read()
        assert missing
        raise NotFoundError("The sample's audio is gone.")
