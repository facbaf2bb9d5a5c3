from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fakes.providers import ScriptedProvider
from fakes.routing import FakeHedges, routed
from fakes.virtual_time import VirtualClock
from voice_gateway.adapters.health_store import MemoryHealthStore
from voice_gateway.adapters.stored_health import StoredHealth
from voice_gateway.domain.chain import FLOOR, Quality
from voice_gateway.domain.errors import AllProvidersFailedError, FailureReason, ProviderError
from voice_gateway.domain.receipt import Outcome
from voice_gateway.domain.speech import ProviderCapabilities, SpeechRequest
from voice_gateway.providers.registry import ProviderRegistry

if TYPE_CHECKING:
    from voice_gateway.domain.receipt import Attempt
    from voice_gateway.domain.speech import SpeechChunk

pytestmark = pytest.mark.virtual_time

TEXT = ("One.", "Two two.", "Three.")
BUDGET, PATIENCE = 2.0, 6.0
PRICED = ProviderCapabilities(languages=frozenset({"en"}), usd_per_million_characters=16)


class Spoken:
    """A text that was routed, and what became of it."""

    def __init__(self, *providers: ScriptedProvider, hedges: int = 1, **more: object) -> None:
        clock = VirtualClock()
        self.hedges = FakeHedges(hedges)
        self.health = StoredHealth(MemoryHealthStore(), clock)
        self.router = routed(
            ProviderRegistry({p.name: lambda p=p: p for p in providers}),  # type: ignore[misc]
            clock,
            hedges=self.hedges,
            health=self.health,
            patience_seconds=dict.fromkeys(Quality, PATIENCE),
            first_audio_seconds=dict.fromkeys(Quality, BUDGET),
        )
        values = {"sentences": TEXT, "language": "en", "tenant_id": "demo", **more}
        chain = tuple(p.name for p in providers)
        self.request = SpeechRequest(**{"chain": chain, **values})  # type: ignore[arg-type]
        self.chunks: list[SpeechChunk] = []
        self.seconds = 0.0

    async def run(self) -> Spoken:
        begun = asyncio.get_running_loop().time()
        async for chunk in self.router.synthesize(self.request):
            self.chunks.append(chunk)
        self.seconds = asyncio.get_running_loop().time() - begun
        return self

    @property
    def order(self) -> list[tuple[str, int]]:
        return list(dict.fromkeys((c.provider, c.sentence) for c in self.chunks))

    @property
    def attempts(self) -> dict[str, Attempt]:
        return {a.provider: a for a in self.request.journal.attempts}


async def test_who_is_in_time_gets_no_company() -> None:
    first = ScriptedProvider("piper", wait=BUDGET - 0.1)
    second = ScriptedProvider("google")
    spoken = await Spoken(first, second).run()
    assert second.asked == []
    assert spoken.hedges.left == 1
    assert spoken.hedges.requests == 1


async def test_beyond_the_budget_the_next_starts_beside_and_whoever_is_heard_first_goes_on() -> (
    None
):
    slow = ScriptedProvider("google", PRICED, wait=5.0)
    quick = ScriptedProvider("azure", wait=0.5)
    spoken = await Spoken(slow, quick).run()
    assert spoken.order == [("azure", i) for i in range(3)]
    assert spoken.seconds == pytest.approx(BUDGET + 0.5)
    assert slow.closed == 1
    lost, won = spoken.request.journal.attempts
    assert (lost.provider, lost.outcome, lost.hedge) == ("google", Outcome.HEDGE_LOST, False)
    assert (won.provider, won.outcome, won.hedge) == ("azure", Outcome.SERVED, True)
    # The sentence that it was at work on is paid all the same; nobody heard it.
    assert (lost.sentences, lost.characters) == (0, len(TEXT[0]))
    assert lost.cost_usd == len(TEXT[0]) * Decimal("0.000016")


async def test_the_slow_one_may_still_win() -> None:
    slow = ScriptedProvider("piper", wait=BUDGET + 0.5)
    slower = ScriptedProvider("google", wait=3.0)
    spoken = await Spoken(slow, slower).run()
    assert spoken.order == [("piper", i) for i in range(3)]
    assert slower.closed == 1
    assert spoken.attempts["google"].outcome is Outcome.HEDGE_LOST
    assert spoken.attempts["google"].hedge
    assert not spoken.attempts["piper"].hedge


async def test_who_lost_is_asked_again_when_the_winner_breaks_off() -> None:
    down = ProviderError("piper", FailureReason.UNAVAILABLE, "down")
    slow = ScriptedProvider("piper", wait=BUDGET + 0.5, fail_with=down, fail_at=(1, 1))
    other = ScriptedProvider("google", wait=1.0)
    spoken = await Spoken(slow, other).run()
    assert spoken.order == [("piper", 0), ("piper", 1), ("google", 2)]
    assert other.asked == [TEXT, TEXT[2:]]
    outcomes = [(a.provider, a.outcome) for a in spoken.request.journal.attempts]
    assert outcomes == [
        ("google", Outcome.HEDGE_LOST),
        ("piper", Outcome.FAILED),
        ("google", Outcome.SERVED),
    ]
    assert spoken.request.journal.attempts[1].cut


async def test_without_leave_it_waits_for_its_patience() -> None:
    slow = ScriptedProvider("piper", hang_at=(0, 0))
    spoken = await Spoken(slow, ScriptedProvider("google"), hedges=0).run()
    assert spoken.order == [("google", i) for i in range(3)]
    assert spoken.seconds == pytest.approx(PATIENCE)
    assert spoken.attempts["piper"].reason == "timeout"
    assert not spoken.attempts["google"].hedge


async def test_a_hang_beside_a_hedge_costs_the_budget_only() -> None:
    slow = ScriptedProvider("piper", hang_at=(0, 0))
    spoken = await Spoken(slow, ScriptedProvider("google")).run()
    assert spoken.seconds == pytest.approx(BUDGET)


async def test_when_both_hang_each_has_its_own_patience_and_the_third_speaks() -> None:
    providers = [ScriptedProvider(name, hang_at=(0, 0)) for name in ("piper", "google")]
    spoken = await Spoken(*providers, ScriptedProvider("azure")).run()
    assert spoken.order == [("azure", i) for i in range(3)]
    assert spoken.seconds == pytest.approx(BUDGET + PATIENCE)
    assert [a.outcome for a in spoken.request.journal.attempts] == [
        Outcome.FAILED,
        Outcome.FAILED,
        Outcome.SERVED,
    ]


async def test_a_rival_that_fails_leaves_the_first_to_it() -> None:
    down = ProviderError("google", FailureReason.UNAVAILABLE, "down")
    slow = ScriptedProvider("piper", wait=4.0)
    spoken = await Spoken(slow, ScriptedProvider("google", fail_with=down)).run()
    assert spoken.order == [("piper", i) for i in range(3)]
    assert spoken.attempts["google"].outcome is Outcome.FAILED
    assert spoken.attempts["google"].hedge


async def test_when_the_slow_one_fails_its_rival_goes_on() -> None:
    down = ProviderError("piper", FailureReason.UNAVAILABLE, "down")
    slow = ScriptedProvider("piper", wait=3.0, fail_with=down)
    spoken = await Spoken(slow, ScriptedProvider("google", wait=3.0)).run()
    assert spoken.order == [("google", i) for i in range(3)]
    assert spoken.seconds == pytest.approx(BUDGET + 3.0)
    assert spoken.attempts["piper"].outcome is Outcome.FAILED


async def test_silence_beside_somebody_who_may_speak_is_a_failure() -> None:
    silent = ScriptedProvider("piper", wait=3.0, audio=np.zeros(800, np.float32))
    spoken = await Spoken(silent, ScriptedProvider("google", wait=3.0)).run()
    assert spoken.order == [("google", i) for i in range(3)]
    assert spoken.attempts["piper"].reason == "bad_audio"


async def test_a_refusal_of_the_request_ends_both() -> None:
    refusal = ProviderError("piper", FailureReason.REJECTED, "speed")
    rival = ScriptedProvider("google", hang_at=(0, 0))
    spoken = Spoken(ScriptedProvider("piper", wait=3.0, fail_with=refusal), rival)
    with pytest.raises(ProviderError, match="speed"):
        await spoken.run()
    assert rival.closed == 1


async def test_the_floor_is_no_rival() -> None:
    slow = ScriptedProvider("piper", wait=4.0)
    floor = ScriptedProvider(FLOOR)
    spoken = await Spoken(slow, floor).run()
    assert spoken.order == [("piper", i) for i in range(3)]
    assert floor.asked == []
    assert spoken.hedges.left == 1


async def test_nobody_left_is_no_reason_to_spend_a_hedge() -> None:
    spoken = await Spoken(ScriptedProvider("piper", wait=4.0)).run()
    assert spoken.order == [("piper", i) for i in range(3)]
    assert spoken.hedges.left == 1


async def test_hanging_up_in_the_middle_of_a_race_ends_both() -> None:
    slow, rival = (ScriptedProvider(name, hang_at=(0, 0)) for name in ("piper", "google"))
    spoken = Spoken(slow, rival)
    task = asyncio.create_task(spoken.run())
    await asyncio.sleep(BUDGET + 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (slow.closed, rival.closed) == (1, 1)
    assert {p: (a.outcome, a.reason) for p, a in spoken.attempts.items()} == {
        "piper": (Outcome.SERVED, "cancelled"),
        "google": (Outcome.HEDGE_LOST, "cancelled"),
    }


async def test_hanging_up_while_the_rival_speaks_is_no_lost_hedge() -> None:
    slow, rival = ScriptedProvider("piper", hang_at=(0, 0)), ScriptedProvider("google")
    spoken = Spoken(slow, rival)
    async with aclosing(spoken.router.synthesize(spoken.request)) as chunks:
        await anext(chunks)
    assert spoken.attempts["google"].outcome is Outcome.SERVED
    assert spoken.attempts["google"].reason == "cancelled"
    assert (slow.closed, rival.closed) == (1, 1)


async def test_who_lost_leaves_no_settings_in_the_receipt() -> None:
    class Fussy(ScriptedProvider):
        async def synthesize(self, request):  # type: ignore[no-untyped-def]
            request.journal.not_applied.add("voice")
            async for chunk in super().synthesize(request):
                yield chunk

    spoken = await Spoken(Fussy("piper", hang_at=(0, 0)), ScriptedProvider("google")).run()
    assert spoken.request.journal.not_applied == set()
    told = await Spoken(Fussy("piper")).run()
    assert told.request.journal.not_applied == {"voice"}


async def test_a_slow_provider_leaves_time_for_the_last_resort() -> None:
    deadline = VirtualClock().monotonic() + 3.0
    slow = ScriptedProvider("piper", hang_at=(0, 0))
    floor = ScriptedProvider(FLOOR, wait=0.5)
    spoken = await Spoken(slow, floor, hedges=0, deadline=deadline).run()
    assert spoken.order == [(FLOOR, i) for i in range(3)]
    assert spoken.seconds == pytest.approx(2.5)
    detail = spoken.attempts["piper"].detail
    assert detail == "no first audio within 2.0 s, all the time that was left"
    # It was not given its patience, so it is not held against it.
    await spoken.router.aclose()
    assert (await spoken.health.overview(["piper"], "demo"))["piper"].bad == 0


async def test_all_the_time_is_for_who_is_alone() -> None:
    deadline = VirtualClock().monotonic() + 3.0
    late = ScriptedProvider("piper", wait=2.9)
    spoken = await Spoken(late, deadline=deadline).run()
    assert spoken.order == [("piper", i) for i in range(3)]
    with pytest.raises(AllProvidersFailedError):
        await Spoken(replace(late, wait=3.1), deadline=deadline).run()
