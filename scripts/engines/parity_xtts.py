"""XTTS v2 at its real shape: is it coqui-tts's, and what do the smaller precisions change?"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import torch

from bench_xtts import SERVED, begin, hear, load_networks, speaking
from upstream_coqui import load_xtts
from voice_serving.engines.xtts_v2.network.checkpoint import VOCODER, read_checkpoint
from voice_serving.engines.xtts_v2.network.gpt import Gpt
from voice_serving.engines.xtts_v2.network.sampling import Taste
from voice_serving.engines.xtts_v2.network.vocoder import Vocoder
from voice_serving.engines.xtts_v2.network.voice import Cloner, Voice
from voice_serving.engines.xtts_v2.settings import Precision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from voice_serving.engines.xtts_v2.network.checkpoint import Checkpoint

TEXTS: Final = (
    ("en", "Good evening, what may I show you?"),
    ("en", "Twelve of them, for $5 each."),
    ("en", "Yes."),
    ("de", "Guten Abend, was darf ich Ihnen zeigen? Es kostet 12 Euro."),
    ("es", "Buenas noches, son 3 libros y medio."),
)
"""Five, each in three voices, greedy and sampled. The 200 texts in three voices are compared at the
tests' shape (`tests/functional/test_xtts_parity.py`): coqui-tts would take hours here."""
TOKENS: Final = 48
"""Audio tokens of each sentence: two seconds."""
GREEDY: Final = Taste(temperature=0.75, top_k=1, top_p=0.85, repetition_penalty=5.0, seed=1)
SAMPLED: Final = Taste(temperature=0.75, top_k=50, top_p=0.85, repetition_penalty=5.0, seed=1)


def compare(folder: Path) -> str:
    """Compares over one checkpoint; returns Markdown.

    Raises:
        AssertionError: In float32 something is not coqui-tts's.
    """
    checkpoint = read_checkpoint(folder)
    upstream = load_xtts(folder)
    cloner = Cloner(checkpoint)
    voices = [_voice(cloner, upstream, seconds) for seconds in (3.0, 7.5, 12.0)]
    texts = [list(upstream.tokenizer.encode(text.lower(), lang=lang)) for lang, text in TEXTS]
    worst = 0.0
    spoken: list[tuple[list[int], Voice, list[int]]] = []
    with speaking(load_networks(checkpoint, Precision.FP32), SERVED) as loop:
        for voice in voices:
            for said, text in zip(TEXTS, texts, strict=True):
                for taste in (GREEDY, SAMPLED):
                    sentence = begin(loop, text, TOKENS, voice, taste)
                    audio = torch.cat([torch.from_numpy(piece) for piece in hear(sentence)])
                    expected = _theirs(upstream, *said, voice, taste)
                    assert audio.shape == expected.shape
                    worst = max(worst, float((audio - expected).abs().max()))
                    spoken.append((text, voice, sentence.tokens))
    assert worst < 1e-3, worst
    count = len(spoken)
    lines = [
        f"- fp32: the audio of {count} sentences of {TOKENS} tokens, greedy and sampled, is within"
        f" {worst:.1e} of coqui-tts's"
    ]
    del upstream
    return "\n".join([*lines, *_reduced(checkpoint, spoken), ""])


def _voice(cloner: Cloner, upstream: Any, seconds: float) -> Voice:
    time = torch.arange(int(22050 * seconds)) / 22050
    audio = 0.3 * torch.sin(2 * torch.pi * (80 + 10 * seconds) * time) * torch.sin(3 * time) ** 2
    audio += 0.05 * torch.randn(len(audio), generator=torch.Generator().manual_seed(int(seconds)))
    heard = cloner.clone([(audio, 22050)])
    assert heard is not None
    latents, vector = heard
    theirs = upstream.get_gpt_cond_latents(audio[None].clone(), 22050, 30, 4)[0]
    assert (latents - theirs).abs().max() < 1e-3
    speaker = upstream.get_speaker_embedding(audio[None].clone(), 22050)[0, :, 0]
    assert (vector - speaker).abs().max() < 1e-3
    return Voice(latents, vector)


def _theirs(upstream: Any, language: str, text: str, voice: Voice, taste: Taste) -> Tensor:
    torch.manual_seed(taste.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = upstream.inference(
            text,
            language,
            voice.latents[None].clone(),
            voice.vector[None, :, None].clone(),
            do_sample=taste is SAMPLED,
            temperature=taste.temperature,
            top_k=SAMPLED.top_k,
            top_p=taste.top_p,
            repetition_penalty=taste.repetition_penalty,
            min_new_tokens=TOKENS,
            max_new_tokens=TOKENS,
        )
    return torch.from_numpy(result["wav"])


@torch.inference_mode()
def _reduced(
    checkpoint: Checkpoint, spoken: Sequence[tuple[list[int], Voice, list[int]]]
) -> list[str]:
    exact = [_read(checkpoint, Precision.FP32, *sentence) for sentence in spoken]
    lines = []
    for precision in (Precision.BF16, Precision.INT8):
        made = [_read(checkpoint, precision, *sentence) for sentence in spoken]
        noise = _snr([latents for latents, _ in exact], [latents for latents, _ in made])
        pairs = zip(exact, made, strict=True)
        same = torch.cat([a.argmax(1) == b.argmax(1) for (_, a), (_, b) in pairs])
        lines.append(
            f"- {precision}: latents at {noise:.1f} dB SNR over the same tokens,"
            f" {100 * float(same.float().mean()):.1f} % of the likeliest tokens the same"
        )
    frames = torch.cat([latents for latents, _ in exact])[None, :200].repeat_interleave(4, 1)
    weights, voice = checkpoint.under(VOCODER), spoken[0][1].vector[None]
    whole, half = (
        Vocoder(weights, checkpoint.shape, dtype)(frames, voice)
        for dtype in (torch.float32, torch.bfloat16)
    )
    lines.append(f"- bf16 vocoder: audio at {_snr([whole], [half]):.1f} dB SNR")
    return lines


_GPTS: dict[Precision, Gpt] = {}


def _read(
    checkpoint: Checkpoint, precision: Precision, text: list[int], voice: Voice, tokens: list[int]
) -> tuple[Tensor, Tensor]:
    """Latents and logits over a sentence that is given."""
    if precision not in _GPTS:
        _GPTS.clear()
        _GPTS[precision] = Gpt(checkpoint.weights, checkpoint.shape, precision, 1, 32)
    gpt = _GPTS[precision]
    audio = gpt.embed(torch.tensor(tokens[:-1]), torch.arange(1, len(tokens)))
    everything = torch.cat([voice.latents, gpt.prompt(text), audio])
    latents = gpt.transformer.extend(0, 0, everything)[-len(tokens) :]
    return latents, gpt.logits(latents)


def _snr(exact: Sequence[Tensor], made: Sequence[Tensor]) -> float:
    signal, other = torch.cat(list(exact)), torch.cat(list(made))
    return float(10 * torch.log10(signal.square().sum() / (other - signal).square().sum()))
