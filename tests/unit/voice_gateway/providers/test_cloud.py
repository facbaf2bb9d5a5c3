from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.credentials import FixedCredentials
from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.speech import SpeechRequest, WordTiming
from voice_gateway.domain.voices import Voice
from voice_gateway.providers.azure import AzureProvider, _ssml, billed_characters, billed_markup
from voice_gateway.providers.cloud import (
    Pcm16,
    Threads,
    VoiceList,
    applied,
    check_length,
    in_markup,
    in_quotes,
    within,
)
from voice_gateway.providers.google import GoogleProvider
from voice_gateway.providers.pipe import Pipe
from voice_gateway.providers.watson import WatsonProvider

VOICE = Voice(
    provider="nobody",
    name="amy",
    languages=("en-US",),
    gender=None,
    voice_class="plain",
    sample_rate=24_000,
    streaming=True,
)
DOWN = ProviderError("nobody", FailureReason.UNAVAILABLE, "away")


class TestMarkup:
    @given(st.text())
    def test_any_text_is_a_text_and_nothing_else(self, text: str) -> None:
        root = ElementTree.fromstring(f"<speak>{in_markup(text)}</speak>")
        assert list(root) == []
        writable = ElementTree.fromstring(f"<s>{in_markup(in_markup(text))}</s>").text or ""
        assert len(writable) >= len(root.text or "")

    @given(st.text())
    def test_nothing_leaves_its_quotation_marks(self, text: str) -> None:
        root = ElementTree.fromstring(f'<voice name="{in_quotes(text)}"/>')
        assert list(root.attrib) == ["name"]

    def test_what_can_be_written_is_kept(self) -> None:
        text = "a & b < c > \"d\" 'e' ]]> 🎉 שלום 你好"
        assert ElementTree.fromstring(f"<s>{in_markup(text)}</s>").text == text

    @pytest.mark.parametrize("character", ["\x00", "\x0b", "\ud800", "\ufffe"])
    def test_what_cannot_is_a_space(self, character: str) -> None:
        assert in_markup(f"a{character}b") == "a b"


class TestPcm16:
    @given(st.binary(max_size=64), st.lists(st.integers(0, 64), max_size=6))
    def test_cuts_do_not_matter(self, data: bytes, cuts: list[int]) -> None:
        data = data[: len(data) & ~1]
        pcm = Pcm16("nobody")
        edges = [0, *sorted(cuts), len(data)]
        pieces = [pcm.push(data[a:b]) for a, b in pairwise(edges)]
        pcm.finish()
        whole = np.frombuffer(data, "<i2").astype(np.float32) / 32768
        assert np.array_equal(np.concatenate(pieces), whole)
        assert pcm.samples == whole.size

    def test_half_a_sample_is_no_audio(self) -> None:
        pcm = Pcm16("nobody")
        pcm.push(b"\0\0\0")
        with pytest.raises(ProviderError) as failed:
            pcm.finish()
        assert failed.value.reason is FailureReason.BAD_AUDIO


def test_audio_is_as_long_as_its_words() -> None:
    words = [WordTiming("one", 0.0, 1.0), WordTiming("two", 1.0, 3.0)]
    check_length("nobody", 3.2, words)
    check_length("nobody", 2.0, words)
    check_length("nobody", 0.1, [])
    check_length("nobody", 0.0, words)  # none at all: the router's to judge
    with pytest.raises(ProviderError) as failed:
        check_length("nobody", 1.0, words)
    assert failed.value.reason is FailureReason.BAD_AUDIO


async def test_patience_ends() -> None:
    with pytest.raises(ProviderError) as failed:
        await within("nobody", 0.01, asyncio.Event().wait())
    assert failed.value.reason is FailureReason.TIMEOUT
    assert await within("nobody", 1.0, asyncio.sleep(0, "said")) == "said"


class TestVoiceList:
    async def test_is_fetched_once_by_however_many(self) -> None:
        fetches = 0

        async def fetch() -> tuple[Voice, ...]:
            nonlocal fetches
            fetches += 1
            await asyncio.sleep(0)
            return (VOICE,)

        listed = VoiceList(fetch)
        answers = await asyncio.gather(*(listed.get() for _ in range(8)))
        assert answers == [(VOICE,)] * 8
        assert fetches == 1

    async def test_is_fetched_again_when_it_is_old_and_kept_when_that_fails(self) -> None:
        now = 0.0
        given: list[tuple[Voice, ...] | ProviderError] = [DOWN, (VOICE,), DOWN, ()]

        async def fetch() -> tuple[Voice, ...]:
            answer = given.pop(0)
            if isinstance(answer, ProviderError):
                raise answer
            return answer

        listed = VoiceList(fetch, ttl_seconds=10, now=lambda: now)
        with pytest.raises(ProviderError):
            await listed.get()
        assert await listed.get() == (VOICE,)
        now = 11.0
        assert await listed.get() == (VOICE,)
        assert len(given) == 1
        now = 22.0
        assert await listed.get() == ()


class TestPipe:
    async def test_keeps_the_order_and_its_bound(self) -> None:
        pipe: Pipe[int] = Pipe(limit=2)
        put: list[int] = []

        def fill() -> None:
            for number in range(50):
                pipe.put(number)
                put.append(number)

        thread = threading.Thread(target=fill)
        thread.start()
        got = []
        for _ in range(50):
            got.append(await pipe.get())
            # One more may be handed over and not yet noted.
            assert len(put) <= len(got) + 2
        thread.join()
        assert got == list(range(50))

    async def test_closing_lets_go_of_who_waits(self) -> None:
        pipe: Pipe[int] = Pipe(limit=1)
        assert pipe.put(1)
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(pipe.put(2)))
        thread.start()
        pipe.close()
        await asyncio.to_thread(thread.join)
        assert answers == [False]
        assert not pipe.put(3)


async def test_work_that_hangs_leaves_the_common_threads_alone() -> None:
    threads, gate = Threads("nobody"), threading.Event()
    hanging = [asyncio.create_task(threads.run(gate.wait)) for _ in range(40)]
    await asyncio.sleep(0)
    assert await asyncio.to_thread(lambda: "the floor speaks") == "the floor speaks"
    gate.set()
    assert await asyncio.gather(*hanging) == [True] * 40


@pytest.mark.parametrize("kind", [AzureProvider, GoogleProvider, WatsonProvider])
async def test_credentials_that_cannot_be_read_are_the_failure(
    kind: type[AzureProvider | GoogleProvider | WatsonProvider],
) -> None:
    failure = ProviderError("nobody", FailureReason.AUTH, "its credentials cannot be read")
    with pytest.raises(ProviderError) as failed:
        await kind(FixedCredentials({}, failure)).voices()
    assert failed.value is failure


@pytest.mark.parametrize(
    ("provider", "voice", "price"),
    [
        (GoogleProvider, "en-US-Chirp3-HD-Kore", 30.0),
        (GoogleProvider, "cmn-CN-Wavenet-A", 4.0),
        (GoogleProvider, "en-US-Studio-O", 160.0),
        (GoogleProvider, "en-US-Chirp-HD-D", 30.0),
        (AzureProvider, "en-US-JennyNeural", 15.0),
        (AzureProvider, "en-US-Ava:DragonHDLatestNeural", 22.0),
        (WatsonProvider, "en-US_AllisonV3Voice", 20.0),
        (WatsonProvider, "en-US_EllieNatural", 20.0),
    ],
)
def test_a_voice_s_price_is_told_by_its_name(
    provider: type[AzureProvider | GoogleProvider | WatsonProvider], voice: str, price: float
) -> None:
    assert provider(FixedCredentials({})).capabilities.price(voice) == price


def test_azure_counts_chinese_characters_twice() -> None:
    assert billed_characters("Hi 你好, 東京 カナ") == len("Hi 你好, 東京 カナ") + 4
    assert billed_characters("Grüße 🎉") == len("Grüße 🎉")


@pytest.mark.parametrize("voice", ["en-US-JennyNeural", "en-US-Ava:DragonHDLatestNeural"])
@pytest.mark.parametrize(
    ("speed", "pitch"), [(1.0, 0.0), (1.25, 0.0), (1.0, -2.0), (0.9, 3.5), (9.0, -24.0)]
)
@pytest.mark.parametrize("text", ["Hi.", 'Salt & pepper: "<3", it\'s 5 > 4.'])
def test_azure_counts_all_that_stands_in_the_voice(
    voice: str, speed: float, pitch: float, text: str
) -> None:
    follows = frozenset({"speed", "pitch"}) if "HD" not in voice else frozenset[str]()
    spoken = replace(VOICE, name=voice, controls=follows)
    request = SpeechRequest(
        sentences=(text,), language="en", chain=("azure",), speed=speed, pitch=pitch
    )
    applied_speed = applied(request, spoken, "speed", 0.5, 2.0)
    applied_pitch = applied(request, spoken, "pitch", -12.0, 7.0)
    sent = _ssml(text, spoken, applied_speed, applied_pitch)
    inside = sent.partition(f'<voice name="{voice}">')[2].removesuffix("</voice></speak>")
    assert billed_characters(text) + billed_markup(request, voice) == len(inside)


def test_azures_own_example_of_what_it_bills() -> None:
    """Twelve voices said "about " at −10 %: 480 characters (Microsoft Q&A 5493673)."""
    request = SpeechRequest(sentences=("about ",), language="en", chain=("azure",), speed=0.9)
    # They wrote -10.00%, and we write -10.0%.
    one = billed_characters("about ") + billed_markup(request, "en-US-JennyNeural") + 1
    assert 12 * one == 480
