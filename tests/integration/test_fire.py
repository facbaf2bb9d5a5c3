"""Models in the real tritonserver under more requests than they can take, and hang-ups.

`make fire` is the long version, which also sees whether memory grows.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from fakes.fire import CAPACITY, SAMPLE_ID, TARGETS, fire, under_fire
from fakes.triton_caller import Caller, metric

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

REQUESTS = 300


@pytest.mark.parametrize("model", sorted(TARGETS))
async def test_a_crowd_that_comes_and_goes_leaves_nothing_behind(
    model: str, tmp_path: Path
) -> None:
    with under_fire(model, tmp_path) as (server, pid):
        report = await fire(model, server, pid, REQUESTS)
        report.check()
        assert report.outcomes.total() == REQUESTS
        # Some had hung up before they could read that there is no place.
        unread = metric(server, "voice_rejected_total") - report.outcomes["rejected"]
        assert 0 <= unread <= report.outcomes["cancelled"]
        if TARGETS[model].clones:
            assert metric(server, "voice_conditioning_hits_total") >= report.outcomes["answered"]
            assert metric(server, "voice_slots") == 0
        caller = Caller(server.grpc_url, model)
        voice = {"sample_ids": [SAMPLE_ID]} if TARGETS[model].clones else {}
        assert caller.ask("Hello.", **voice).hear()[-1].final
        caller.close()


def test_a_server_that_is_asked_to_end_says_what_it_has_begun_and_what_waits(
    tmp_path: Path,
) -> None:
    with under_fire("piper", tmp_path) as (server, pid):
        callers = [Caller(server.grpc_url, "piper") for _ in range(CAPACITY)]
        for caller in callers:
            caller.ask(*["One more sentence."] * 3)
        callers[0].next()
        os.kill(pid, signal.SIGTERM)
        spoken = [caller.hear() for caller in callers]
        assert [len(chunks) for chunks in spoken] == [2, *[3] * (CAPACITY - 1)]
        for caller in callers:
            caller.close()
    assert "closed" in (tmp_path / "log").read_text(errors="replace")
