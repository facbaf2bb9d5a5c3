from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fakes.providers import ScriptedProvider
from fakes.routing import routed
from fakes.virtual_time import VirtualClock
from voice_gateway.adapters.health_store import MemoryHealthStore
from voice_gateway.adapters.stored_health import StoredHealth
from voice_gateway.domain.chain import FLOOR
from voice_gateway.domain.errors import AllProvidersFailedError, FailureReason, ProviderError
from voice_gateway.domain.health import FAILURES_IN_A_ROW, FIRST_PAUSE_SECONDS, DoorKind
from voice_gateway.domain.receipt import Outcome
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.providers.registry import ProviderRegistry

if TYPE_CHECKING:
    from voice_gateway.domain.receipt import Attempt

pytestmark = pytest.mark.virtual_time

PAUSE = FIRST_PAUSE_SECONDS[DoorKind.FAILURES]


class House:
    """A router with its health, and scripted providers that can be changed between requests."""

    def __init__(self, *providers: ScriptedProvider) -> None:
        clock = VirtualClock()
        self.providers = {p.name: p for p in providers}
        self.health = StoredHealth(MemoryHealthStore(), clock)
        names = ProviderRegistry({n: lambda n=n: self.providers[n] for n in self.providers})  # type: ignore[misc]
        self.router = routed(names, clock, health=self.health)

    async def speak(
        self, *chain: str, tenant: str = "demo", strict: bool = False, sentences: int = 2
    ) -> list[Attempt]:
        request = SpeechRequest(
            sentences=tuple(f"Number {i}." for i in range(sentences)),
            language="en",
            chain=chain or tuple(self.providers),
            tenant_id=tenant,
            strict=strict,
        )
        try:
            async for _ in self.router.synthesize(request):
                pass
        finally:
            await asyncio.gather(*self.router._telling)
        return request.journal.attempts


def broken(
    name: str, reason: FailureReason = FailureReason.UNAVAILABLE, **more: object
) -> ScriptedProvider:
    error = ProviderError(name, reason, "broken", **more)  # type: ignore[arg-type]
    return ScriptedProvider(name, fail_with=error)


async def test_who_failed_often_is_passed_over_and_the_receipt_says_why() -> None:
    house = House(broken("piper"), ScriptedProvider("google"))
    for _ in range(FAILURES_IN_A_ROW):
        failed, _ = await house.speak()
        assert failed.reason == "unavailable"
    passed, served = await house.speak()
    assert (passed.outcome, passed.reason) == (Outcome.PASSED_OVER, "breaker_open")
    assert passed.detail == "unavailable until 2026-03-01T09:16:45Z"
    assert served.provider == "google"
    assert len(house.providers["piper"].asked) == FAILURES_IN_A_ROW


async def test_after_its_pause_one_request_tries_it_and_brings_it_back() -> None:
    house = House(broken("piper"), ScriptedProvider("google"))
    for _ in range(FAILURES_IN_A_ROW):
        await house.speak()
    house.providers["piper"].fail_with = None
    house.providers["piper"].wait = 1.0
    await asyncio.sleep(PAUSE)
    both = await asyncio.gather(house.speak(), house.speak())
    served = sorted(attempts[-1].provider for attempts in both)
    assert served == ["google", "piper"]
    passed = next(a for a in both[0] + both[1] if a.outcome is Outcome.PASSED_OVER)
    assert passed.detail == "unavailable, being tried" or passed.detail is not None
    (alone,) = await house.speak()
    assert alone.provider == "piper"


async def test_a_trial_opens_the_door_with_its_first_audio_not_with_its_end() -> None:
    house = House(broken("piper"), ScriptedProvider("google"))
    for _ in range(FAILURES_IN_A_ROW):
        await house.speak()
    house.providers["piper"].fail_with = None
    await asyncio.sleep(PAUSE)
    request = SpeechRequest(
        sentences=("One.", "Two."), language="en", chain=("piper",), tenant_id="demo"
    )
    chunks = house.router.synthesize(request)
    await anext(chunks)
    await asyncio.gather(*house.router._telling)
    assert (await house.speak())[0].provider == "piper"
    await chunks.aclose()


async def test_a_quota_is_shut_at_once_until_its_reset() -> None:
    house = House(
        broken("google", FailureReason.QUOTA, retry_after_seconds=3600), ScriptedProvider("azure")
    )
    await house.speak()
    await asyncio.sleep(3590)
    passed, _ = await house.speak()
    assert passed.reason == "breaker_open"
    assert passed.detail is not None
    assert passed.detail.startswith("quota until 2026-03-01T10:16:4")
    await asyncio.sleep(11)
    house.providers["google"].fail_with = None
    assert (await house.speak())[0].provider == "google"


async def test_one_tenant_s_refused_keys_close_the_door_for_nobody_else() -> None:
    house = House(broken("google", FailureReason.AUTH), ScriptedProvider("azure"))
    await house.speak(tenant="one")
    house.providers["google"].fail_with = None
    assert [a.provider for a in await house.speak(tenant="other")] == ["google"]
    assert (await house.speak(tenant="one"))[0].reason == "breaker_open"


async def test_when_all_are_shut_the_floor_still_speaks() -> None:
    house = House(broken("piper"), broken("google"), ScriptedProvider(FLOOR))
    for _ in range(FAILURES_IN_A_ROW):
        await house.speak()
    attempts = await house.speak()
    assert [(a.provider, a.outcome) for a in attempts] == [
        ("piper", Outcome.PASSED_OVER),
        ("google", Outcome.PASSED_OVER),
        (FLOOR, Outcome.SERVED),
    ]


async def test_the_floor_has_no_door() -> None:
    house = House(broken(FLOOR))
    for _ in range(2 * FAILURES_IN_A_ROW):
        with pytest.raises(AllProvidersFailedError):
            await house.speak()
    house.providers[FLOOR].fail_with = None
    assert (await house.speak())[0].outcome is Outcome.SERVED


async def test_who_wants_that_one_or_nobody_hears_when_to_come_back() -> None:
    house = House(broken("google", FailureReason.QUOTA, retry_after_seconds=120))
    with pytest.raises(AllProvidersFailedError) as first:
        await house.speak()
    assert first.value.retry_after_seconds == 120
    with pytest.raises(AllProvidersFailedError) as second:
        await house.speak(strict=True)
    assert second.value.retry_after_seconds == pytest.approx(120, abs=1)
    assert second.value.attempts[0].reason == "breaker_open"


async def test_what_only_the_request_is_to_blame_for_is_held_against_nobody() -> None:
    house = House(broken("piper", of_request=True), ScriptedProvider("google"))
    for _ in range(3 * FAILURES_IN_A_ROW):
        failed, _ = await house.speak()
        assert failed.reason == "unavailable"


async def test_a_refused_request_is_held_against_nobody() -> None:
    house = House(broken("piper", FailureReason.REJECTED))
    for _ in range(3 * FAILURES_IN_A_ROW):
        with pytest.raises(ProviderError):
            await house.speak()
    house.providers["piper"].fail_with = None
    assert (await house.speak())[0].outcome is Outcome.SERVED


async def test_silence_counts_once_somebody_else_has_said_the_sentence() -> None:
    silent = ScriptedProvider("piper", audio=np.zeros(800, np.float32))
    house = House(silent, ScriptedProvider("google"))
    for _ in range(FAILURES_IN_A_ROW):
        await house.speak()
    assert (await house.speak())[0].reason == "breaker_open"


async def test_what_nobody_can_say_is_nobody_s_fault() -> None:
    mute = np.zeros(800, np.float32)
    house = House(
        ScriptedProvider("piper", audio=mute),
        ScriptedProvider("google", audio=mute),
        ScriptedProvider(FLOOR, audio=mute),
    )
    for _ in range(3 * FAILURES_IN_A_ROW):
        with pytest.raises(AllProvidersFailedError):
            await house.speak()
    house.providers["piper"].audio = None
    assert [a.provider for a in await house.speak()] == ["piper"]


async def test_a_trial_that_nobody_judges_gives_its_place_back() -> None:
    house = House(broken("piper"), ScriptedProvider(FLOOR))
    for _ in range(FAILURES_IN_A_ROW):
        await house.speak()
    await asyncio.sleep(PAUSE)
    mute = np.zeros(800, np.float32)
    for name in house.providers:
        house.providers[name] = replace(house.providers[name], fail_with=None, audio=mute)
    house.router.registry._built.clear()
    with pytest.raises(AllProvidersFailedError):
        await house.speak()
    house.providers["piper"].audio = None
    assert [a.provider for a in await house.speak()] == ["piper"]


async def test_dying_in_the_middle_counts() -> None:
    house = House(broken("piper"), ScriptedProvider("google"))
    house.providers["piper"].fail_at = (1, 1)
    for _ in range(FAILURES_IN_A_ROW):
        assert [a.cut for a in await house.speak(sentences=3)] == [True, False]
    assert (await house.speak())[0].reason == "breaker_open"


async def test_hanging_up_proves_nothing_against_anybody() -> None:
    house = House(ScriptedProvider("piper", wait=1.0))
    for _ in range(2 * FAILURES_IN_A_ROW):
        task = asyncio.create_task(house.speak())
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait({task})
    assert (await house.speak())[0].outcome is Outcome.SERVED
