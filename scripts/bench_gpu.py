#!/usr/bin/env python3
"""Measures an engine on a GPU; `scripts/bench_gpu.sh` is the run that calls it.

Without one, `--device cpu --folder` on a tiny checkpoint tries the program out.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import statistics
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soundfile
import torch

from voice_serving.engine import SynthesisInput
from voice_serving.engines.styletts2 import StyleTts2Engine
from voice_serving.engines.xtts_v2 import XttsEngine
from voice_serving.metrics import ServingMetrics
from voice_serving.params import Parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from voice_serving.engine import SpeechEngine

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "engines"))
TEXT: Final = "The quick brown fox jumps over a lazy dog and sleeps."
ROUNDS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What differs between the models."""

    engine: Callable[[], SpeechEngine]
    precisions: tuple[str, ...]
    """The first is the exact one."""
    parity: Callable[[Path, torch.device], dict[str, Any]] | None = None
    """Instead of comparing what requests get: where a seed's noise differs between devices."""
    room: tuple[str, ...]
    """Settings that must be as large as the crowd."""
    serving: Mapping[str, str] = field(default_factory=dict)
    """Settings of the crowd's engine."""
    voice: Mapping[str, Any] = field(default_factory=dict)
    """What a request must have besides."""


def _styletts2_parity(folder: Path, device: torch.device) -> dict[str, Any]:
    from parity_styletts2 import on_device

    return on_device(folder, device)


def _sample() -> dict[str, Any]:
    """A voice to clone: something that swells like syllables."""
    time_ = np.arange(4 * 24_000) / 24_000
    tone = 0.3 * np.sin(2 * np.pi * 120 * time_) * np.sin(3 * time_) ** 2
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(time_))
    file = io.BytesIO()
    soundfile.write(file, tone + noise, 24_000, format="WAV")
    content = file.getvalue()
    return {"sample_ids": (hashlib.sha256(content).hexdigest(),), "samples": (content,)}


MODELS: Final = {
    "xtts_v2": Model(
        engine=XttsEngine,
        precisions=("fp32", "bf16", "fp16"),
        room=("streams", "slots"),
    ),
    "styletts2": Model(
        engine=StyleTts2Engine,
        precisions=("fp32", "bf16"),
        parity=_styletts2_parity,
        room=("streams", "batch"),
        serving={"precision": "bf16"},
        voice=_sample(),
    ),
}


class Bench:
    """One model over one checkpoint.

    Args:
        name: Of the model.
        folder: With its checkpoint.
        device: What is measured: `cuda`, or `cpu` to try it out.
    """

    def __init__(self, name: str, folder: Path, device: str) -> None:
        self._name, self._folder, self._device = name, folder, device
        self._model = MODELS[name]

    def parity(self) -> dict[str, Any]:
        """How far the device's audio is from the CPU's, in each precision."""
        if self._model.parity is not None:
            return self._model.parity(self._folder, torch.device(self._device))
        exact = self._said("cpu", self._model.precisions[0])
        found: dict[str, Any] = {}
        for precision in self._model.precisions:
            made = self._said(self._device, precision)
            n = min(len(made), len(exact))
            error = np.abs(made[:n] - exact[:n])
            apart = np.flatnonzero(error > 0.05)
            found[precision] = {
                "same length": len(made) == len(exact),
                "largest difference": float(error.max()),
                "seconds alike": (int(apart[0]) if len(apart) else n) / 24_000,
                "seconds": len(made) / 24_000,
            }
        return found

    def callers(self, counts: Sequence[int]) -> dict[str, Any]:
        """First sounds and audio seconds a second, with so many callers at once."""
        room = dict.fromkeys(self._model.room, str(max(counts)))
        engine = self._engine(device=self._device, **room, **self._model.serving)
        engine.warm_up()
        found: dict[str, Any] = {}
        for count in counts:
            firsts: list[float] = []
            rates: list[float] = []
            # The first of each captures the graphs of its batch size.
            for number in range(ROUNDS + 1):
                crowd, audio, seconds = self._crowd(engine, count)
                if number:
                    firsts += [1000 * first for first in crowd]
                    rates.append(audio / seconds)
            firsts.sort()
            found[str(count)] = {
                "first ms p50": statistics.median(firsts),
                "first ms p95": firsts[int(0.95 * (len(firsts) - 1))],
                "x real time": max(rates),
                "real-time factor": 1 / max(rates),
            }
        engine.close()
        return found

    def _engine(self, **settings: str) -> Any:
        engine = self._model.engine()
        parameters = Parameters(self._name, {"checkpoint": str(self._folder), **settings}, {})
        engine.load(parameters, self._folder, ServingMetrics(None, self._name))
        return engine

    def _request(self, **settings: Any) -> SynthesisInput:
        values = {"sentences": (TEXT,), "language": "en", **self._model.voice, **settings}
        return SynthesisInput(**values)

    def _said(self, device: str, precision: str) -> NDArray[np.float32]:
        engine = self._engine(device=device, precision=precision)
        greedy = {"top_k": 1} if "top_k" in engine.honours else {}
        request = self._request(seed=1, **greedy)
        chunks = [chunk.samples for chunk in engine.synthesize(request, lambda: False)]
        engine.close()
        return np.concatenate(chunks)

    def _crowd(self, engine: SpeechEngine, count: int) -> tuple[list[float], float, float]:
        firsts: list[float] = []
        audio: list[float] = []

        def call(seed: int) -> None:
            started = time.perf_counter()
            heard = 0.0
            for chunk in engine.synthesize(self._request(seed=seed), lambda: False):
                if not heard:
                    firsts.append(time.perf_counter() - started)
                heard += chunk.samples.size / chunk.sample_rate
            audio.append(heard)

        threads = [threading.Thread(target=call, args=(seed,)) for seed in range(count)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
        if len(audio) != count:
            raise SystemExit(f"{count - len(audio)} of {count} callers heard nothing")
        return firsts, sum(audio), seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(description="Measures an engine on a GPU.")
    parser.add_argument("--model", choices=sorted(MODELS), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, help="default: .local/random/<model>")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--parity", action="store_true")
    parser.add_argument("--callers", type=int, nargs="*", default=())
    arguments = parser.parse_args(argv)
    folder = arguments.folder or ROOT / ".local" / "random" / arguments.model
    bench = Bench(arguments.model, folder, arguments.device)
    results = {"parity": bench.parity()} if arguments.parity else {}
    if arguments.callers:
        results["callers"] = bench.callers(arguments.callers)
    for name, result in results.items():
        text = json.dumps(result, indent=2)
        (arguments.out / f"{arguments.model}-{name}.json").write_text(text, encoding="utf-8")
        print(name, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
