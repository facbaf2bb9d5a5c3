"""Samples in the table, the bucket and the queue: the same cases on the fakes and the adapters."""

from __future__ import annotations

import base64
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

from fakes.clock import FakeClock
from fakes.sample_house import NOW, SampleHouse, bad_recording, good_recording, personality
from fakes.samples import FakeSampleFiles, FakeSamples
from voice_gateway.adapters.dynamodb_personalities import DynamoPersonalities
from voice_gateway.adapters.dynamodb_samples import DynamoSamples
from voice_gateway.adapters.s3_sample_files import S3SampleFiles
from voice_gateway.adapters.sqs_sample_queue import SqsSampleQueue
from voice_gateway.domain.errors import (
    ConflictError,
    NotFoundError,
    PlanLimitError,
    StaleWriteError,
    StorageUnavailableError,
)
from voice_gateway.domain.samples.requirements import MAX_BYTES
from voice_gateway.domain.samples.sample import (
    MAX_CHANGES,
    PurgeReason,
    SampleState,
    StoredObject,
    VoiceSample,
    original_path,
)
from voice_gateway.domain.tiers import Ceiling, Stock, Tier
from voice_gateway.services.voice_consents import ConsentStatement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sqs.client import SQSClient

    from voice_gateway.ports import SampleFiles, SampleRepository

BOTH = ["fake", "real"]
SPEAKER = "Zoé Unsagbar"
TWO = Ceiling(stock=Stock.SAMPLES, limit=2, tier=Tier.FREE)


def _client(name: str, endpoint: str) -> Any:
    return boto3.client(  # type: ignore[call-overload]
        name,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@pytest.fixture
def s3(aws_endpoint: str) -> Iterator[S3Client]:
    with closing(_client("s3", aws_endpoint)) as client:
        yield client


@pytest.fixture
def sqs(aws_endpoint: str) -> Iterator[SQSClient]:
    with closing(_client("sqs", aws_endpoint)) as client:
        yield client


@pytest.fixture
def bucket(s3: S3Client) -> str:
    name = f"samples-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.fixture(params=BOTH)
def samples(request: pytest.FixtureRequest) -> SampleRepository:
    if request.param == "fake":
        return FakeSamples()
    return DynamoSamples(request.getfixturevalue("table"))


@pytest.fixture(params=BOTH)
def files(request: pytest.FixtureRequest) -> SampleFiles:
    clock = FakeClock(NOW)
    if request.param == "fake":
        return FakeSampleFiles(clock)
    return S3SampleFiles(request.getfixturevalue("s3"), request.getfixturevalue("bucket"), clock)


def sample(number: int = 1, tenant_id: str = "shop", **changes: Any) -> VoiceSample:
    moment = NOW + timedelta(seconds=number)
    return VoiceSample(
        **{
            "id": f"{number:032x}",
            "tenant_id": tenant_id,
            "personality_id": "marcel",
            "created_at": moment,
            "created_by": "key-1",
            "updated_at": moment,
            **changes,
        }
    )


class TestRecords:
    def test_are_given_back_as_they_were(self, samples: SampleRepository) -> None:
        samples.create(sample())
        stored = StoredObject(version_id="v", etag="e", size=5)
        received = sample().received(stored, NOW)
        samples.replace((sample(), received))
        assert samples.get("shop", received.id) == received

    def test_are_one_tenant_s(self, samples: SampleRepository) -> None:
        samples.create(sample())
        with pytest.raises(NotFoundError):
            samples.get("other", sample().id)
        with pytest.raises(NotFoundError):
            samples.get("shop", "\ud800")
        assert samples.of_personality("other", "marcel") == []

    def test_are_made_once(self, samples: SampleRepository) -> None:
        samples.create(sample())
        with pytest.raises(ConflictError):
            samples.create(sample())

    def test_only_as_many_as_there_is_room_for(self, samples: SampleRepository) -> None:
        samples.create(sample(1), ceiling=TWO)
        samples.create(sample(2), ceiling=TWO)
        with pytest.raises(PlanLimitError) as caught:
            samples.create(sample(3), ceiling=TWO)
        assert (caught.value.limit, caught.value.usage) == (2, 2)
        with pytest.raises(NotFoundError):
            samples.get("shop", sample(3).id)
        buried = [sample(n).buried(PurgeReason.DELETED, "key-1", NOW) for n in (1, 2)]
        samples.replace((sample(1), buried[0]), (sample(2), buried[1]))
        # What becomes of a tombstone gives no more room.
        samples.replace((buried[0], buried[0].purged(NOW)))
        samples.create(sample(3), ceiling=TWO)
        samples.create(sample(4), ceiling=TWO)
        with pytest.raises(PlanLimitError):
            samples.create(sample(5), ceiling=TWO)

    def test_of_many_at_once_so_many_are_made(self, samples: SampleRepository) -> None:
        def make(number: int) -> bool:
            while True:
                try:
                    samples.create(sample(number), ceiling=TWO)
                except StaleWriteError:
                    continue
                except PlanLimitError:
                    return False
                return True

        with ThreadPoolExecutor(10) as pool:
            assert sum(pool.map(make, range(20))) == 2

    def test_change_together_or_not_at_all(self, samples: SampleRepository) -> None:
        for number in (1, 2):
            samples.create(sample(number))
        ahead = sample(2).checked(NOW)
        samples.replace((sample(2), ahead))
        with pytest.raises(StaleWriteError):
            samples.replace(*((sample(n), sample(n).checked(NOW)) for n in (1, 2)))
        assert samples.get("shop", sample(1).id) == sample(1)
        assert samples.get("shop", sample(2).id) == ahead

    def test_as_many_as_a_transaction_takes(self, samples: SampleRepository) -> None:
        every = [sample(number) for number in range(MAX_CHANGES)]
        for each in every:
            samples.create(each)
        buried = [each.buried(PurgeReason.CONSENT_REVOKED, "key-1", NOW) for each in every]
        samples.replace(*zip(every, buried, strict=True))
        assert {s.state for s in samples.of_personality("shop", "marcel")} == {SampleState.PURGING}

    def test_are_listed_the_newest_first(self, samples: SampleRepository) -> None:
        for number in (2, 1, 3):
            samples.create(sample(number))
        samples.create(sample(4, personality_id="zac"))
        found = samples.of_personality("shop", "marcel")
        assert [s.id for s in found] == [sample(n).id for n in (3, 2, 1)]

    def test_are_due_when_their_time_has_come(self, samples: SampleRepository) -> None:
        first, second = sample(1), sample(2, tenant_id="other")
        for each in (first, second):
            samples.create(each)
        assert samples.due(NOW) == []
        assert first.due_at is not None
        assert samples.due(first.due_at) == [("shop", first.id)]
        late = NOW + timedelta(days=1)
        assert set(samples.due(late)) == {("shop", first.id), ("other", second.id)}
        buried = first.buried(PurgeReason.DELETED, "key-1", NOW)
        gone = buried.purged(NOW)
        settled = gone.purged(late)
        for pair in ((first, buried), (buried, gone), (gone, settled)):
            samples.replace(pair)
        assert samples.due(late + timedelta(days=999)) == [("other", second.id)]

    def test_say_when_the_table_is_away(self, unreachable_table: Table) -> None:
        away = DynamoSamples(unreachable_table)
        for act in (
            lambda: away.create(sample()),
            lambda: away.get("shop", sample().id),
            lambda: away.replace((sample(), sample().checked(NOW))),
            lambda: away.of_personality("shop", "marcel"),
            lambda: away.due(NOW),
        ):
            with pytest.raises(StorageUnavailableError):
                act()


class TestFiles:
    def test_every_version_can_be_read_until_all_are_purged(self, files: SampleFiles) -> None:
        path = original_path("shop", "0" * 32)
        assert files.latest(path) is None
        first = files.write(path, b"one")
        second = files.write(path, b"second")
        assert files.latest(path) == second
        assert (first.size, second.size) == (3, 6)
        assert files.read(path, first) == b"one"
        assert files.read(path, second) == b"second"
        other = files.write(original_path("shop", "1" * 32), b"other")
        files.purge("tenants/shop/samples/" + "0" * 32 + "/")
        assert files.latest(path) is None
        assert files.read(path, first) is None
        assert files.read(path, second) is None
        assert files.read(original_path("shop", "1" * 32), other) == b"other"
        files.purge("tenants/shop/samples/" + "0" * 32 + "/")

    def test_what_was_deleted_some_other_way_is_purged_too(self, s3: S3Client, bucket: str) -> None:
        path = original_path("shop", "0" * 32)
        files = S3SampleFiles(s3, bucket, FakeClock(NOW))
        files.write(path, b"one")
        s3.delete_object(Bucket=bucket, Key=path)
        assert files.latest(path) is None
        files.purge("tenants/shop/samples/" + "0" * 32 + "/")
        listed = s3.list_object_versions(Bucket=bucket)
        assert not listed.get("Versions")
        assert not listed.get("DeleteMarkers")

    def test_say_when_the_bucket_is_away(self, s3: S3Client) -> None:
        away = S3SampleFiles(s3, "nobody-made-this", FakeClock(NOW))
        version = StoredObject(version_id="v", etag="e", size=1)
        for act in (
            lambda: away.write("tenants/x", b"1"),
            lambda: away.read("tenants/x", version),
            lambda: away.purge("tenants/"),
        ):
            with pytest.raises(StorageUnavailableError):
                act()


class TestForm:
    """The real bucket's own checks: what a form lets pass, and what not."""

    @pytest.fixture
    def path(self) -> str:
        return original_path("shop", "0" * 32)

    @pytest.fixture
    def real(self, s3: S3Client, bucket: str) -> S3SampleFiles:
        return S3SampleFiles(s3, bucket, FakeClock(NOW))

    def _post(self, real: S3SampleFiles, path: str, data: bytes, **changes: str | None) -> int:
        form = real.upload_form(path)
        fields = {name: v for name, v in {**form.fields, **changes}.items() if v is not None}
        answer = httpx.post(form.url, data=fields, files={"file": ("x.html", data)})
        return answer.status_code

    def test_takes_the_recording_it_was_made_for(self, real: S3SampleFiles, path: str) -> None:
        assert self._post(real, path, b"RIFF") == 204
        assert (latest := real.latest(path)) is not None
        assert real.read(path, latest) == b"RIFF"

    def test_takes_nothing_else(self, real: S3SampleFiles, path: str) -> None:
        other = original_path("other", "0" * 32)
        assert self._post(real, path, b"RIFF", key=other) == 403
        assert self._post(real, path, b"") in (400, 403)
        encryption = "x-amz-server-side-encryption"
        assert self._post(real, path, b"RIFF", **{encryption: None}) == 403
        assert self._post(real, path, b"RIFF", **{encryption: "aws:kms"}) == 403
        assert self._post(real, path, b"RIFF", **{"Content-Type": "text/html"}) == 403
        assert self._post(real, path, bytes(MAX_BYTES + 1)) in (400, 403, 413)
        assert real.latest(path) is None
        assert real.latest(other) is None

    def test_is_good_for_a_while(self, real: S3SampleFiles, path: str) -> None:
        policy = json.loads(base64.b64decode(real.upload_form(path).fields["policy"]))
        ends = datetime.fromisoformat(policy["expiration"].replace("Z", "+00:00"))
        assert timedelta(minutes=14) < ends - datetime.now(UTC) <= timedelta(minutes=15)


class TestQueue:
    def test_tells_of_a_sample(self, sqs: SQSClient) -> None:
        url = sqs.create_queue(QueueName=f"samples-{uuid.uuid4().hex[:8]}")["QueueUrl"]
        SqsSampleQueue(sqs, url).attend("shop", "0" * 32)
        (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
        assert json.loads(message["Body"]) == {"tenant": "shop", "sample": "0" * 32}

    def test_says_when_it_is_away(self, sqs: SQSClient) -> None:
        with pytest.raises(StorageUnavailableError):
            SqsSampleQueue(sqs, "http://127.0.0.1/nobody/made-this").attend("shop", "0" * 32)


@pytest.fixture
def real_house(table: Table, s3: S3Client, bucket: str) -> SampleHouse:
    clock = FakeClock(NOW)
    personalities = DynamoPersonalities(table, clock)
    personalities.create(personality())
    return SampleHouse(
        clock=clock,
        samples=DynamoSamples(table),
        files=S3SampleFiles(s3, bucket, clock),
        personalities=personalities,
    )


def test_the_same_event_five_times_at_once_makes_one_report(real_house: SampleHouse) -> None:
    made = real_house.api.upload(real_house.order(), good_recording())
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda _: real_house.care.attend("shop", made.id), range(5)))
    assert [s.id for s in real_house.observer.verdicts] == [made.id]
    judged = real_house.api.get("shop", "marcel", made.id)
    assert judged.state is SampleState.VALIDATED
    # Made, received, judged, activated: and not one write more.
    assert judged.version == 4
    assert real_house.personalities.get("shop", "marcel").version == 2


def test_after_a_revocation_nothing_remains(
    real_house: SampleHouse, table: Table, s3: S3Client, bucket: str
) -> None:
    """Looks for the bytes, the hashes and the names in everything that there is."""
    house = real_house
    ids, hashes = [], set()
    for data in (bad_recording(), good_recording(), good_recording(180.0)):
        made = house.api.upload(house.order(), data)
        house.care.attend("shop", made.id)
        ids.append(made.id)
    # One that is uploaded a second time, and one that is on its way.
    house.files = S3SampleFiles(s3, bucket, house.clock)  # type: ignore[assignment]
    house.files.write(original_path("shop", ids[1]), good_recording(140.0))
    house.care.attend("shop", ids[1])
    waiting, _ = house.api.request_upload(house.order())
    spoken = house.api.get("shop", "marcel", ids[2])
    statement = ConsentStatement(speaker=SPEAKER, attested_by="Max", by="key-1", sample_id=ids[2])
    house.consents.give("shop", "marcel", statement)
    stranger = personality("lea", "other")
    DynamoPersonalities(table, house.clock).create(stranger)
    theirs = house.api.upload(
        house.order(tenant_id="other", personality_id="lea"), good_recording(200.0)
    )
    house.care.attend("other", theirs.id)
    for sample_id in ids:
        hashes |= set(house.api.get("shop", "marcel", sample_id).content_hashes)
    assert len(hashes) == 1 + 3 + 3 + 3
    house.caches.kept |= hashes | {"theirs"}

    house.consents.revoke("shop", "marcel", "key-9")
    house.work_off()
    # The form that was given out before is used now, and its event comes.
    house.files.write(waiting.path, good_recording())
    house.care.attend("shop", waiting.id)
    house.clock.advance(7200)
    house.care.sweep()
    house.work_off()

    listed = s3.list_object_versions(Bucket=bucket)
    left = {version["Key"] for version in listed.get("Versions", ())}
    assert left == {
        theirs.path,
        *(w.path for w in house.api.get("other", "lea", theirs.id).windows),
    }
    assert not listed.get("DeleteMarkers")
    assert house.caches.kept == {"theirs"}
    items = table.scan(ConsistentRead=True)["Items"]
    for item in items:
        text = json.dumps(item, default=str, ensure_ascii=False)
        assert SPEAKER not in text
        assert spoken.windows[0].path not in text
        if any(content_hash in text for content_hash in hashes):
            # Hashes remain in tombstones, and nowhere else.
            document = json.loads(item["document"])
            bare = json.dumps({k: v for k, v in document.items() if k != "tombstone"})
            assert document["state"] == "purged"
            assert not any(content_hash in bare for content_hash in hashes)
    pending = [item for item in items if item["PK"] == "PENDING"]
    assert [item["sample"] for item in pending] == [theirs.id]
    for sample_id in ids:
        tombstone = house.api.get("shop", "marcel", sample_id).tombstone
        assert tombstone is not None
        assert (tombstone.by, tombstone.reason) == ("key-9", PurgeReason.CONSENT_REVOKED)
    assert house.personalities.get("shop", "marcel").voice_config.sample_path is None
