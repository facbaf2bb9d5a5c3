"""Each vendor's provider, on the vendor's own SDK, against a server that speaks its protocol."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fakes.clock import FakeClock
from fakes.routing import routed
from voice_gateway.domain.audio import is_audible, is_sound
from voice_gateway.domain.chain import Quality
from voice_gateway.domain.errors import AllProvidersFailedError, FailureReason, ProviderError
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.domain.voice_match import SpeakerTraits
from voice_gateway.domain.voices import Gender
from voice_gateway.providers.registry import ProviderRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fakes.vendors import Vendors
    from voice_gateway.domain.speech import SpeechChunk

    from .conftest import Provider

pytestmark = pytest.mark.integration

SENTENCES = ("Good evening, and welcome in.", "How are you?", "Take your time.")
SECRET = "Zanzibar marmalade 4711"


@dataclass(frozen=True)
class Case:
    """A way to be spoken to."""

    vendor: str
    voice: str
    streams: bool = True

    def request(self, *sentences: str, **more: Any) -> SpeechRequest:
        values: dict[str, Any] = {"voices": {self.vendor: self.voice}, "language": "en", **more}
        return SpeechRequest(sentences=sentences or SENTENCES, chain=(self.vendor,), **values)


STREAMED = Case("google", "en-US-Chirp3-HD-Kore")
WHOLE = Case("google", "en-US-Neural2-C", streams=False)
AZURE = Case("azure", "en-US-JennyNeural")
WATSON = Case("watson", "en-US_AllisonV3Voice")
CASES = (STREAMED, WHOLE, AZURE, WATSON)

each_case = pytest.mark.parametrize(
    "case", CASES, ids=("google-streamed", "google-whole", "azure", "watson")
)
each_vendor = pytest.mark.parametrize("vendor", ["google", "azure", "watson"])


async def spoken(provider: Provider, request: SpeechRequest) -> list[SpeechChunk]:
    async with aclosing(provider.synthesize(request)) as chunks:
        return [chunk async for chunk in chunks]


def joined(chunks: Iterable[SpeechChunk]) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in chunks])


def seconds(chunks: list[SpeechChunk]) -> float:
    return sum(chunk.samples.size / chunk.sample_rate for chunk in chunks)


class TestSpeech:
    @each_case
    async def test_each_sentence_is_spoken_once_and_ended_once(
        self, make: Callable[..., Provider], vendors: Vendors, case: Case
    ) -> None:
        chunks = await spoken(make(case.vendor), case.request())
        order = [chunk.sentence for chunk in chunks]
        assert order == sorted(order)
        assert [c.sentence for c in chunks if c.last] == [0, 1, 2]
        assert {(c.provider, c.voice) for c in chunks} == {(case.vendor, case.voice)}
        assert all(c.samples.size for c in chunks if not c.last)
        for sentence in range(3):
            audio = joined(c for c in chunks if c.sentence == sentence)
            assert audio.dtype == np.float32
            assert is_sound(audio)
            assert is_audible(audio)
        calls = vendors.settled(case.vendor)
        assert [(c["text"], c["voice"], c["outcome"]) for c in calls] == [
            (sentence, case.voice, "whole") for sentence in SENTENCES
        ]

    @pytest.mark.parametrize("case", [c for c in CASES if c.streams], ids=lambda c: c.vendor)
    async def test_audio_is_heard_before_the_rest_of_it_is_sent(
        self, make: Callable[..., Provider], vendors: Vendors, case: Case
    ) -> None:
        vendors.order(case.vendor, "hold", after_pieces=1)
        async with aclosing(make(case.vendor).synthesize(case.request(SENTENCES[0]))) as chunks:
            first = await anext(chunks)
            assert first.samples.size
            (call,) = vendors.calls(case.vendor)
            assert (call["pieces"], call["outcome"]) == (1, "running")
            vendors.release()
            rest = [chunk async for chunk in chunks]
        assert len(rest) > 3

    @each_case
    async def test_callers_at_once_each_hear_their_own(
        self, make: Callable[..., Provider], case: Case
    ) -> None:
        provider = make(case.vendor)
        texts = ("Yes.", "A good deal longer than that, I should say.", "Perhaps so.")
        alone = [joined(await spoken(provider, case.request(text))) for text in texts]
        answers = await asyncio.gather(
            *(spoken(provider, case.request(texts[i % 3])) for i in range(12))
        )
        for index, answer in enumerate(answers):
            assert joined(answer).size == pytest.approx(alone[index % 3].size, rel=0.1)

    @pytest.mark.parametrize("case", [AZURE, WATSON], ids=lambda c: c.vendor)
    async def test_words_come_with_their_times(
        self, make: Callable[..., Provider], case: Case
    ) -> None:
        chunks = await spoken(make(case.vendor), case.request(SENTENCES[0]))
        words = [word for chunk in chunks for word in chunk.words]
        assert [word.word for word in words] == SENTENCES[0].split()
        assert all(before.end <= after.start + 1e-3 for before, after in pairwise(words))
        assert words[0].start < 0.1
        assert words[-1].end == pytest.approx(seconds(chunks), abs=0.05)

    @each_case
    @pytest.mark.parametrize(
        "text",
        [
            'Say <break time="9s"/> aloud.',
            "Close ]]> </voice></speak> it.",
            "Fish & chips &amp; <voice name='x'>you</voice>.",
            "Party 🎉 for שלום and مرحبا, 你好.",
            "\"Quoted\" and 'quoted', 3 < 4 > 2.",
            "<speak>All of it.</speak>",
        ],
    )
    async def test_markup_in_a_text_is_read_out_and_never_obeyed(
        self, make: Callable[..., Provider], vendors: Vendors, case: Case, text: str
    ) -> None:
        await spoken(make(case.vendor), case.request(text))
        (call,) = vendors.settled(case.vendor)
        assert call["text"] == text
        assert set(call["settings"].get("elements", ())) <= {"speak", "voice", "prosody"}
        assert not call["settings"].get("ssml")

    @each_case
    async def test_what_no_markup_can_hold_is_left_out(
        self, make: Callable[..., Provider], case: Case
    ) -> None:
        chunks = await spoken(make(case.vendor), case.request("Bell \x07 and \x00 null."))
        assert is_audible(joined(chunks))


class TestSettings:
    @each_case
    async def test_speed_is_the_vendor_s_own(
        self, make: Callable[..., Provider], vendors: Vendors, case: Case
    ) -> None:
        provider = make(case.vendor)
        usual = await spoken(provider, case.request())
        fast = await spoken(provider, case.request(speed=1.5))
        assert seconds(usual) / seconds(fast) == pytest.approx(1.5, rel=0.15)
        assert vendors.calls(case.vendor)[-1]["settings"]["speed"] == pytest.approx(1.5)

    @pytest.mark.parametrize("case", [WHOLE, AZURE, WATSON], ids=lambda c: c.vendor)
    async def test_pitch_is_told_in_the_vendor_s_unit(
        self, make: Callable[..., Provider], vendors: Vendors, case: Case
    ) -> None:
        chunks = await spoken(make(case.vendor), case.request("Aaaaaah.", pitch=4.0))
        assert {(chunk.speed, chunk.pitch) for chunk in chunks} == {(None, None)}
        told = vendors.calls(case.vendor)[-1]["settings"]
        if case is WATSON:
            assert told["pitch_percentage"] == 26  # 2 ** (4 / 12) is 1.26
        else:
            assert told["pitch"] == pytest.approx(4.0)

    @each_case
    async def test_what_is_out_of_range_is_bounded_and_owned_up_to(
        self, make: Callable[..., Provider], vendors: Vendors, case: Case
    ) -> None:
        chunks = await spoken(make(case.vendor), case.request("Hello there.", speed=4.0))
        assert vendors.calls(case.vendor)[-1]["settings"]["speed"] == pytest.approx(2.0)
        assert {(chunk.speed, chunk.pitch) for chunk in chunks} == {(2.0, None)}

    @pytest.mark.parametrize(
        "case",
        [STREAMED, Case("azure", "en-US-Ava:DragonHDLatestNeural")],
        ids=("chirp", "azure-hd"),
    )
    async def test_a_voice_that_has_no_pitch_is_not_told_one(
        self, make: Callable[..., Provider], case: Case
    ) -> None:
        chunks = await spoken(make(case.vendor), case.request("Hello.", pitch=3.0))
        assert {(chunk.speed, chunk.pitch) for chunk in chunks} == {(None, 0.0)}


class TestVoices:
    @pytest.mark.parametrize(
        ("vendor", "language", "gender", "voice"),
        [
            ("google", "en", None, "en-US-Chirp3-HD-Kore"),
            ("google", "en", Gender.MALE, "en-US-Chirp3-HD-Puck"),
            ("google", "en-GB", Gender.MALE, "en-GB-Wavenet-B"),
            ("google", "zh-cn", None, "cmn-CN-Wavenet-A"),
            ("google", "no", None, "nb-NO-Wavenet-A"),
            ("azure", "en", Gender.FEMALE, "en-US-JennyNeural"),
            ("azure", "en-gb", Gender.MALE, "en-GB-RyanNeural"),
            ("azure", "en-AU", Gender.MALE, "en-US-GuyNeural"),
            ("azure", "fr-CA", Gender.MALE, "fr-FR-HenriNeural"),
            ("azure", "de", Gender.MALE, "de-DE-KatjaNeural"),
            ("azure", "nb", None, "nb-NO-PernilleNeural"),
            ("watson", "en", Gender.MALE, "en-US_MichaelV3Voice"),
            ("watson", "fr", Gender.FEMALE, "fr-FR_ReneeV3Voice"),
        ],
    )
    async def test_language_and_gender_are_matched(
        self,
        make: Callable[..., Provider],
        vendor: str,
        language: str,
        gender: Gender | None,
        voice: str,
    ) -> None:
        provider = make(vendor)
        assert provider.capabilities.speaks(language)
        wanted = SpeakerTraits(language=language, gender=gender)
        request = Case(vendor, "").request("Hello.", voices={}, language=language, wanted=wanted)
        assert {chunk.voice for chunk in await spoken(provider, request)} == {voice}

    async def test_whoever_wants_a_pitch_gets_a_voice_that_has_one(
        self, make: Callable[..., Provider]
    ) -> None:
        request = STREAMED.request("Hello.", voices={}, pitch=2.0)
        chunks = await spoken(make("google"), request)
        assert {chunk.voice for chunk in chunks} == {"en-US-Neural2-C"}

    async def test_the_best_class_is_for_who_asks_for_the_highest(
        self, make: Callable[..., Provider]
    ) -> None:
        request = AZURE.request("Hello.", voices={}, quality=Quality.HIGHEST)
        chunks = await spoken(make("azure"), request)
        assert {chunk.voice for chunk in chunks} == {"en-US-Ava:DragonHDLatestNeural"}

    @each_vendor
    async def test_the_catalogue_tells_who_there_is(
        self, make: Callable[..., Provider], vendors: Vendors, vendor: str
    ) -> None:
        provider = make(vendor)
        voices = await provider.voices()
        assert len({voice.name for voice in voices}) == len(voices) >= 9
        assert {voice.provider for voice in voices} == {vendor}
        assert {voice.gender for voice in voices} == {Gender.FEMALE, Gender.MALE}
        assert all(voice.languages and voice.sample_rate >= 16_000 for voice in voices)
        assert all(provider.capabilities.price(voice.name) > 0 for voice in voices)
        await provider.voices()
        await spoken(provider, Case(vendor, voices[0].name).request("Hello."))
        assert len(vendors.calls(vendor, "voices")) == 1

    @each_vendor
    async def test_a_pinned_voice_that_is_gone_is_replaced_and_told(
        self, make: Callable[..., Provider], vendor: str
    ) -> None:
        request = Case(vendor, "en-US-Nobody").request("Hello.")
        assert await spoken(make(vendor), request)
        assert request.journal.not_applied == {"voice"}

    @each_vendor
    async def test_a_strict_request_wants_its_voice_or_none(
        self, make: Callable[..., Provider], vendors: Vendors, vendor: str
    ) -> None:
        with pytest.raises(ProviderError) as refused:
            await spoken(make(vendor), Case(vendor, "Nobody").request("Hello.", strict=True))
        assert refused.value.reason is FailureReason.REJECTED
        assert vendors.calls(vendor) == []

    @each_vendor
    async def test_a_pinned_name_may_be_written_in_any_case(
        self, make: Callable[..., Provider], vendor: str
    ) -> None:
        provider = make(vendor)
        name = (await provider.voices())[0].name
        chunks = await spoken(provider, Case(vendor, name.upper()).request("Hello."))
        assert {chunk.voice for chunk in chunks} == {name}

    async def test_a_language_without_a_voice(self, make: Callable[..., Provider]) -> None:
        with pytest.raises(ProviderError) as missing:
            await spoken(make("watson"), WATSON.request("Ciao.", voices={}, language="it"))
        assert missing.value.reason is FailureReason.UNAVAILABLE
        assert missing.value.of_request


REFUSALS = {
    "unauthorized": FailureReason.AUTH,
    "forbidden": FailureReason.AUTH,
    "quota": FailureReason.QUOTA,
    "error": FailureReason.UNAVAILABLE,
    "unavailable": FailureReason.UNAVAILABLE,
}
BROKEN = {
    "hang_before": FailureReason.TIMEOUT,
    "hang_within": FailureReason.TIMEOUT,
    "cut": FailureReason.UNAVAILABLE,
    "garbage": FailureReason.BAD_AUDIO,
}


class TestFaults:
    @each_case
    @pytest.mark.parametrize(("fault", "reason"), [*REFUSALS.items(), *BROKEN.items()])
    @pytest.mark.parametrize("sentence", [0, 2])
    async def test_a_fault_has_its_reason_and_spoils_one_sentence(
        self,
        make: Callable[..., Provider],
        vendors: Vendors,
        case: Case,
        fault: str,
        reason: FailureReason,
        sentence: int,
    ) -> None:
        vendors.order(case.vendor, fault, call=sentence + 1)
        provider = make(case.vendor, stall_seconds=0.3)
        heard: list[SpeechChunk] = []
        with pytest.raises(ProviderError) as failed:
            async for chunk in provider.synthesize(case.request()):
                heard.append(chunk)
        assert (failed.value.provider, failed.value.reason) == (case.vendor, reason)
        assert SENTENCES[sentence] not in str(failed.value)
        assert [chunk.sentence for chunk in heard if chunk.last] == list(range(sentence))
        calls = vendors.settled(case.vendor)
        assert [c["outcome"] for c in calls[:sentence]] == ["whole"] * sentence
        assert len(calls) == sentence + 1

    @each_case
    @pytest.mark.parametrize("fault", ["empty", "silence"])
    async def test_what_cannot_be_heard_goes_up_and_the_router_knows(
        self, make: Callable[..., Provider], vendors: Vendors, case: Case, fault: str
    ) -> None:
        vendors.order(case.vendor, fault)
        registry = ProviderRegistry({case.vendor: lambda: make(case.vendor)})
        request = case.request()
        with pytest.raises((ProviderError, AllProvidersFailedError)):
            async for _ in routed(registry, FakeClock()).synthesize(request):
                pass
        assert request.journal.attempts[0].reason == FailureReason.BAD_AUDIO

    @pytest.mark.parametrize("case", [WHOLE, WATSON], ids=lambda c: c.vendor)
    async def test_the_rate_is_the_one_that_is_declared(
        self, make: Callable[..., Provider], vendors: Vendors, case: Case
    ) -> None:
        provider = make(case.vendor)
        usual = await spoken(provider, case.request())
        vendors.order(case.vendor, "wrong_rate")
        chunks = await spoken(provider, case.request())
        assert {chunk.sample_rate for chunk in chunks} == {8000}
        assert seconds(chunks) == pytest.approx(seconds(usual), rel=0.02)

    async def test_azure_tells_a_wrong_rate_by_the_words_in_it(
        self, make: Callable[..., Provider], vendors: Vendors
    ) -> None:
        vendors.order("azure", "wrong_rate")
        with pytest.raises(ProviderError) as failed:
            await spoken(make("azure"), AZURE.request())
        assert failed.value.reason is FailureReason.BAD_AUDIO

    @each_case
    async def test_a_slow_drip_is_audio_all_the_same(
        self, make: Callable[..., Provider], vendors: Vendors, case: Case
    ) -> None:
        provider = make(case.vendor)
        usual = await spoken(provider, case.request("Yes."))
        vendors.order(case.vendor, "drip", pause_seconds=0.001)
        dripped = await spoken(provider, case.request("Yes."))
        assert is_audible(joined(dripped))
        assert seconds(dripped) == pytest.approx(seconds(usual), rel=0.02)

    @pytest.mark.parametrize("case", [STREAMED, WHOLE, WATSON], ids=("stream", "whole", "watson"))
    async def test_the_quota_s_reset_is_passed_on(
        self, make: Callable[..., Provider], vendors: Vendors, case: Case
    ) -> None:
        vendors.order(case.vendor, "quota", retry_after_seconds=17)
        with pytest.raises(ProviderError) as failed:
            await spoken(make(case.vendor), case.request())
        assert failed.value.retry_after_seconds == 17

    @each_vendor
    async def test_after_a_failure_the_next_request_is_served(
        self, make: Callable[..., Provider], vendors: Vendors, vendor: str
    ) -> None:
        case = next(c for c in CASES if c.vendor == vendor)
        provider = make(vendor, stall_seconds=0.3)
        for fault in ("cut", "hang_within", "unavailable", "garbage"):
            vendors.reset()
            vendors.order(vendor, fault)
            with pytest.raises(ProviderError):
                await spoken(provider, case.request())
            vendors.reset()
            assert len([c for c in await spoken(provider, case.request()) if c.last]) == 3

    @each_vendor
    async def test_a_wrong_key(self, make: Callable[..., Provider], vendor: str) -> None:
        wrong = {"key": "wrong", "api_key": "wrong"}
        with pytest.raises(ProviderError) as failed:
            await spoken(make(vendor, wrong), Case(vendor, "x").request())
        assert failed.value.reason is FailureReason.AUTH
        assert "wrong" not in str(failed.value)

    @each_vendor
    async def test_credentials_that_lack_a_field(
        self, make: Callable[..., Provider], vendor: str
    ) -> None:
        with pytest.raises(ProviderError) as failed:
            await spoken(make(vendor, {"key": "", "api_key": ""}), Case(vendor, "x").request())
        assert failed.value.reason is FailureReason.AUTH

    async def test_a_service_account_that_is_none(self, make: Callable[..., Provider]) -> None:
        with pytest.raises(ProviderError) as failed:
            await spoken(make("google", {"private_key": SECRET}), STREAMED.request())
        assert failed.value.reason is FailureReason.AUTH
        assert SECRET not in str(failed.value)

    @each_vendor
    async def test_nobody_there(self, make: Callable[..., Provider], vendor: str) -> None:
        nowhere = "127.0.0.1:9" if vendor == "google" else "http://127.0.0.1:9"
        account = {"endpoint": nowhere, "url": nowhere}
        with pytest.raises(ProviderError) as failed:
            await spoken(make(vendor, account), Case(vendor, "x").request())
        assert failed.value.reason is FailureReason.UNAVAILABLE

    @each_vendor
    @pytest.mark.parametrize(
        ("fault", "reason"), [*REFUSALS.items(), ("hang_before", FailureReason.TIMEOUT)]
    )
    async def test_voices_that_cannot_be_listed(
        self,
        make: Callable[..., Provider],
        vendors: Vendors,
        vendor: str,
        fault: str,
        reason: FailureReason,
    ) -> None:
        vendors.order(vendor, fault, operation="voices")
        provider = make(vendor, stall_seconds=0.3)
        with pytest.raises(ProviderError) as failed:
            await provider.voices()
        assert failed.value.reason is reason
        vendors.reset()
        assert await provider.voices()


class TestHangingUp:
    @each_case
    @pytest.mark.parametrize("after_pieces", [0, 1])
    async def test_ends_the_vendor_s_work(
        self, make: Callable[..., Provider], vendors: Vendors, case: Case, after_pieces: int
    ) -> None:
        provider = make(case.vendor)
        await provider.voices()
        vendors.order(case.vendor, "hold", after_pieces=after_pieces)
        waiting = asyncio.create_task(spoken(provider, case.request()))
        while not (calls := vendors.calls(case.vendor)) or calls[0]["pieces"] < after_pieces:
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        (call,) = await asyncio.to_thread(vendors.settled, case.vendor)
        assert call["outcome"] == "left"

    @each_vendor
    async def test_leaves_no_threads_behind(
        self, make: Callable[..., Provider], vendors: Vendors, vendor: str
    ) -> None:
        case = next(c for c in CASES if c.vendor == vendor)
        provider = make(vendor)
        await spoken(provider, case.request("Hello."))  # the SDK is imported and at work
        vendors.order(vendor, "hang_within")

        async def leave() -> None:
            async with aclosing(provider.synthesize(case.request())) as chunks:
                waiting = asyncio.ensure_future(anext(chunks))
                await asyncio.wait((waiting,), timeout=0.05)
                waiting.cancel()
                await asyncio.wait((waiting,))

        for _ in range(10):
            await leave()
        before = threads()
        for _ in range(30):
            await leave()
        # Some come and go in the libraries, one a request would be thirty.
        async with asyncio.timeout(30):
            while threads() > before + 10:
                await asyncio.sleep(0.02)


def threads() -> int:
    """Of this process, those of C libraries included."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


@each_case
async def test_nothing_of_a_text_or_a_key_is_logged(
    make: Callable[..., Provider],
    vendors: Vendors,
    case: Case,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    key = vendors.account(case.vendor).get("key") or vendors.account(case.vendor)["api_key"]
    for fault in (None, "cut", "unauthorized", "garbage"):
        vendors.reset()
        if fault:
            vendors.order(case.vendor, fault)
        request = case.request(f"{SECRET}.")
        try:
            await spoken(make(case.vendor), request)
        except ProviderError as error:
            assert SECRET not in str(error)
            assert error.__cause__ is None
    shown = "".join(capfd.readouterr()) + caplog.text
    assert SECRET not in shown
    assert key not in shown
