from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fakes.audio_cache import FakeAudioCache
from fakes.clock import FakeClock
from fakes.levels import FakeVoiceLevels
from fakes.providers import ScriptedProvider
from voice_gateway.domain.audio_cache import CachedSentence, SentenceKey, sentence_key
from voice_gateway.domain.errors import AllProvidersFailedError, FailureReason, ProviderError
from voice_gateway.domain.mastering import gain_for, mastered
from voice_gateway.domain.receipt import Attempt, Outcome
from voice_gateway.domain.speech import (
    Journal,
    ProviderCapabilities,
    SpeechChunk,
    SpeechRequest,
)
from voice_gateway.providers.cached import CachedProvider
from voice_gateway.providers.registry import ProviderRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

PRICED = ProviderCapabilities(
    languages=frozenset({"en"}), pitch=True, usd_per_million_characters=16.0
)
TEXT = ("One.", "Two.", "Three.", "Four.", "Five.")


class Chain:
    """A router as simple as can be: the chain in turn, a failure hands over the rest."""

    name = "fallback"
    capabilities = PRICED

    def __init__(self, *providers: ScriptedProvider) -> None:
        self.providers = {provider.name: provider for provider in providers}
        self.asked: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    async def warm_up(self) -> None: ...

    async def aclose(self) -> None: ...

    async def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        self.asked.append((request.chain, request.sentences))
        done = 0
        for name in request.chain:
            begun = done
            rest = replace(request, sentences=request.sentences[begun:])
            outcome = Outcome.SERVED
            try:
                async for chunk in self.providers[name].synthesize(rest):
                    yield replace(chunk, sentence=begun + chunk.sentence)
                    done = begun + chunk.sentence + 1
            except ProviderError:
                outcome = Outcome.FAILED
            request.journal.attempts.append(
                Attempt(provider=name, outcome=outcome, sentences=done - begun)
            )
            if outcome is Outcome.SERVED:
                return
        raise AllProvidersFailedError(request.journal.attempts)


class House:
    """The cached road, in memory."""

    def __init__(self, cache: FakeAudioCache | None = None) -> None:
        self.piper = ScriptedProvider("piper", PRICED, seconds=0.6)
        self.google = ScriptedProvider("google", PRICED, seconds=0.6)
        self.espeak = ScriptedProvider("espeak", PRICED, seconds=0.6)
        self.router = Chain(self.piper, self.google, self.espeak)
        self.registry = ProviderRegistry(
            {
                "piper": lambda: self.piper,
                "google": lambda: self.google,
                "espeak": lambda: self.espeak,
            }
        )
        self.cache = cache or FakeAudioCache()
        self.clock = FakeClock()
        self.levels = FakeVoiceLevels()
        self.provider = CachedProvider(
            self.router, self.registry, self.cache, self.levels, self.clock
        )

    async def heard(self, request: SpeechRequest) -> list[SpeechChunk]:
        chunks = [chunk async for chunk in self.provider.synthesize(request)]
        await asyncio.gather(*request.journal.afterwards)
        return chunks


@pytest.fixture
def house() -> House:
    return House()


def asked(
    sentences: Sequence[str] = TEXT, chain: Sequence[str] = ("piper", "google")
) -> SpeechRequest:
    return SpeechRequest(
        sentences=tuple(sentences),
        language="en",
        chain=tuple(chain),
        tenant_id="shop",
        personality_id="marcel",
        journal=Journal(),
    )


def order(chunks: Sequence[SpeechChunk]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for chunk in chunks:
        if not found or found[-1] != (chunk.provider, chunk.sentence):
            found.append((chunk.provider, chunk.sentence))
    return found


def story(request: SpeechRequest) -> list[tuple[str, str, int]]:
    return [(a.provider, a.outcome.value, a.sentences) for a in request.journal.attempts]


def key(sentence: str, provider: str = "piper") -> SentenceKey:
    return sentence_key(asked(), sentence, provider, PRICED)


async def kept(house: House, *sentences: str) -> None:
    """Has sentences spoken one by one, and forgets who was asked for them."""
    for sentence in sentences:
        await house.heard(asked([sentence]))
    house.router.asked.clear()
    house.piper.asked.clear()


async def test_the_words_and_the_likeness_are_kept_with_the_sentence(house: House) -> None:
    house.piper.match = 0.75
    house.piper.words = True
    first, second = await house.heard(asked()), await house.heard(asked())
    for sentence in range(len(TEXT)):
        told = [w for c in first if c.sentence == sentence for w in c.words]
        assert [w for c in second if c.sentence == sentence for w in c.words] == told != []
    assert {chunk.match for chunk in second} == {0.75}


async def test_what_was_spoken_is_not_spoken_again(house: House) -> None:
    first = await house.heard(asked())
    again = asked()
    second = await house.heard(again)
    assert [c.sentence for c in second] == [0, 1, 2, 3, 4]
    assert house.router.asked == [(("piper", "google"), TEXT)]
    assert story(again) == [("piper", "cached", 5)]
    saved = sum(a.cost_saved_usd for a in again.journal.attempts)
    assert saved == sum(map(len, TEXT)) * Decimal("0.000016")
    for sentence in range(5):
        spoken = np.concatenate([c.samples for c in first if c.sentence == sentence])
        assert np.array_equal(second[sentence].samples, spoken)
        assert second[sentence].voice == "piper-default"


async def test_each_run_of_missing_sentences_is_one_request(house: House) -> None:
    await kept(house, "One.", "Four.")
    request = asked()
    chunks = await house.heard(request)
    assert order(chunks) == [("piper", i) for i in range(5)]
    assert [sentences for _, sentences in house.router.asked] == [("Two.", "Three."), ("Five.",)]
    assert story(request) == [
        ("piper", "cached", 1),
        ("piper", "served", 2),
        ("piper", "cached", 1),
        ("piper", "served", 1),
    ]


async def test_what_is_kept_does_not_wait_for_what_is_not(house: House) -> None:
    await kept(house, "One.", "Two.")
    house.piper.hang_at = (0, 0)
    stream = house.provider.synthesize(asked())
    assert [(await anext(stream)).sentence, (await anext(stream)).sentence] == [0, 1]
    while not house.piper.asked:
        await asyncio.sleep(0)
    # Meanwhile the missing ones were begun; they end when the listener hangs up.
    assert house.piper.asked == [("Three.", "Four.", "Five.")]
    await stream.aclose()
    assert house.piper.closed == 3
    await house.provider.aclose()
    assert house.cache.claimed == {}


async def test_missing_sentences_are_made_while_kept_ones_go_out(house: House) -> None:
    await kept(house, "One.")
    stream = house.provider.synthesize(asked())
    await anext(stream)
    while house.piper.closed < 2:
        await asyncio.sleep(0)
    assert order([chunk async for chunk in stream]) == [("piper", i) for i in range(1, 5)]


async def test_what_was_made_ahead_and_not_heard_is_not_told_as_heard(house: House) -> None:
    await kept(house, "One.")
    request = asked()
    stream = house.provider.synthesize(request)
    await anext(stream)
    while house.piper.closed < 2:
        await asyncio.sleep(0)
    await stream.aclose()
    assert story(request) == [("piper", "cached", 1), ("piper", "served", 0)]
    assert request.journal.attempts[-1].reason == "cancelled"


@pytest.mark.parametrize(
    ("pieces", "sentences", "cut"), [(1, 1, True), (2, 1, False), (3, 2, True)]
)
async def test_who_hangs_up_heard_what_was_taken_of_what_was_made_ahead(
    house: House, pieces: int, sentences: int, cut: bool
) -> None:
    await kept(house, "One.")
    request = asked()
    stream = house.provider.synthesize(request)
    await anext(stream)
    while house.piper.closed < 2:
        await asyncio.sleep(0)
    for _ in range(pieces):
        await anext(stream)
    await stream.aclose()
    assert story(request) == [("piper", "cached", 1), ("piper", "served", sentences)]
    assert request.journal.attempts[-1].cut is cut
    assert request.journal.attempts[-1].reason == "cancelled"


async def test_what_was_made_ahead_gives_way_to_whoever_takes_over(house: House) -> None:
    await kept(house, "One.", "Two.")

    class Forgetful(FakeAudioCache):
        async def fetch(self, key: SentenceKey) -> CachedSentence | None:
            return None if key == second else await super().fetch(key)

    second, cache = key("Two."), Forgetful()
    cache.kept = house.cache.kept
    other = House(cache)
    request = asked()
    stream = other.provider.synthesize(request)
    chunks = [await anext(stream)]
    while other.piper.closed < 1:
        await asyncio.sleep(0)
    other.piper.fail_with = ProviderError("piper", FailureReason.UNAVAILABLE, "gone")
    chunks += [chunk async for chunk in stream]
    assert order(chunks) == [("piper", 0), *(("google", i) for i in range(1, 5))]
    assert sum(sentences for _, _, sentences in story(request)) == 5
    assert ("piper", "served", 0) in story(request)


async def test_time_is_left_to_speak_what_another_one_promised(house: House) -> None:
    waits: list[float] = []

    class Waiting(FakeAudioCache):
        async def wait_for(self, key: SentenceKey, seconds: float) -> CachedSentence | None:
            waits.append(seconds)
            return None

    other = House(Waiting())
    await other.cache.look_up([key("One.")])
    request = replace(asked(["One."]), deadline=other.clock.monotonic() + 3)
    assert order(await other.heard(request)) == [("piper", 0)]
    assert waits == [2.0]


async def test_whoever_takes_over_keeps_the_rest_whatever_is_kept_of_the_others(
    house: House,
) -> None:
    await kept(house, "One.", "Four.")
    house.piper.fail_with = ProviderError("piper", FailureReason.UNAVAILABLE, "gone")
    house.piper.fail_at = (1, 0)
    request = asked()
    chunks = await house.heard(request)
    assert order(chunks) == [
        ("piper", 0),
        ("piper", 1),
        ("google", 2),
        ("google", 3),
        ("google", 4),
    ]
    assert house.router.asked[-1] == (("google",), ("Four.", "Five."))
    assert house.cache.claimed == {}
    # What the substitute said is kept as the substitute's, and not as the other's.
    assert key("Three.", "google") in house.cache.kept
    assert key("Three.") not in house.cache.kept
    assert key("Two.") in house.cache.kept


async def test_two_callers_at_once_have_it_spoken_once(house: House) -> None:
    other = House(house.cache)
    requests = asked(), asked()
    one, two = await asyncio.gather(house.heard(requests[0]), other.heard(requests[1]))
    assert order(one) == order(two) == [("piper", i) for i in range(5)]
    assert len(house.piper.asked) + len(other.piper.asked) == 1
    assert {story(r)[0][1] for r in requests} == {"served", "cached"}


async def test_many_callers_with_other_texts_never_mix_and_never_hang() -> None:
    cache = FakeAudioCache()
    houses = [House(cache) for _ in range(12)]
    texts = [tuple(TEXT[(i + j) % 5] for j in range(5)) for i in range(12)]
    answers = await asyncio.gather(
        *(house.heard(asked(text)) for house, text in zip(houses, texts, strict=True))
    )
    for chunks in answers:
        assert order(chunks) == [("piper", i) for i in range(5)]
    assert cache.claimed == {}
    assert len(cache.kept) == 5


async def test_a_sentence_twice_in_a_text_is_spoken_once(house: House) -> None:
    request = asked(["One.", "One.", "Two.", "One."])
    chunks = await house.heard(request)
    assert order(chunks) == [("piper", i) for i in range(4)]
    assert sum(len(sentences) for _, sentences in house.router.asked) == 2


async def test_when_the_leader_dies_the_follower_speaks(house: House) -> None:
    house.piper.hang_at = (1, 0)
    dying = house.provider.synthesize(asked())
    assert (await anext(dying)).sentence == 0
    follower = House(house.cache)
    following = asyncio.create_task(follower.heard(asked()))
    while house.cache.calls["wait_for"] == 0:
        await asyncio.sleep(0)
    await dying.aclose()
    assert order(await following) == [("piper", i) for i in range(5)]
    assert house.cache.claimed == {}


async def test_a_leader_that_is_too_slow_is_not_waited_for(house: House) -> None:
    await house.cache.look_up([key("One.")])
    request = replace(asked(["One."]), deadline=house.clock.monotonic())
    assert order(await house.heard(request)) == [("piper", 0)]


async def test_bad_audio_is_heard_and_not_kept(house: House) -> None:
    house.piper.audio = np.concatenate((np.full(200, 1.0), np.zeros(8000))).astype(np.float32)
    await house.heard(asked(["One.", "One."]))
    assert house.cache.kept == {}
    assert house.cache.claimed == {}


async def test_a_sentence_that_broke_off_is_not_kept(house: House) -> None:
    house.piper.fail_with = ProviderError("piper", FailureReason.UNAVAILABLE, "gone")
    house.piper.fail_at = (1, 1)
    await house.heard(asked())
    assert {k for k in house.cache.kept if k == key("Two.")} == set()
    assert key("One.") in house.cache.kept


async def test_another_voice_than_the_pinned_one_is_not_kept(house: House) -> None:
    house.piper.voice = "somebody"
    await house.heard(replace(asked(), voices={"piper": "budtender"}))
    assert house.cache.kept == {}
    assert house.cache.claimed == {}


async def test_without_the_cache_all_is_as_if_it_were_not_there(house: House) -> None:
    await kept(house, *TEXT)
    house.cache.away = True
    request = asked()
    assert order(await house.heard(request)) == [("piper", i) for i in range(5)]
    assert story(request) == [("piper", "served", 5)]
    assert house.cache.calls["fetch"] == 0


async def test_what_was_evicted_meanwhile_is_spoken(house: House) -> None:
    await kept(house, "One.", "Two.")

    class Forgetful(FakeAudioCache):
        async def fetch(self, key: SentenceKey) -> CachedSentence | None:
            return None

    forgetful = Forgetful()
    forgetful.kept = house.cache.kept
    other = House(forgetful)
    assert order(await other.heard(asked())) == [("piper", i) for i in range(5)]


async def test_who_cannot_is_passed_over_as_the_router_would(house: House) -> None:
    chain = ("xtts_v2", "piper")
    house.router.providers["xtts_v2"] = house.piper
    await house.heard(replace(asked(), chain=("piper",)))
    request = asked(chain=chain)
    await house.heard(request)
    assert story(request) == [("xtts_v2", "passed_over", 0), ("piper", "cached", 5)]
    assert request.journal.attempts[0].reason == "not_configured"
    assert len(house.router.asked) == 1


async def test_the_floor_is_not_kept(house: House) -> None:
    for _ in range(2):
        await house.heard(asked(chain=("espeak",)))
    assert len(house.espeak.asked) == 2
    assert house.cache.kept == {}


async def test_what_the_provider_cannot_apply_is_told_of_cached_audio_too(house: House) -> None:
    request = replace(asked(), sample_path="s.wav")
    await house.heard(request)
    again = replace(request, journal=Journal())
    await house.heard(again)
    assert again.journal.not_applied == {"sample_path"}


async def test_a_dead_chain_is_an_error_and_leaves_no_claims(house: House) -> None:
    for provider in (house.piper, house.google):
        provider.fail_with = ProviderError(provider.name, FailureReason.UNAVAILABLE, "gone")
    request = asked()
    with pytest.raises(AllProvidersFailedError):
        await house.heard(request)
    assert [a.outcome for a in request.journal.attempts] == [Outcome.FAILED] * 2
    await house.provider.aclose()
    assert house.cache.claimed == {}


async def test_a_long_answers_claims_are_renewed(house: House) -> None:
    stream = house.provider.synthesize(asked())
    async for _ in stream:
        house.clock.advance(2)
    assert house.cache.calls["renew"] >= 2


async def test_what_the_budget_forbids_to_ask_still_speaks_from_the_cache(house: House) -> None:
    await house.heard(asked())
    request = replace(asked(), too_dear=frozenset({"piper"}))
    await house.heard(request)
    assert story(request) == [("piper", "cached", 5)]


async def test_what_is_wanted_fresh_is_spoken_and_not_kept(house: House) -> None:
    await house.heard(replace(asked(), fresh=True))
    assert house.cache.kept == {}
    await house.heard(asked())
    await house.heard(replace(asked(), fresh=True))
    assert len(house.router.asked) == 3


async def test_a_sentence_is_kept_ready_to_go_out_where_its_voice_is_known(house: House) -> None:
    await house.heard(asked(("One.",)))
    [raw] = house.cache.kept.values()
    assert raw.gain is None
    house.cache.kept.clear()
    house.levels.known[":piper:piper-default"] = -22.0
    spoken = await house.heard(asked(("One.",)))
    [kept] = house.cache.kept.values()
    [chunk] = await house.heard(asked(("One.",)))
    assert {piece.gain for piece in spoken} == {None}  # what is heard now is mastered above
    assert kept.gain == chunk.gain == gain_for(-22.0)
    whole = np.concatenate([piece.samples for piece in spoken])
    expected = mastered(whole, spoken[0].sample_rate, gain_for(-22.0))
    assert np.array_equal(chunk.samples, expected)
