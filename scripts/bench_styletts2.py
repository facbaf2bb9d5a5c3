"""How much faster our StyleTTS2 is than the styletts2 package, on this machine, in one run.

Random weights in the LibriTTS checkpoint's shape, the style of the sample known beforehand, texts of
10, 20 and 50 words. The same weights, noise and steps for both; they take turns, so that what else
runs on the machine hits both alike, and the best round of each counts.

    .venv/bin/python scripts/bench_styletts2.py [--rounds 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

_ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT / "triton/src"), str(_ROOT / "scripts/engines")]

from random_styletts2 import upstream  # noqa: E402
from voice_serving.engines.styletts2.network.checkpoint import filled  # noqa: E402
from voice_serving.engines.styletts2.network.rearrange import rearranged, shape_of  # noqa: E402
from voice_serving.engines.styletts2.network.source import HARMONICS, SAMPLE_RATE  # noqa: E402
from voice_serving.engines.styletts2.network.speaker import Speaker  # noqa: E402
from voice_serving.engines.styletts2.phonemes import Phonemizer  # noqa: E402
from voice_serving.engines.styletts2.sentence import Sentence, Spoken  # noqa: E402
from voice_serving.engines.styletts2.symbols import tokens  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from upstream_styletts2 import Upstream
    from voice_serving.engines.styletts2.network.model import Network

_TEXT: Final = (
    "The quick brown fox jumps over the lazy dog today, while seven bright lanterns hang above"
    " every quiet door. Nobody remembers who lit them, or why they were lit at all, on that long"
    " winter night when the river froze and the whole town walked across the silent ice to listen"
    " and wait."
)
_STEPS: Final = 5
_FAST_STEPS: Final = 3


def network_of(made: Upstream) -> Network:
    """Our network with the package's weights."""
    modules = {name: module.state_dict() for name, module in made.modules.items()}
    weights = rearranged(modules, made.config)
    return filled(shape_of(weights, made.config, made.bert_config), weights)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0 leaves it to torch")
    parser.add_argument("--words", type=int, nargs="+", default=[10, 20, 50])
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)

    made = upstream(tiny=False)
    cpu = torch.device("cpu")
    exact = Speaker(network_of(made), cpu, sound_batch=1)
    half = Speaker(network_of(made).in_half(), cpu, sound_batch=1)
    phonemizer = Phonemizer()
    reference = torch.randn(1, 256, generator=torch.Generator().manual_seed(1)) * 0.1

    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.rounds} rounds"
    )
    print(
        "words  tokens  audio   styletts2          fp32, 5 steps      bf16, 5 steps      bf16, 3 steps      SNR of bf16"
    )
    for words in arguments.words:
        numbers = tokens(phonemizer.phonemes(" ".join(_TEXT.split()[:words])))
        one = Sentence(
            tokens=numbers,
            reference=reference[0].numpy(),
            previous=None,
            carry=0.7,
            alpha=0.3,
            beta=0.7,
            guidance=1.0,
            steps=_STEPS,
            speed=1.0,
            seed=3,
        )
        fast = replace(one, steps=_FAST_STEPS)
        style_noise = torch.randn(_STEPS, 1, 256)
        source = torch.randn(1, HARMONICS, 60 * SAMPLE_RATE)
        ways: list[Callable[[], object]] = [
            lambda: made.inference(torch.tensor([numbers]), reference, style_noise, source),
            lambda: exact.speak([one]),
            lambda: half.speak([one]),
            lambda: half.speak([fast]),
        ]
        best = [float("inf")] * len(ways)
        for _ in range(arguments.rounds):
            for place, way in enumerate(ways):
                started = time.perf_counter()
                way()
                best[place] = min(best[place], time.perf_counter() - started)
        (spoken,) = exact.speak([one])
        assert isinstance(spoken, Spoken)
        seconds = len(spoken.samples) / SAMPLE_RATE
        columns = [f"{best[0]:6.2f} s RTF {best[0] / seconds:.2f}"]
        columns += [
            f"{each:5.2f} s {each / seconds:.2f} {best[0] / each:4.2f}x" for each in best[1:]
        ]
        (halved,) = half.speak([one])
        assert isinstance(halved, Spoken)
        print(
            f"{words:5}  {len(numbers):6}  {seconds:4.1f} s  {'  '.join(columns)}"
            f"  {_ratio(spoken, halved)}",
            flush=True,
        )


def _ratio(exact: Spoken, half: Spoken) -> str:
    """Signal to noise of what half precision speaks, where its durations are the same."""
    if not np.array_equal(exact.frames, half.frames):
        changed = np.abs(exact.frames - half.frames).sum()
        return f"- ({changed} of {exact.frames.sum()} frames differ)"
    error = np.square(exact.samples - half.samples).mean()
    return f"{10 * np.log10(np.square(exact.samples).mean() / error):.1f} dB"


if __name__ == "__main__":
    main()
