"""StyleTTS2 against the styletts2 package: whole sentences, and how alike they are."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from random_styletts2 import load_upstream
from voice_serving.apart import apart
from voice_serving.engines.styletts2.network.checkpoint import load
from voice_serving.engines.styletts2.network.source import HARMONICS, SAMPLE_RATE
from voice_serving.engines.styletts2.network.speaker import Speaker
from voice_serving.engines.styletts2.phonemes import Phonemizer
from voice_serving.engines.styletts2.sentence import Sentence, Spoken
from voice_serving.engines.styletts2.symbols import tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor
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
    speak: Callable[[Sentence], float]
    """Tells the seconds that it took."""


def measure(folder: Path, rounds: int) -> str:
    """Measures it all over one checkpoint; returns Markdown.

    The package and we speak in turn, so that who else uses the machine slows all, and each in a
    process of its own (see `voice_serving.apart`); the best of the rounds counts. The sample's
    style is known beforehand, and the phonemes are.
    """
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context, _load_theirs, (folder,)) as theirs:
        return apart(lambda: _measure(folder, rounds, theirs))


def _measure(folder: Path, rounds: int, theirs: Executor) -> str:
    cpu = torch.device("cpu")
    exact = Speaker(load(folder, folder).network, cpu, sound_batch=1)
    half = Speaker(load(folder, folder).network.in_half(), cpu, sound_batch=1)
    ways = (
        Way("styletts2", lambda sentence: theirs.submit(_theirs, sentence).result()),
        Way("fp32, 5 steps", lambda sentence: _seconds(exact, sentence)),
        Way("bf16, 5 steps", lambda sentence: _seconds(half, sentence)),
        Way(
            "bf16, 3 steps (preset fast)",
            lambda sentence: _seconds(half, replace(sentence, steps=FAST_STEPS)),
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


_UPSTREAM: Final[dict[str, Upstream]] = {}
"""What the other process has loaded."""


def _load_theirs(folder: Path) -> None:
    _UPSTREAM["styletts2"] = load_upstream(folder)


def _theirs(sentence: Sentence) -> float:
    style_noise = torch.randn(STEPS, 1, len(sentence.reference))
    source = torch.randn(1, HARMONICS, _LONGEST_SECONDS * SAMPLE_RATE)
    reference = torch.from_numpy(sentence.reference)[None]
    spoken = torch.tensor([sentence.tokens])
    started = time.perf_counter()
    _UPSTREAM["styletts2"].inference(spoken, reference, style_noise, source)
    return time.perf_counter() - started


def _seconds(speaker: Speaker, sentence: Sentence) -> float:
    started = time.perf_counter()
    speaker.speak([sentence])
    return time.perf_counter() - started


def _best(ways: Sequence[Way], sentence: Sentence, rounds: int) -> list[float]:
    best = [float("inf")] * len(ways)
    # The first round is for caches and lazy starts.
    for number in range(rounds + 1):
        for place, way in enumerate(ways):
            seconds = way.speak(sentence)
            if number:
                best[place] = min(best[place], seconds)
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
