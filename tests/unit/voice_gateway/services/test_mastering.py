from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fakes.levels import FakeVoiceLevels
from fakes.voices import roughness, vowel
from voice_gateway.domain.audio import silence
from voice_gateway.domain.mastering import PROVISIONAL_SECONDS, TARGET_LUFS, gain_for
from voice_gateway.domain.mastering import mastered as whole_mastered
from voice_gateway.domain.samples.loudness import integrated_loudness, true_peak
from voice_gateway.domain.speech import SpeechChunk, SpeechRequest
from voice_gateway.services.mastering import MasteredAudio, Mastering

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

RATE = 22_050
TEXT = ("One.", "Two?", "Three…", "Four.")


def said(
    sentence: int,
    seconds: float = 2.0,
    *,
    level: float = 0.3,
    rate: int = RATE,
    provider: str = "piper",
    last: bool = True,
    pieces: int = 4,
) -> list[SpeechChunk]:
    audio = np.concatenate((silence(0.4, rate), vowel(seconds, rate) * level, silence(0.4, rate)))
    parts = np.array_split(audio.astype(np.float32), pieces)
    chunks = [
        SpeechChunk(
            samples=part,
            sample_rate=rate,
            sentence=sentence,
            last=index == pieces - 1,
            provider=provider,
            voice="v",
        )
        for index, part in enumerate(parts)
    ]
    # A sentence that breaks off does so in the middle of a sound.
    return chunks if last else [replace(c, last=False) for c in chunks[: pieces // 2]]


async def stream(chunks: Iterable[SpeechChunk]) -> AsyncIterator[SpeechChunk]:
    for chunk in chunks:
        yield chunk


def asked(sentences: tuple[str, ...], sample: str = "") -> SpeechRequest:
    tenant, _, path = sample.partition("/")
    return SpeechRequest(
        sentences=sentences,
        language="en",
        chain=("piper",),
        tenant_id=tenant,
        sample_path=path or None,
    )


async def mastered(
    chunks: Iterable[SpeechChunk],
    levels: FakeVoiceLevels | None = None,
    *,
    sentences: tuple[str, ...] = TEXT,
    scope: str = "",
) -> list[MasteredAudio]:
    mastering = Mastering(levels or FakeVoiceLevels(), asked(sentences, scope))
    out = [piece async for piece in mastering.master(stream(chunks))]
    await mastering.remember()
    return out


def joined(pieces: Iterable[MasteredAudio]) -> np.ndarray:
    return np.concatenate([piece.samples for piece in pieces])


async def test_sentences_lose_their_silence_and_get_the_pause_of_their_mark() -> None:
    chunks = said(0, 1) + said(1, 1) + said(2, 1) + said(3, 1)
    seconds = joined(await mastered(chunks)).size / RATE
    # Each keeps 80 ms of its own silence; a full stop and a question mark ask for 0.3, … for 0.45.
    assert seconds == pytest.approx(4 * 1.08 + 0.3 + 0.3 + 0.45, abs=0.03)


@pytest.mark.parametrize("known", [False, True])
async def test_the_answer_has_the_target_loudness_and_never_clips(known: bool) -> None:
    levels = FakeVoiceLevels()
    for _ in range(1 + known):
        out = joined(await mastered(said(0) + said(1) + said(2) + said(3), levels))
    assert integrated_loudness(out, RATE) == pytest.approx(TARGET_LUFS, abs=1)
    assert true_peak(out) <= -0.9
    assert np.abs(out).max() < 1


async def test_sentences_keep_their_relation() -> None:
    levels = FakeVoiceLevels(**{":piper:v": -20.0})
    out = await mastered(said(0, level=0.2) + said(1, level=0.05), levels, sentences=TEXT[:2])
    audio = joined(out)
    loud, quiet = audio[RATE // 2 : RATE], audio[-RATE : -RATE // 2]
    assert 20 * np.log10(np.std(loud) / np.std(quiet)) == pytest.approx(12, abs=0.5)


async def test_whoever_takes_over_is_as_loud() -> None:
    chunks = said(0) + said(1) + said(2, level=0.1, rate=16_000, provider="espeak")
    chunks += said(3, level=0.1, rate=16_000, provider="espeak")
    out = await mastered(chunks)
    for rate in (RATE, 16_000):
        own = joined(piece for piece in out if piece.sample_rate == rate)
        assert integrated_loudness(own, rate) == pytest.approx(TARGET_LUFS, abs=1)


async def test_a_voice_is_measured_once() -> None:
    levels = FakeVoiceLevels()
    await mastered(said(0) + said(1), levels, sentences=TEXT[:2])
    kept = dict(levels.known)
    assert list(kept) == [":piper:v"]
    await mastered(said(0, level=0.9) + said(1, level=0.9), levels, sentences=TEXT[:2])
    assert levels.known == kept


async def test_a_word_is_too_little_to_remember_a_voice_by() -> None:
    levels = FakeVoiceLevels()
    await mastered(said(0, 0.5), levels, sentences=TEXT[:1])
    assert levels.known == {}


async def test_cloned_voices_of_one_name_are_told_apart() -> None:
    levels = FakeVoiceLevels()
    for scope in ("a/s1", "b/s1"):
        await mastered(said(0, 4), levels, sentences=TEXT[:1], scope=scope)
    assert set(levels.known) == {"a/s1:piper:v", "b/s1:piper:v"}


@pytest.mark.parametrize(("known", "waited"), [(True, 0.45), (False, 0.4 + PROVISIONAL_SECONDS)])
async def test_the_first_audio_waits_for_a_new_voices_first_second(
    known: bool, waited: float
) -> None:
    levels = FakeVoiceLevels(**({":piper:v": -20.0} if known else {}))
    chunks = said(0, 3, pieces=380)
    mastering = Mastering(levels, asked(TEXT[:1]))
    taken = 0

    async def counted() -> AsyncIterator[SpeechChunk]:
        nonlocal taken
        for chunk in chunks:
            taken += 1
            yield chunk

    async for piece in mastering.master(counted()):
        if piece.samples.size:
            break
    assert taken * 0.01 == pytest.approx(waited, abs=0.05)


@pytest.mark.parametrize("known", [True, False])
async def test_a_sentence_that_breaks_off_does_not_click(known: bool) -> None:
    levels = FakeVoiceLevels(**({":piper:v": -20.0, ":espeak:v": -20.0} if known else {}))
    whole = joined(await mastered(said(0) + said(1), levels, sentences=TEXT[:2]))
    broken = said(0, last=False) + said(1, provider="espeak")
    out = joined(await mastered(broken, levels, sentences=TEXT[:2]))
    assert roughness(out) < 1.5 * roughness(whole)
    # What was spoken of it is heard: a second of the first sentence, less its lead.
    assert out.size / RATE == pytest.approx(1.02 + 0.3 + 2.08, abs=0.03)


async def test_only_the_last_piece_ends_the_text() -> None:
    for sentences, chunks in (
        (TEXT[:2], said(0) + said(1)),
        (TEXT[:3], said(0) + said(1)),  # a last sentence that nobody could say
        (TEXT[:1], said(0)),
    ):
        out = await mastered(chunks, sentences=sentences)
        assert [piece.ends for piece in out] == [False] * (len(out) - 1) + [True]
    assert await mastered([]) == []


class TestWhatIsMasteredAlready:
    """Kept sentences come so: what is heard of them is what would be heard of them raw."""

    LOUD = "A long clause,", "and the next one,", "then a question?", "The end."

    @staticmethod
    def kept(chunks: list[SpeechChunk], level: float) -> list[SpeechChunk]:
        """Each sentence in one piece, mastered."""
        gain = gain_for(level)
        return [
            replace(c, samples=whole_mastered(c.samples, c.sample_rate, gain), gain=gain)
            for c in chunks
        ]

    def spoken(self, level: float) -> list[SpeechChunk]:
        return [c for i in range(4) for c in said(i, 0.8, level=level, pieces=1)]

    @pytest.mark.parametrize("lufs", [-30.0, -36.0])
    @pytest.mark.parametrize("which", [{0, 1, 2, 3}, {1}, {0, 3}, {2, 3}])
    async def test_goes_out_as_if_it_were_not(self, lufs: float, which: set[int]) -> None:
        levels = FakeVoiceLevels(**{":piper:v": lufs})
        raw = self.spoken(1.0)
        mixed = [
            one if i in which else two
            for i, (one, two) in enumerate(zip(self.kept(raw, lufs), raw, strict=True))
        ]
        expected = joined(await mastered(raw, levels, sentences=self.LOUD))
        found = joined(await mastered(mixed, levels, sentences=self.LOUD))
        assert np.abs(expected).max() > 0.8  # the limiter has work to do, up to a sentence's end
        assert found.size == expected.size
        assert np.abs(found - expected).max() < 1e-5

    async def test_the_last_piece_says_that_it_is(self) -> None:
        levels = FakeVoiceLevels(**{":piper:v": -20.0})
        out = await mastered(self.kept(self.spoken(0.4), -20), levels, sentences=self.LOUD)
        assert [piece.ends for piece in out][-1:] == [True]
        assert sum(piece.ends for piece in out) == 1

    @pytest.mark.parametrize("known", [{":piper:v": -26.0}, {}])
    async def test_another_level_is_applied_to_it(self, known: dict[str, float]) -> None:
        raw = self.spoken(0.1)
        levels = FakeVoiceLevels(**known)
        expected = joined(await mastered(raw, levels, sentences=self.LOUD))
        levels = FakeVoiceLevels(**known)
        found = joined(await mastered(self.kept(raw, -22), levels, sentences=self.LOUD))
        assert integrated_loudness(found, RATE) == pytest.approx(
            integrated_loudness(expected, RATE), abs=0.3
        )

    async def test_a_substitutes_sentence_of_another_rate_follows(self) -> None:
        levels = FakeVoiceLevels(**{":piper:v": -20.0, ":espeak:v": -20.0})
        kept = self.kept(self.spoken(0.4)[:2], -20)
        rest = [c for i in (2, 3) for c in said(i, 1, rate=16_000, provider="espeak")]
        out = await mastered([*kept, *rest], levels, sentences=self.LOUD)
        assert {piece.sample_rate for piece in out} == {RATE, 16_000}
        seconds = sum(piece.samples.size / piece.sample_rate for piece in out)
        assert seconds == pytest.approx(2 * 0.88 + 2 * 1.08 + 0.12 + 0.12 + 0.3, abs=0.05)
