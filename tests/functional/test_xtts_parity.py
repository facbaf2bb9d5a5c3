"""Our XTTS v2 against coqui-tts's own: the same tokens, and the same audio."""

from __future__ import annotations

import random
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import RepetitionPenaltyLogitsProcessor

from fakes.xtts import GREEDY, LIVELY, USUAL, Speaker, pieces_of, speaker
from upstream_coqui import load_xtts
from voice_serving.engines.xtts_v2.network.sampling import Taste, Tastes, choose, likelihoods
from voice_serving.engines.xtts_v2.network.sentence import Chunking
from voice_serving.engines.xtts_v2.network.spectrogram import resample
from voice_serving.engines.xtts_v2.settings import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from voice_serving.engines.xtts_v2.network.voice import Voice

TEXTS = 200
TOLERANCE = 1e-3
WORDS = (
    *("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "seven"),
    *("lanterns", "hang", "above", "every", "quiet", "door", "and", "nobody", "remembers", "why"),
    *("they", "were", "lit", "at", "all", "on", "that", "winter", "night", "42", "Dr.", "$5"),
)


@pytest.fixture(scope="module")
def upstream(tiny_xtts: Path) -> Any:
    return load_xtts(tiny_xtts)


@pytest.fixture(scope="module")
def ours(tiny_xtts: Path) -> Iterator[Speaker]:
    with speaker(tiny_xtts) as one:
        yield one


@pytest.fixture(scope="module")
def writer(tiny_xtts: Path) -> Iterator[Speaker]:
    """Writes tokens, and says nothing."""
    with speaker(tiny_xtts, mute=True) as one:
        yield one


@pytest.fixture(scope="module")
def recordings() -> list[NDArray[np.float32]]:
    generator = np.random.default_rng(5)
    return [_recording(generator, seconds) for seconds in (3.0, 7.5, 12.0)]


@pytest.fixture(scope="module")
def voices(ours: Speaker, recordings: list[NDArray[np.float32]]) -> list[Voice]:
    return [ours.clone(recording) for recording in recordings]


def _recording(generator: np.random.Generator, seconds: float) -> NDArray[np.float32]:
    time = np.arange(int(22050 * seconds)) / 22050
    tone = np.sin(2 * np.pi * generator.uniform(90, 240) * time) * np.sin(3 * time) ** 2
    return (0.3 * tone + 0.05 * generator.standard_normal(len(time))).astype(np.float32)


def _texts(count: int) -> list[str]:
    chooser = random.Random(3)
    return [
        " ".join(chooser.choices(WORDS, k=chooser.randint(1, 14))).capitalize() + "."
        for _ in range(count)
    ]


def _upstream_tokens(upstream: Any, text: list[int], voice: Voice, **kwargs: Any) -> list[int]:
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        codes = upstream.gpt.generate(
            cond_latents=voice.latents[None],
            text_inputs=torch.tensor([text]),
            repetition_penalty=5.0,
            **kwargs,
        )
    return list(codes[0].tolist())


def _upstream_audio(upstream: Any, text: str, voice: Voice, **kwargs: Any) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result: dict[str, Any] = upstream.inference(
            text,
            "en",
            voice.latents[None].clone(),
            voice.vector[None, :, None].clone(),
            repetition_penalty=5.0,
            **kwargs,
        )
    return result


def tokens_of(upstream: Any, text: str) -> list[int]:
    return list(upstream.tokenizer.encode(text.strip().lower(), lang="en"))


def test_conditioning_is_the_same(upstream, ours, recordings):
    for recording in recordings:
        audio = torch.from_numpy(recording)
        voice = ours.clone(recording)
        # coqui-tts changes what it is handed.
        latents = upstream.get_gpt_cond_latents(audio[None].clone(), 22050, 30, 4)
        vector = upstream.get_speaker_embedding(audio[None].clone(), 22050)
        assert (voice.latents - latents[0]).abs().max() < TOLERANCE
        assert (voice.vector - vector[0, :, 0]).abs().max() < TOLERANCE


@pytest.mark.parametrize(("rate", "wanted"), [(22050, 16000), (24000, 22050), (44100, 22050)])
def test_resampling_is_torchaudios(upstream, rate, wanted):
    import torchaudio

    audio = torch.from_numpy(_recording(np.random.default_rng(1), 1.3))
    expected = torchaudio.functional.resample(audio[None], rate, wanted)[0]
    made = resample(audio, rate, wanted)
    assert made.shape == expected.shape
    assert (made - expected).abs().max() < 1e-5


def _upstream_choices(upstream: Any, text: list[int], tokens: list[int], voice: Voice) -> list[int]:
    """What coqui-tts takes for likeliest after each beginning of `tokens`."""
    penalty = RepetitionPenaltyLogitsProcessor(GREEDY.repetition_penalty)
    with torch.inference_mode():
        start = upstream.gpt.compute_embeddings(voice.latents[None], torch.tensor([text]))
        read = torch.cat([start, torch.tensor([tokens[:-1]], dtype=torch.long)], dim=1)
        logits = upstream.gpt.gpt_inference(input_ids=read, return_dict=True).logits[0]
        return [
            int(penalty(read[:, : end + 1], logits[end : end + 1].clone()).argmax())
            for end in range(start.shape[1] - 1, read.shape[1])
        ]


def test_greedy_tokens_are_the_same(upstream, writer, voices):
    # Where each token is the likeliest after those before it, both write the same sentence:
    # one look at the whole of it tells, and generating it anew would take minutes.
    texts = [tokens_of(upstream, text) for text in _texts(TEXTS)]
    for voice in voices:
        sentences = [writer.begin(text, voice, GREEDY) for text in texts]
        for text, sentence in zip(texts, sentences, strict=True):
            pieces_of(sentence)
            tokens = sentence.tokens
            assert _upstream_choices(upstream, text, tokens, voice) == tokens


def test_greedy_sentences_are_those_that_upstream_generates(upstream, writer, voices):
    for number, text in enumerate(_texts(9)):
        tokens, voice = tokens_of(upstream, text), voices[number % 3]
        _, sentence = writer.say(tokens, voice, GREEDY)
        assert sentence.tokens == _upstream_tokens(upstream, tokens, voice, do_sample=False)


def test_sampled_tokens_are_the_same_for_the_same_seed(upstream, writer, voices):
    for seed, text in enumerate(_texts(12)):
        tokens = tokens_of(upstream, text)
        settings = {
            "temperature": 0.5 + seed / 12,
            "top_k": (1, 5, 50, 1000)[seed % 4],
            "top_p": (0.5, 0.85, 1.0)[seed % 3],
        }
        taste = Taste(repetition_penalty=5.0, seed=seed, **settings)
        _, sentence = writer.say(tokens, voices[0], taste)
        torch.manual_seed(seed)
        expected = _upstream_tokens(upstream, tokens, voices[0], do_sample=True, **settings)
        assert sentence.tokens == expected


def test_what_is_drawn_has_the_sampler_s_own_distribution():
    generator = torch.Generator().manual_seed(2)
    logits = 3 * torch.randn(1, 40, generator=generator)
    tastes = Tastes.room(1, torch.device("cpu"))
    tastes.put(0, LIVELY, 40)
    probabilities = likelihoods(logits, torch.zeros(1, 40, dtype=torch.bool), tastes)
    draws = 10_000
    noise = torch.empty(draws, 40).exponential_(generator=generator)
    counts = torch.bincount(choose(probabilities, noise), minlength=40).numpy()
    likely = probabilities[0].double().numpy()
    possible = likely > 0
    assert counts[~possible].sum() == 0
    expected = likely[possible] / likely[possible].sum() * draws
    assert stats.chisquare(counts[possible], expected).pvalue > 0.01


@pytest.mark.parametrize(
    ("taste", "speed"), [(GREEDY, 1.0), (LIVELY, 1.0), (LIVELY, 0.7), (LIVELY, 1.3)]
)
def test_latents_and_audio_are_the_same(upstream, ours, voices, taste, speed):
    for text in _texts(3):
        torch.manual_seed(taste.seed)
        expected = _upstream_audio(
            upstream,
            text,
            voices[1],
            do_sample=taste is LIVELY,
            temperature=taste.temperature,
            top_k=50,
            top_p=taste.top_p,
            speed=speed,
        )
        audio, _ = ours.say(tokens_of(upstream, text), voices[1], taste, speed=speed)
        assert audio.shape == expected["wav"].shape
        assert np.abs(expected["wav"]).max() > 0.1
        assert np.abs(audio - expected["wav"]).max() < TOLERANCE


def test_the_latents_of_the_steps_are_those_of_the_second_pass(tiny_xtts, upstream, voices):
    text = tokens_of(upstream, _texts(1)[0])
    one = Speaker(tiny_xtts, Precision.FP32, 8, USUAL, mute=True)
    sentence = one.begin(text, voices[2], LIVELY)
    kept = []
    push = sentence.frames.push
    sentence.frames.push = lambda rows, last: kept.append(rows) or push(rows, last=last)
    one.loop.start()
    pieces_of(sentence)
    one.loop.close()
    codes = torch.tensor([sentence.tokens])
    with torch.inference_mode():
        expected = upstream.gpt(
            torch.tensor([text]),
            torch.tensor([len(text)]),
            codes,
            torch.tensor([codes.shape[1] * 1024]),
            cond_latents=voices[2].latents[None],
            return_latent=True,
        )[0]
    assert (torch.cat(kept) - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    ("first", "growth", "speed"), [(1, 1.0, 1.0), (3, 1.7, 1.25), (8, 2.0, 1.0), (20, 1.0, 0.6)]
)
def test_streamed_is_one_shot(tiny_xtts, ours, voices, upstream, first, growth, speed):
    text = tokens_of(upstream, _texts(3)[2])
    with speaker(tiny_xtts, chunking=Chunking(10_000, 1.0, 10_000)) as whole:
        expected, _ = whole.say(text, voices[0], LIVELY, speed=speed, least=60)
    with speaker(tiny_xtts, chunking=Chunking(first, growth, 40)) as streaming:
        sentence = streaming.begin(text, voices[0], LIVELY, speed=speed, least=60)
        pieces = pieces_of(sentence)
    assert len(pieces) > 3
    assert np.abs(np.concatenate(pieces) - expected).max() < 1e-4


def test_eight_at_once_are_eight_one_after_another(ours, voices, upstream):
    texts = [tokens_of(upstream, text) for text in _texts(8)]
    tastes = [
        Taste(temperature=0.6 + n / 10, top_k=40 + n, top_p=0.8, repetition_penalty=2.0, seed=n)
        for n in range(8)
    ]
    alone = [ours.say(t, voices[n % 3], tastes[n]) for n, t in enumerate(texts)]
    together = [ours.begin(t, voices[n % 3], tastes[n]) for n, t in enumerate(texts)]
    for (audio, single), sentence in zip(alone, together, strict=True):
        batched = np.concatenate(pieces_of(sentence))
        assert sentence.tokens == single.tokens
        assert np.abs(batched - audio).max() < TOLERANCE
