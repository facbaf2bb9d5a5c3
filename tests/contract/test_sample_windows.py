"""What providers clone from, in memory and in a real bucket."""

from __future__ import annotations

import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import boto3
import pytest

from fakes.windows import FakeSampleWindows, a_window
from voice_gateway.adapters.s3_sample_windows import S3SampleWindows
from voice_gateway.bootstrap import provider_registry
from voice_gateway.domain.errors import NotFoundError, StorageUnavailableError
from voice_gateway.settings import SpeechSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3.client import S3Client

    from voice_gateway.ports import SampleWindows

WAV = b"RIFF and so on"
HERE, GONE = (a_window("xtts_v2", letter * 64) for letter in "ab")


@pytest.fixture
def s3(aws_endpoint: str) -> Iterator[S3Client]:
    client = boto3.client(
        "s3",
        endpoint_url=aws_endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    with closing(client):
        yield client


@pytest.fixture(params=["fake", "real"])
def windows(request: pytest.FixtureRequest) -> SampleWindows:
    if request.param == "fake":
        return FakeSampleWindows({HERE.path: WAV})
    client: S3Client = request.getfixturevalue("s3")
    bucket = f"samples-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key=HERE.path, Body=WAV)
    return S3SampleWindows(client, bucket)


def test_the_audio_of_a_window_is_read(windows: SampleWindows) -> None:
    assert windows.fetch(HERE) == WAV


def test_what_was_purged_is_not_there(windows: SampleWindows) -> None:
    with pytest.raises(NotFoundError):
        windows.fetch(GONE)


def test_a_bucket_out_of_reach_is_no_missing_sample(s3: S3Client) -> None:
    with pytest.raises(StorageUnavailableError):
        S3SampleWindows(s3, "no bucket of this name").fetch(HERE)


@pytest.mark.parametrize(
    ("named", "cloning"), [("", set()), ("xtts_v2", {"xtts_v2"}), ("styletts2,xtts_v2", None)]
)
def test_the_models_that_clone_are_providers_where_they_are_named(named, cloning):
    settings = SpeechSettings(
        table_name="t", triton_url="localhost:1", samples_bucket="b", cloning_models=named
    )
    registry = provider_registry(settings)
    expected = {"xtts_v2", "styletts2"} if cloning is None else cloning
    assert set(registry.names()) - {"piper", "espeak"} == expected
