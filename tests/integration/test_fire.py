"""Models in the real tritonserver under more requests than they can take, and hang-ups.

`make fire` is the long version, which also sees whether memory grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakes.fire import TARGETS, fire, under_fire
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
        assert metric(server, "voice_rejected_total") == report.outcomes["rejected"]
        if TARGETS[model].clones:
            assert metric(server, "voice_conditioning_hits_total") >= report.outcomes["answered"]
            assert metric(server, "voice_slots") == 0
        caller = Caller(server.grpc_url, model)
        assert caller.ask("Hello.").hear()[-1].final
        caller.close()
