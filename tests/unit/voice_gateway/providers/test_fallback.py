from __future__ import annotations

import asyncio
from contextlib import aclosing
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fakes.providers import ScriptedProvider
from fakes.routing import routed
from fakes.virtual_time import VirtualClock
from voice_gateway.domain.chain import Quality
from voice_gateway.domain.errors import AllProvidersFailedError, FailureReason, ProviderError
from voice_gateway.domain.personality import AdvancedSettings
from voice_gateway.domain.receipt import Outcome
from voice_gateway.domain.speech import ProviderCapabilities, SpeechRequest
from voice_gateway.providers.registry import ProviderRegistry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_gateway.domain.speech import SpeechChunk
    from voice_gateway.providers.fallback import FallbackProvider

TEXT = ("One.", "Two two.", "Three.", "Four.")


PATIENCE = 6.0


pytestmark = pytest.mark.virtual_time


def router(*providers: ScriptedProvider, **options: object) -> FallbackProvider:
    registry = ProviderRegistry({p.name: lambda p=p: p for p in providers})  # type: ignore[misc]
    patience = dict.fromkeys(Quality, PATIENCE)
    return routed(registry, VirtualClock(), patience_seconds=patience, **options)


def request(
    chain: Sequence[str], sentences: tuple[str, ...] = TEXT, **more: object
) -> SpeechRequest:
    values = {"sentences": sentences, "language": "en", "chain": tuple(chain), **more}
    return SpeechRequest(**values)  # type: ignore[arg-type]


async def heard(fallback: FallbackProvider, asked: SpeechRequest) -> list[SpeechChunk]:
    return [chunk async for chunk in fallback.synthesize(asked)]


def order(chunks: Sequence[SpeechChunk]) -> list[tuple[str, int]]:
    """Who began which sentence."""
    return list(dict.fromkeys((c.provider, c.sentence) for c in chunks))


def unavailable(name: str) -> ProviderError:
    return ProviderError(name, FailureReason.UNAVAILABLE, "down")


async def test_the_first_of_the_chain_speaks_everything() -> None:
    first, second = ScriptedProvider("piper"), ScriptedProvider("google")
    asked = request(["piper", "google"])
    chunks = await heard(router(first, second), asked)
    assert order(chunks) == [("piper", i) for i in range(4)]
    assert second.asked == []
    (attempt,) = asked.journal.attempts
    assert (attempt.outcome, attempt.sentences, attempt.voice) == (
        Outcome.SERVED,
        4,
        "piper-default",
    )
    assert attempt.characters == sum(map(len, TEXT))


@pytest.mark.parametrize("reason", [r for r in FailureReason if r is not FailureReason.REJECTED])
async def test_falls_back_when_the_first_fails_before_any_audio(reason: FailureReason) -> None:
    first = ScriptedProvider("piper", fail_with=ProviderError("piper", reason, "why"))
    asked = request(["piper", "google"])
    chunks = await heard(router(first, ScriptedProvider("google")), asked)
    assert order(chunks) == [("google", i) for i in range(4)]
    failed, served = asked.journal.attempts
    assert (failed.outcome, failed.reason, failed.sentences) == (Outcome.FAILED, reason.value, 0)
    # What a vendor had begun to work on is billed, heard or not.
    worked = reason in (FailureReason.TIMEOUT, FailureReason.BAD_AUDIO)
    assert failed.characters == (len(asked.sentences[0]) if worked else 0)
    assert served.outcome is Outcome.SERVED


async def test_goes_on_at_the_next_sentence_when_one_was_heard_whole() -> None:
    first = ScriptedProvider("piper", fail_with=unavailable("piper"), fail_at=(2, 0))
    second = ScriptedProvider("google")
    asked = request(["piper", "google"])
    chunks = await heard(router(first, second), asked)
    assert order(chunks) == [("piper", 0), ("piper", 1), ("google", 2), ("google", 3)]
    assert second.asked == [TEXT[2:]]
    assert not asked.journal.attempts[0].cut


async def test_never_repeats_a_sentence_that_was_heard_in_part() -> None:
    first = ScriptedProvider("piper", fail_with=unavailable("piper"), fail_at=(1, 1))
    second = ScriptedProvider("google")
    asked = request(["piper", "google"])
    chunks = await heard(router(first, second), asked)
    assert order(chunks) == [("piper", 0), ("piper", 1), ("google", 2), ("google", 3)]
    assert second.asked == [TEXT[2:]]
    assert asked.journal.attempts[0].cut


async def test_breaking_off_in_the_last_sentence_bothers_nobody_and_does_not_end_well() -> None:
    first = ScriptedProvider("piper", fail_with=unavailable("piper"), fail_at=(3, 1))
    second = ScriptedProvider("google")
    asked = request(["piper", "google"])
    with pytest.raises(AllProvidersFailedError):
        await heard(router(first, second), asked)
    assert second.asked == []
    assert asked.journal.attempts[-1].cut


async def test_failing_after_the_last_sentence_harms_nobody() -> None:
    class Late(ScriptedProvider):
        async def synthesize(self, request):  # type: ignore[no-untyped-def]
            async for chunk in super().synthesize(request):
                yield chunk
            raise unavailable(self.name)

    asked = request(["piper", "google"])
    chunks = await heard(router(Late("piper"), ScriptedProvider("google")), asked)
    assert order(chunks) == [("piper", i) for i in range(4)]


class Speechless(ScriptedProvider):
    """Silent on its second sentence."""

    async def synthesize(self, request):  # type: ignore[no-untyped-def]
        async for chunk in super().synthesize(request):
            mute = request.sentences[chunk.sentence] == TEXT[1]
            yield _silenced(chunk) if mute else chunk


async def test_a_sentence_that_nobody_can_say_is_skipped_and_told() -> None:
    asked = request(["piper", "espeak", "azure"])
    chunks = await heard(router(Speechless("piper"), Speechless("espeak")), asked)
    assert order(chunks) == [("piper", 0), ("espeak", 2), ("espeak", 3)]
    failed, served = [a for a in asked.journal.attempts if a.outcome is not Outcome.PASSED_OVER]
    assert (failed.reason, failed.sentences, failed.skipped) == ("bad_audio", 1, 0)
    assert (served.sentences, served.skipped) == (3, 1)


async def test_a_last_sentence_that_nobody_can_say_does_not_spoil_the_rest() -> None:
    asked = request(["piper", "espeak"], TEXT[:2])
    chunks = await heard(router(Speechless("piper"), Speechless("espeak")), asked)
    assert order(chunks) == [("piper", 0)]
    failed, served = asked.journal.attempts
    assert (failed.sentences, served.sentences, served.skipped) == (1, 1, 1)


async def test_many_sentences_that_nobody_can_say_keep_nobody_waiting() -> None:
    class Late(ScriptedProvider):
        async def synthesize(self, request):  # type: ignore[no-untyped-def]
            async for chunk in super().synthesize(request):
                yield chunk if chunk.sentence == 7 else _silenced(chunk)

    asked = request(["espeak"], tuple(f"Number {i}." for i in range(8)))
    begun = asyncio.get_running_loop().time()
    assert order(await heard(router(Late("espeak")), asked)) == [("espeak", 7)]
    assert asyncio.get_running_loop().time() == begun
    assert asked.journal.attempts[0].skipped == 7


async def test_who_may_not_be_replaced_fails_where_the_floor_would_skip() -> None:
    asked = request(["piper"], strict=True)
    with pytest.raises(AllProvidersFailedError):
        await heard(router(Speechless("piper")), asked)
    (failed,) = asked.journal.attempts
    assert (failed.reason, failed.sentences, failed.skipped) == ("bad_audio", 1, 0)


async def test_a_text_that_nobody_can_say_at_all_is_a_failure() -> None:
    mute = ScriptedProvider("espeak", audio=np.zeros(800, np.float32))
    with pytest.raises(AllProvidersFailedError):
        await heard(router(mute), request(["espeak"]))


async def test_whoever_takes_over_keeps_the_rest() -> None:
    first = ScriptedProvider("piper", fail_with=unavailable("piper"), fail_at=(1, 0))
    second = ScriptedProvider("google", fail_with=unavailable("google"), fail_at=(1, 0))
    third = ScriptedProvider("azure")
    chunks = await heard(router(first, second, third), request(["piper", "google", "azure"]))
    assert order(chunks) == [("piper", 0), ("google", 1), ("azure", 2), ("azure", 3)]
    assert len(first.asked) == 1


async def test_rejected_ends_the_request() -> None:
    refusal = ProviderError("piper", FailureReason.REJECTED, "speed out of range")
    second = ScriptedProvider("google")
    asked = request(["piper", "google"])
    with pytest.raises(ProviderError, match="speed"):
        await heard(router(ScriptedProvider("piper", fail_with=refusal), second), asked)
    assert second.asked == []
    assert asked.journal.attempts[0].reason == "rejected"


async def test_the_chain_exhausted_says_what_was_tried() -> None:
    first = ScriptedProvider("piper", fail_with=unavailable("piper"))
    with pytest.raises(AllProvidersFailedError) as raised:
        await heard(router(first), request(["xtts_v2", "piper"]))
    assert [(a.provider, a.reason) for a in raised.value.attempts] == [
        ("xtts_v2", "not_configured"),
        ("piper", "unavailable"),
    ]


async def test_passes_over_who_does_not_speak_the_language() -> None:
    everywhere = ProviderCapabilities(languages=frozenset({"en", "de"}))
    asked = request(["piper", "google"], language="de-AT")
    chunks = await heard(
        router(ScriptedProvider("piper"), ScriptedProvider("google", everywhere)), asked
    )
    assert {c.provider for c in chunks} == {"google"}
    assert asked.journal.attempts[0].reason == "language"


async def test_a_strict_request_with_a_sample_passes_over_who_cannot_clone() -> None:
    asked = request(["piper"], strict=True, sample_path="tenants/t/samples/s/clean.wav")
    with pytest.raises(AllProvidersFailedError):
        await heard(router(ScriptedProvider("piper")), asked)
    assert asked.journal.attempts[0].reason == "cannot_clone"


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(0, np.float32),
        np.zeros(800, np.float32),
        np.full(800, 1e-4, np.float32),
        np.array([0.1, np.nan], np.float32),
        np.array([0.1, np.inf], np.float32),
    ],
    ids=["empty", "silent", "nearly silent", "nan", "infinite"],
)
async def test_audio_that_is_no_speech_is_a_failure(audio: np.ndarray) -> None:
    asked = request(["piper", "google"])
    chunks = await heard(
        router(ScriptedProvider("piper", audio=audio), ScriptedProvider("google")), asked
    )
    assert order(chunks) == [("google", i) for i in range(4)]
    assert asked.journal.attempts[0].reason == "bad_audio"


async def test_a_quiet_beginning_is_held_back_and_not_lost() -> None:
    class Soft(ScriptedProvider):
        async def synthesize(self, request):  # type: ignore[no-untyped-def]
            async for chunk in super().synthesize(request):
                quiet = not chunk.last
                yield chunk if not quiet else _silenced(chunk)

    chunks = await heard(router(Soft("piper")), request(["piper"], ("One.",)))
    assert [c.last for c in chunks] == [False, True]


def _silenced(chunk: SpeechChunk) -> SpeechChunk:
    from dataclasses import replace

    return replace(chunk, samples=np.zeros_like(chunk.samples))


async def test_who_stops_before_the_end_has_failed() -> None:
    class Short(ScriptedProvider):
        async def synthesize(self, request):  # type: ignore[no-untyped-def]
            async for chunk in super().synthesize(request):
                if chunk.sentence == 2:
                    return
                yield chunk

    asked = request(["piper", "google"])
    chunks = await heard(router(Short("piper"), ScriptedProvider("google")), asked)
    assert order(chunks) == [("piper", 0), ("piper", 1), ("google", 2), ("google", 3)]
    assert asked.journal.attempts[0].reason == "bad_audio"


async def test_no_first_audio_in_time_asks_the_next() -> None:
    slow = ScriptedProvider("piper", hang_at=(0, 0))
    asked = request(["piper", "google"])
    chunks = await heard(router(slow, ScriptedProvider("google")), asked)
    assert order(chunks) == [("google", i) for i in range(4)]
    assert asked.journal.attempts[0].reason == "timeout"
    assert slow.closed == 1


async def test_a_stall_in_the_middle_asks_the_next() -> None:
    slow = ScriptedProvider("piper", hang_at=(1, 0))
    chunks = await heard(router(slow, ScriptedProvider("google")), request(["piper", "google"]))
    assert order(chunks) == [("piper", 0), ("google", 1), ("google", 2), ("google", 3)]


async def test_a_deadline_that_is_over_leaves_no_time() -> None:
    clock = VirtualClock()
    asked = request(["piper"], deadline=clock.monotonic() - 1)
    with pytest.raises(AllProvidersFailedError):
        await heard(router(ScriptedProvider("piper", hang_at=(0, 0))), asked)
    assert asked.journal.attempts[0].reason == "timeout"


async def test_a_provider_s_own_bug_falls_back_and_keeps_its_words_to_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bug = ScriptedProvider("piper", fail_with=KeyError("the customer's words"))
    asked = request(["piper", "google"])
    chunks = await heard(router(bug, ScriptedProvider("google")), asked)
    assert order(chunks) == [("google", i) for i in range(4)]
    assert "KeyError" in str(asked.journal.attempts[0].detail)
    assert "customer" not in caplog.text + str(asked.journal.attempts)
    assert "piper" in caplog.text


async def test_hanging_up_cancels_the_provider_and_is_written_down() -> None:
    provider = ScriptedProvider("piper")
    asked = request(["piper"])
    async with aclosing(router(provider).synthesize(asked)) as chunks:
        await anext(chunks)
    assert provider.closed == 1
    (attempt,) = asked.journal.attempts
    assert (attempt.reason, attempt.sentences, attempt.cut) == ("cancelled", 1, True)


async def test_cancelling_the_task_cancels_the_provider() -> None:
    provider = ScriptedProvider("piper", hang_at=(0, 1))
    asked = request(["piper"])
    fallback = router(provider)
    begun = asyncio.Event()

    async def listen() -> None:
        async for _ in fallback.synthesize(asked):
            begun.set()

    task = asyncio.create_task(listen())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert provider.closed == 1
    assert asked.journal.attempts[0].reason == "cancelled"


async def test_says_which_settings_were_not_followed() -> None:
    advanced = AdvancedSettings(alpha=0.9)
    asked = request(["piper"], pitch=2.0, speed=1.2, sample_path="a/b", advanced=advanced)
    await heard(router(ScriptedProvider("piper")), asked)
    assert asked.journal.not_applied == {"advanced", "pitch", "sample_path"}


async def test_counts_what_a_vendor_bills_for_what_was_begun() -> None:
    priced = ProviderCapabilities(languages=frozenset({"en"}), usd_per_million_characters=16)
    first = ScriptedProvider("google", priced, fail_with=unavailable("google"), fail_at=(1, 1))
    asked = request(["google", "piper"])
    await heard(router(first, ScriptedProvider("piper")), asked)
    failed, served = asked.journal.attempts
    assert failed.characters == len("One.") + len("Two two.")
    assert failed.cost_usd == failed.characters * Decimal("0.000016")
    assert served.cost_usd == 0


async def test_what_came_is_billed_although_the_listener_had_gone() -> None:
    """A provider may be some pieces ahead of its listener: the vendor bills those as well."""
    priced = ProviderCapabilities(languages=frozenset({"en"}), usd_per_million_characters=16)
    provider = ScriptedProvider("google", priced, chunks=1, hang_at=(3, 0))
    asked = request(["google"])
    async with aclosing(router(provider).synthesize(asked)) as chunks:
        await anext(chunks)
        for _ in range(50):  # until it has come as far as it may
            await asyncio.sleep(0)
    (attempt,) = asked.journal.attempts
    assert attempt.sentences == 1
    assert attempt.characters == sum(map(len, TEXT))


async def test_an_unregistered_provider_is_gone_from_the_next_request_on() -> None:
    registry = ProviderRegistry({"piper": lambda: ScriptedProvider("piper")})
    fallback = routed(registry, VirtualClock())
    await heard(fallback, request(["piper"]))
    registry.unregister("piper")
    with pytest.raises(AllProvidersFailedError, match="not_configured"):
        await heard(fallback, request(["piper"]))


async def test_a_provider_is_built_once_and_only_when_asked() -> None:
    built: list[str] = []

    def factory(name: str) -> ScriptedProvider:
        built.append(name)
        return ScriptedProvider(name)

    registry = ProviderRegistry(
        {"piper": lambda: factory("piper"), "google": lambda: factory("google")}
    )
    fallback = routed(registry, VirtualClock())
    await heard(fallback, request(["piper", "google"]))
    await heard(fallback, request(["piper", "google"]))
    assert built == ["piper"]


async def test_a_listener_s_pauses_are_not_the_provider_s_time() -> None:
    asked = request(["piper"])
    async for _ in router(ScriptedProvider("piper")).synthesize(asked):
        await asyncio.sleep(100)
    assert asked.journal.attempts[0].elapsed_ms == 0
