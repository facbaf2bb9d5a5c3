#!/usr/bin/env python3
"""Measures an engine on a GPU; `scripts/bench_gpu.sh` is the run that calls it."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from voice_serving.engine import SynthesisInput
from voice_serving.engines.xtts_v2 import XttsEngine
from voice_serving.metrics import ServingMetrics
from voice_serving.params import Parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
TEXT: Final = "The quick brown fox jumps over a lazy dog and sleeps."
ROUNDS: Final = 5


def _engine(folder: Path, **parameters: str) -> XttsEngine:
    engine = XttsEngine()
    settings = {"checkpoint": str(folder), **parameters}
    metrics = ServingMetrics(None, "xtts_v2")
    engine.load(Parameters("xtts_v2", settings, {}), folder, metrics)
    return engine


def _tokens(engine: XttsEngine, seed: int) -> list[float]:
    request = SynthesisInput(sentences=(TEXT,), language="en", seed=seed, top_k=1)
    return [float(x) for c in engine.synthesize(request, lambda: False) for x in c.samples]


def parity(folder: Path) -> dict[str, Any]:
    """How far the GPU's audio is from the CPU's, in each precision."""
    cpu = _engine(folder, device="cpu", precision="fp32")
    exact = torch.tensor(_tokens(cpu, 1))
    cpu.close()
    found: dict[str, Any] = {}
    for precision in ("fp32", "bf16", "fp16"):
        engine = _engine(folder, device="cuda", precision=precision)
        made = torch.tensor(_tokens(engine, 1))
        engine.close()
        n = min(len(made), len(exact))
        error = (made[:n] - exact[:n]).abs()
        apart = (error > 0.05).nonzero()
        found[precision] = {
            "same length": len(made) == len(exact),
            "largest difference": float(error.max()),
            "seconds alike": (int(apart[0]) if len(apart) else n) / 24000,
        }
    return found


def callers(folder: Path, counts: Sequence[int]) -> dict[str, Any]:
    """First sounds and audio seconds a second, with so many callers at once."""
    slots = str(max(counts))
    engine = _engine(folder, device="cuda", streams=slots, slots=slots)
    engine.warm_up()
    found: dict[str, Any] = {}
    for count in counts:
        # The first of each captures the graphs of its batch size.
        for number in range(ROUNDS + 1):
            firsts, audio, seconds = _crowd(engine, count)
            if number:
                entry = found.setdefault(str(count), {"first ms": [], "x real time": []})
                entry["first ms"] += [1000 * first for first in firsts]
                entry["x real time"].append(audio / seconds)
    engine.close()
    for entry in found.values():
        ordered = sorted(entry.pop("first ms"))
        entry["first ms p50"] = statistics.median(ordered)
        entry["first ms p95"] = ordered[int(0.95 * (len(ordered) - 1))]
        entry["x real time"] = max(entry["x real time"])
    return found


def _crowd(engine: XttsEngine, count: int) -> tuple[list[float], float, float]:
    firsts: list[float] = []
    audio: list[float] = []

    def call(seed: int) -> None:
        started = time.perf_counter()
        request = SynthesisInput(sentences=(TEXT,), language="en", seed=seed)
        heard = 0.0
        for chunk in engine.synthesize(request, lambda: False):
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
    return firsts, sum(audio), time.perf_counter() - started


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(description="Measures an engine on a GPU.")
    parser.add_argument("--model", choices=("xtts_v2",), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parity", action="store_true")
    parser.add_argument("--callers", type=int, nargs="*", default=())
    arguments = parser.parse_args(argv)
    folder = ROOT / ".local" / "random" / arguments.model
    results = {"parity": parity(folder)} if arguments.parity else {}
    if arguments.callers:
        results["callers"] = callers(folder, arguments.callers)
    for name, result in results.items():
        text = json.dumps(result, indent=2)
        (arguments.out / f"{arguments.model}-{name}.json").write_text(text, encoding="utf-8")
        print(name, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
