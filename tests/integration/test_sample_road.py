"""From the bucket through the queue to the function, in real processes that are killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
import redrive

import aws
import layout
import template
from event_sources import scheduled_event, take
from fakes.hostile import hostile_recordings, longest_recording
from fakes.sample_house import bad_recording, good_recording, personality
from lambda_runtime import LocalFunction
from processes import Part, Supervisor
from voice_gateway.adapters.dynamodb_personalities import DynamoPersonalities
from voice_gateway.adapters.dynamodb_samples import DynamoSamples
from voice_gateway.adapters.dynamodb_tenants import DynamoTenants
from voice_gateway.adapters.s3_sample_files import S3SampleFiles
from voice_gateway.adapters.sqs_sample_queue import SqsSampleQueue
from voice_gateway.adapters.system_clock import SystemClock
from voice_gateway.domain.samples.sample import SampleState
from voice_gateway.domain.tiers import Overrides, Plan, Tier
from voice_gateway.services.personalities import PersonalityService
from voice_gateway.services.sample_burial import SampleBurial
from voice_gateway.services.voice_samples import SampleOrder, VoiceSampleService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from template import Deployment
    from voice_gateway.domain.samples.sample import VoiceSample

pytestmark = pytest.mark.integration

KILLS = 20
ORDER = SampleOrder(tenant_id="shop", personality_id="marcel", by="key-1")


@dataclass
class Road:
    """The real stores, the service before them and the function behind them."""

    api: VoiceSampleService
    samples: DynamoSamples
    function: LocalFunction
    deployment: Deployment
    urls: dict[str, str]
    sqs: Any

    async def take(self) -> int:
        (source,) = self.deployment.queues
        return await take(source, self.function, self.sqs, wait=2)

    async def drain(self) -> None:
        while await self.take():
            pass

    async def clock_strikes(self) -> None:
        (schedule,) = self.deployment.schedules
        result = await self.function.invoke(json.dumps(scheduled_event(schedule)).encode())
        assert not result.failed, result.payload

    def state(self, sample: VoiceSample) -> SampleState:
        return self.samples.get("shop", sample.id).state

    def dead_letters(self) -> int:
        told = self.sqs.get_queue_attributes(
            QueueUrl=self.urls["SampleValidationDeadLetters"],
            AttributeNames=["ApproximateNumberOfMessages"],
        )
        return int(told["Attributes"]["ApproximateNumberOfMessages"])


@pytest.fixture(scope="module")
def local_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("aws")
    endpoint = f"http://127.0.0.1:{number}"
    part = Part(
        name="aws",
        command=[aws.install(layout.TOOLS)],
        environment={"PATH": os.defpath, **aws.environment(number, folder)},
        cwd=folder,
        ports=(),
        ready=lambda: aws.ready(endpoint),
    )
    supervisor = Supervisor(folder / "run", folder / "log")
    supervisor.start(part)
    yield endpoint
    supervisor.stop("aws")


@pytest.fixture
async def road(local_aws: str) -> AsyncIterator[Road]:
    parameters = {"TritonUrl": "127.0.0.1:8001", "DeletionProtection": "false"}
    translated = template.translate()
    with contextlib.ExitStack() as closing:
        cloudformation, s3, sqs = (
            closing.enter_context(contextlib.closing(aws.client(name, local_aws)))
            for name in ("cloudformation", "s3", "sqs")
        )
        urls = aws.deploy(cloudformation, template.storage(translated), parameters)
        deployment = template.deployment(translated, parameters, urls)
        resource = boto3.resource(
            "dynamodb",
            endpoint_url=local_aws,
            region_name=layout.REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        closing.callback(resource.meta.client.close)
        table, clock = resource.Table(urls["Table"]), SystemClock()
        tenants = DynamoTenants(table)
        tenants.put("shop", Plan(tier=Tier.PRO, overrides=Overrides(samples=1000)))
        repository, samples = DynamoPersonalities(table, clock), DynamoSamples(table)
        repository.create(personality())
        function = LocalFunction(
            deployment.functions["SampleValidationFunction"],
            python=Path(sys.executable),
            root=layout.FUNCTIONS,
            environment={**layout.aws_environment(), "AWS_ENDPOINT_URL": local_aws},
        )
        made = Road(
            api=VoiceSampleService(
                samples=samples,
                files=S3SampleFiles(s3, urls["SamplesBucket"], clock),
                burial=SampleBurial(
                    samples=samples, queue=SqsSampleQueue(sqs, urls["SampleQueue"]), clock=clock
                ),
                personalities=PersonalityService(repository, clock, tenants=tenants),
                tenants=tenants,
                clock=clock,
            ),
            samples=samples,
            function=function,
            deployment=deployment,
            urls=urls,
            sqs=sqs,
        )
        # The bucket has tried out whether the queue is there.
        await made.drain()
        yield made
        await function.aclose()
        cloudformation.delete_stack(StackName=aws.STACK)


async def test_both_ways_of_uploading_end_in_a_verdict(road: Road) -> None:
    direct = road.api.upload(ORDER, bad_recording())
    formed, form = road.api.request_upload(ORDER)
    with httpx.Client() as client:
        answer = client.post(form.url, data=dict(form.fields), files={"file": good_recording()})
    assert answer.status_code == 204
    await road.drain()
    assert road.state(direct) is SampleState.REJECTED
    assert road.state(formed) is SampleState.VALIDATED
    # What is cut from a sample lies beside it, and is no upload.
    assert road.dead_letters() == 0
    road.api.delete("shop", "marcel", formed.id, "key-1")
    await road.drain()
    assert road.state(formed) is SampleState.PURGED


async def test_no_upload_takes_more_than_the_function_has(road: Road, tmp_path: Path) -> None:
    """In a process that gets no more memory than Lambda would give it."""
    bound = road.deployment.functions["SampleValidationFunction"].memory
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nulimit -v {bound * 1024}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    whole = road.function
    road.function = LocalFunction(
        road.deployment.functions["SampleValidationFunction"],
        python=python,
        root=layout.FUNCTIONS,
        environment={**whole._environment, "TMPDIR": str(scratch)},
        concurrency=1,
    )
    made = {}
    for name, (data, code) in {
        **hostile_recordings(),
        "the longest": (longest_recording(), None),
        "a good one": (good_recording(), None),
    }.items():
        sample, form = road.api.request_upload(ORDER)
        with httpx.Client() as client:
            answer = client.post(form.url, data=dict(form.fields), files={"file": data})
        assert answer.status_code == 204
        made[name] = (sample, code)
    sample, form = road.api.request_upload(ORDER)
    with httpx.Client() as client:
        answer = client.post(form.url, data=dict(form.fields), files={"file": b""})
    assert answer.status_code == 400
    await road.drain()
    (worker,) = road.function._workers
    status = Path(f"/proc/{worker._process.pid}/status").read_text()
    (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    for name, (sample, code) in made.items():
        report = road.samples.get("shop", sample.id).report
        assert report is not None, name
        assert report.usable == (code is None), name
        assert code is None or report.findings[0].code is code, name
    assert road.dead_letters() == 0
    assert peak < bound * 1024
    assert list(scratch.iterdir()) == []
    await road.function.aclose()
    road.function = whole


async def test_a_validator_that_is_killed_loses_no_sample(road: Road) -> None:
    """Twenty kills at any point of its work; then everybody has a verdict."""
    moments = random.Random(20)
    made = [
        road.api.upload(ORDER, bad_recording() if number % 4 == 0 else good_recording())
        for number in range(KILLS)
    ]
    await road.function.warm()
    kills = tries = 0
    while kills < KILLS and tries < 5 * KILLS:
        tries += 1
        if not await _take_and_kill(road, moments.uniform(0, 0.5)):
            made.append(road.api.upload(ORDER, good_recording()))
            continue
        kills += 1
    assert kills == KILLS
    await road.drain()
    # Whoever was killed three times over the same sample left it among the dead letters.
    dead, queue = (road.urls[n] for n in ("SampleValidationDeadLetters", "SampleQueue"))
    brought = list(redrive.redrive(road.sqs, dead_letters=dead, queue=queue))
    assert all("samples/" in redrive.describe(body) for body in brought)
    await road.drain()
    states = [road.state(sample) for sample in made]
    assert set(states) <= {SampleState.VALIDATED, SampleState.REJECTED}
    assert states[::4][:5] == [SampleState.REJECTED] * 5
    assert road.dead_letters() == 0


async def _take_and_kill(road: Road, after: float) -> bool:
    """Hands out a message, and kills the process that has it; tells whether it had begun."""
    taking = asyncio.create_task(road.take())
    while not (busy := [w for w in road.function._workers if w._current is not None]):
        await asyncio.sleep(0.001)
        if taking.done():
            return False
    await asyncio.wait({taking}, timeout=after)
    begun = not taking.done()
    if begun:
        os.kill(busy[0]._process.pid, signal.SIGKILL)
    await taking
    return begun


async def test_what_fails_three_times_is_kept_and_brought_back(
    road: Road, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    road.sqs.send_message(QueueUrl=road.urls["SampleQueue"], MessageBody="not what anybody sends")
    for _ in range(3):
        assert await road.take() == 1
    assert await road.take() == 0
    assert road.dead_letters() == 1
    endpoint = road.sqs.meta.endpoint_url
    monkeypatch.setattr(redrive.parts, "endpoint", lambda: endpoint)
    assert redrive.main([]) == 0
    told = capsys.readouterr().out
    assert "SampleQueue: something unreadable" in told
    assert "SampleQueue: 1 brought back" in told
    assert "not what" not in told
    assert road.dead_letters() == 0
    assert await road.take() == 1


async def test_the_clock_finds_what_nobody_was_told_of(road: Road) -> None:
    sample = road.api.upload(ORDER, good_recording())
    await road.drain()
    buried = road.samples.get("shop", sample.id)
    road.api.delete("shop", "marcel", buried.id, "key-1")
    road.sqs.purge_queue(QueueUrl=road.urls["SampleQueue"])
    assert road.state(sample) is SampleState.PURGING
    await road.clock_strikes()
    await road.drain()
    assert road.state(sample) is SampleState.PURGED
