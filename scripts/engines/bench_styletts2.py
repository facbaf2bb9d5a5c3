"""StyleTTS2 against the styletts2 package: whole sentences, and how alike they are."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from random_styletts2 import load_upstream
from voice_serving.engines.styletts2.network.checkpoint import load
from voice_serving.engines.styletts2.network.source import HARMONICS, SAMPLE_RATE
from voice_serving.engines.styletts2.network.speaker import Speaker
from voice_serving.engines.styletts2.phonemes import Phonemizer
from voice_serving.engines.styletts2.sentence import Sentence, Spoken
from voice_serving.engines.styletts2.symbols import tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from upstream_styletts2 import Upstream

WORDS: Final = (10, 20, 50)
STEPS: Final = 5
FAST_STEPS: Final = 3
_LONGEST_SECONDS: Final = 60
_TEXT: Final = (
    "The quick brown fox jumps over the lazy dog today, while seven bright lanterns hang above"
    " every quiet door. Nobody remembers who lit them, or why they were lit at all, on that long"
    " winter night when the river froze and the whole town walked across the silent ice to listen"
    " and wait."
)
_SENTENCE: Final = Sentence(
    tokens=(),
    reference=np.random.default_rng(1).normal(0, 0.1, 256).astype(np.float32),
    previous=None,
    carry=0.7,
    alpha=0.3,
    beta=0.7,
    guidance=1.0,
    steps=STEPS,
    speed=1.0,
    seed=3,
)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to speak a sentence."""

    name: str
    speak: Callable[[Sentence], object]


def measure(folder: Path, rounds: int) -> str:
    """Measures it all over one checkpoint; returns Markdown.

    The package and we speak in turn, so that who else uses the machine slows all; the best of the
    rounds counts. The sample's style is known beforehand, and the phonemes are.
    """
    upstream = load_upstream(folder)
    cpu = torch.device("cpu")
    exact = Speaker(load(folder, folder).network, cpu, sound_batch=1)
    half = Speaker(load(folder, folder).network.in_half(), cpu, sound_batch=1)
    ways = (
        Way("styletts2", _package(upstream)),
        Way("fp32, 5 steps", lambda sentence: exact.speak([sentence])),
        Way("bf16, 5 steps", lambda sentence: half.speak([sentence])),
        Way(
            "bf16, 3 steps (preset fast)",
            lambda sentence: half.speak([replace(sentence, steps=FAST_STEPS)]),
        ),
    )
    phonemizer = Phonemizer()
    lines = [
        f"### StyleTTS2, {torch.get_num_threads()} threads",
        "",
        "| words | way | total s | real-time factor | faster | signal to noise |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for words in WORDS:
        text = " ".join(_TEXT.split()[:words])
        sentence = replace(_SENTENCE, tokens=tokens(phonemizer.phonemes(text)))
        best = _best(ways, sentence, rounds)
        spoken, halved = _spoken(exact, sentence), _spoken(half, sentence)
        seconds = len(spoken.samples) / SAMPLE_RATE
        likeness = ("", "", _likeness(spoken, halved), "")
        for way, total, alike in zip(ways, best, likeness, strict=True):
            lines.append(
                f"| {words} | {way.name} | {total:.2f} | {total / seconds:.2f}"
                f" | {best[0] / total:.2f} | {alike} |"
            )
    return "\n".join(lines) + "\n"


def _package(upstream: Upstream) -> Callable[[Sentence], object]:
    style_noise = torch.randn(STEPS, 1, len(_SENTENCE.reference))
    source = torch.randn(1, HARMONICS, _LONGEST_SECONDS * SAMPLE_RATE)
    reference = torch.from_numpy(_SENTENCE.reference)[None]

    def speak(sentence: Sentence) -> object:
        return upstream.inference(torch.tensor([sentence.tokens]), reference, style_noise, source)

    return speak


def _best(ways: Sequence[Way], sentence: Sentence, rounds: int) -> list[float]:
    best = [float("inf")] * len(ways)
    # The first round is for caches and lazy starts.
    for number in range(rounds + 1):
        for place, way in enumerate(ways):
            started = time.perf_counter()
            way.speak(sentence)
            if number:
                best[place] = min(best[place], time.perf_counter() - started)
    return best


def _spoken(speaker: Speaker, sentence: Sentence) -> Spoken:
    (spoken,) = speaker.speak([sentence])
    assert isinstance(spoken, Spoken)
    return spoken


def _likeness(exact: Spoken, half: Spoken) -> str:
    """Signal to noise where the durations are the same, and else how many frames moved."""
    if not np.array_equal(exact.frames, half.frames):
        moved = np.abs(exact.frames - half.frames).sum()
        return f"{moved} of {exact.frames.sum()} frames moved"
    error = np.square(exact.samples - half.samples).mean()
    return f"{10 * np.log10(np.square(exact.samples).mean() / error):.1f} dB"
