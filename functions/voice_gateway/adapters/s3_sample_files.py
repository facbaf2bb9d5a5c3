"""The bytes of voice samples in a versioned S3 bucket."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from voice_gateway.domain.errors import StorageUnavailableError
from voice_gateway.domain.samples.requirements import MAX_BYTES
from voice_gateway.domain.samples.sample import UPLOAD_LIFETIME, StoredObject
from voice_gateway.domain.samples.upload import UploadForm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3.client import S3Client

    from voice_gateway.ports import Clock

_ENCRYPTION: Final = "AES256"
_MEDIA_TYPE: Final = "application/octet-stream"
"""Whatever somebody sends: no browser that is led there takes it for a page."""
_NOT_THERE: Final = ("NoSuchKey", "NoSuchVersion", "404", "405", "MethodNotAllowed")
"""405 is what S3 says of a delete marker that is asked for by its version."""


class S3SampleFiles:
    """Implements `ports.SampleFiles`."""

    def __init__(self, client: S3Client, bucket: str, clock: Clock) -> None:
        self._client = client
        self._bucket = bucket
        self._clock = clock

    def upload_form(self, path: str) -> UploadForm:
        """Makes a form for one original; see the port."""
        fields = {"Content-Type": _MEDIA_TYPE, "x-amz-server-side-encryption": _ENCRYPTION}
        seconds = int(UPLOAD_LIFETIME.total_seconds())
        with storage_errors():
            # The key goes into the policy by itself, exactly as it is here.
            made = self._client.generate_presigned_post(
                self._bucket,
                path,
                Fields=dict(fields),
                Conditions=[
                    *({name: value} for name, value in fields.items()),
                    ["content-length-range", 1, MAX_BYTES],
                ],
                ExpiresIn=seconds,
            )
        return UploadForm(
            url=made["url"],
            fields=made["fields"],
            expires_at=self._clock.now() + UPLOAD_LIFETIME,
            max_bytes=MAX_BYTES,
        )

    def write(self, path: str, data: bytes) -> StoredObject:
        """Stores bytes at a path; see the port."""
        with storage_errors():
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=path,
                Body=data,
                ContentType=_MEDIA_TYPE,
                ServerSideEncryption=_ENCRYPTION,
            )
        return _stored(answer, len(data))

    def latest(self, path: str) -> StoredObject | None:
        """Tells what lies at a path now; see the port."""
        with storage_errors() as missing:
            answer = self._client.head_object(Bucket=self._bucket, Key=path)
        return None if missing else _stored(answer, answer["ContentLength"])

    def read(self, path: str, version: StoredObject) -> bytes | None:
        """Fetches the bytes of one version; see the port."""
        with storage_errors() as missing:
            answer = self._client.get_object(
                Bucket=self._bucket, Key=path, VersionId=version.version_id
            )
            with answer["Body"] as body:
                return body.read()
        assert missing
        return None

    def purge(self, folder: str) -> None:
        """Deletes every version of everything below a folder; see the port."""
        with storage_errors():
            while True:
                listed = self._client.list_object_versions(Bucket=self._bucket, Prefix=folder)
                found = [*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())]
                if not found:
                    return
                doomed: Any = [{"Key": o["Key"], "VersionId": o["VersionId"]} for o in found]
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": doomed, "Quiet": True}
                )
                if answer.get("Errors"):
                    raise StorageUnavailableError("the bucket kept versions of a purged sample")


def _stored(answer: Any, size: int) -> StoredObject:
    # A bucket without versions names none; then `null` is the one there is.
    return StoredObject(
        version_id=answer.get("VersionId") or "null", etag=answer["ETag"].strip('"'), size=size
    )


@contextmanager
def storage_errors() -> Iterator[list[str]]:
    """Turns what boto raises into what the port promises.

    Yields:
        Stays empty, or gets the code with which the bucket said that there is no such object.

    Raises:
        StorageUnavailableError: Anything else that the bucket or the road to it said.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    missing: list[str] = []
    try:
        yield missing
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        if code not in _NOT_THERE:
            raise StorageUnavailableError(f"{error.operation_name}: {code}") from error
        missing.append(code)
    except BotoCoreError as error:
        raise StorageUnavailableError(type(error).__name__) from error
