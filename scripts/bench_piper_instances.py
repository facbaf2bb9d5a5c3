#!/usr/bin/env python3
"""How Piper should spend a machine's cores: instances times threads, and onnxruntime's options.

    python scripts/bench_piper_instances.py
    python scripts/bench_piper_instances.py --voice .local/voices/en_GB-alba-medium.onnx

Every row of the first table runs the engine that Triton runs, in this process, without the road
over gRPC (which adds some ten milliseconds): one caller alone for the latency, then as many callers
as the row's requests in progress, each asking again as soon as it has heard everything. The second
table runs one forward pass under different session options. The tables are Markdown, for
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime
import piper

from voice_serving.engine import SynthesisInput
from voice_serving.engines.piper import PiperEngine
from voice_serving.metrics import ServingMetrics
from voice_serving.params import Parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
SHIPPED: Final = ROOT / "model_repository/piper/1/voices/budtender.onnx"

SHORT: Final = "Of course, let me show you what we have."
LONGER: Final = (
    "This one is a calm indica with a bit of citrus, and most people enjoy it in the evening, "
    "when the work is done and there is time to sit down with a friend."
)
ROUNDS: Final = 4
TURN: Final = (SHORT, LONGER, "Shall I put one aside for you?")
"""What an agent says at once: three sentences."""


@dataclass
class Load:
    """What callers heard in one run."""

    first_ms: list[float] = field(default_factory=list)
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0

    @property
    def throughput(self) -> float:
        """Seconds of audio per second."""
        return self.audio_seconds / self.wall_seconds

    def percentile(self, percent: int) -> float:
        """Of the time to the first audio, in milliseconds."""
        return float(np.percentile(self.first_ms, percent))


def run_load(
    engine: PiperEngine, request: SynthesisInput, callers: int, seconds: float, load: Load
) -> None:
    """Lets callers ask again and again until the time is up; the last answers still count."""
    lock = threading.Lock()
    started = time.perf_counter()

    def call() -> None:
        while time.perf_counter() - started < seconds:
            asked = time.perf_counter()
            first: float | None = None
            audio = 0.0
            for chunk in engine.synthesize(request, lambda: False):
                first = first or time.perf_counter() - asked
                audio += len(chunk.samples) / chunk.sample_rate
            with lock:
                load.first_ms.append(1000 * (first or 0.0))
                load.audio_seconds += audio

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.wall_seconds += time.perf_counter() - started


def instances_table(model: Path, language: str, seconds: float, callers: int) -> list[str]:
    """One row for every sensible way to share out the cores."""
    short = SynthesisInput(sentences=(SHORT,), language=language)
    turn = SynthesisInput(sentences=TURN, language=language)
    shares = _shares(len(os.sched_getaffinity(0)))
    engines = []
    with tempfile.TemporaryDirectory() as folder:
        version = Path(folder) / "1"
        (version / "voices").mkdir(parents=True)
        for file in (model, model.with_name(f"{model.name}.json")):
            (version / "voices" / file.name).symlink_to(file.resolve())
        for instances, threads in shares:
            engine = PiperEngine()
            settings = {"instances": str(instances), "threads": str(threads)}
            engine.load(Parameters("bench", settings, {}), version, ServingMetrics(None, "bench"))
            engine.warm_up()
            engines.append(engine)
    alone = [Load() for _ in shares]
    busy = [Load() for _ in shares]
    # In turns, so that a busy minute of the machine falls on all of them.
    for _ in range(ROUNDS):
        for engine, load in zip(engines, alone, strict=True):
            run_load(engine, short, 1, seconds / ROUNDS, load)
        for engine, load in zip(engines, busy, strict=True):
            run_load(engine, turn, callers, seconds / ROUNDS, load)
    rows = [
        f"| instances x threads | short sentence alone, p50 ms | first audio of {callers} callers,"
        " p50 / p95 ms | audio seconds a second |",
        "|---|---|---|---|",
    ]
    for (instances, threads), one, many in zip(shares, alone, busy, strict=True):
        rows.append(
            f"| {instances} x {threads} | {one.percentile(50):.0f} |"
            f" {many.percentile(50):.0f} / {many.percentile(95):.0f} | {many.throughput:.1f} |"
        )
    return rows


def _shares(cores: int) -> list[tuple[int, int]]:
    """(instances, threads): one of each, all on one sentence, one sentence a core, and too much."""
    shares = [(1, 1), (1, cores), (cores, 1), (cores, cores)]
    if cores >= 4:
        shares.insert(2, (cores // 2, 2))
    return list(dict.fromkeys(shares))


def options_table(model: Path, seconds: float) -> list[str]:
    """One row for every set of session options, on one forward pass of the longer sentence."""
    config = json.loads(model.with_name(f"{model.name}.json").read_text(encoding="utf-8"))
    voice = piper.PiperVoice(session=None, config=piper.PiperConfig.from_dict(config))
    ids = np.array(voice.phonemes_to_ids(voice.phonemize(LONGER)[0]), dtype=np.int64)
    inference = config["inference"]
    scales = [inference["noise_scale"], inference["length_scale"], inference["noise_w"]]
    inputs = {
        "input": ids[np.newaxis],
        "input_lengths": np.array([ids.size], np.int64),
        "scales": np.array(scales, np.float32),
    }
    if voice.config.num_speakers > 1:
        inputs["sid"] = np.array([0], np.int64)
    cores = len(os.sched_getaffinity(0))
    rows = ["| onnxruntime options | load, ms | one pass, p50 ms |", "|---|---|---|"]
    sessions = []
    for name, change in OPTIONS.items():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores
        options.inter_op_num_threads = 1
        if name != SPINNING:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        change(options)
        started = time.perf_counter()
        session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        sessions.append((name, session, 1000 * (time.perf_counter() - started)))
        session.run(None, inputs)
    times: dict[str, list[float]] = {name: [] for name, _, _ in sessions}
    for _ in range(ROUNDS):
        for name, session, _ in sessions:
            # Threads of the session before may still spin.
            session.run(None, inputs)
            until = time.perf_counter() + seconds / ROUNDS
            while time.perf_counter() < until:
                started = time.perf_counter()
                session.run(None, inputs)
                times[name].append(1000 * (time.perf_counter() - started))
    rows += [
        f"| {name} | {load:.0f} | {statistics.median(times[name]):.1f} |"
        for name, _, load in sessions
    ]
    return rows


def _level(name: str) -> Callable[[Any], None]:
    level = getattr(onnxruntime.GraphOptimizationLevel, name)
    return lambda options: setattr(options, "graph_optimization_level", level)


def _switch(attribute: str) -> Callable[[Any], None]:
    return lambda options: setattr(options, attribute, False)


SPINNING: Final = "waiting threads spin (onnxruntime's default)"

OPTIONS: Final[dict[str, Callable[[Any], None]]] = {
    "as the engine has them: all optimisations, arena, no spinning": lambda options: None,
    SPINNING: lambda options: None,
    "extended optimisations only": _level("ORT_ENABLE_EXTENDED"),
    "basic optimisations only": _level("ORT_ENABLE_BASIC"),
    "no optimisations": _level("ORT_DISABLE_ALL"),
    "no memory arena": _switch("enable_cpu_mem_arena"),
    "no memory pattern": _switch("enable_mem_pattern"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(description="Measures ways to spend the cores on Piper.")
    parser.add_argument("--voice", type=Path, default=SHIPPED, help="an .onnx with its JSON")
    parser.add_argument("--language", default="en")
    parser.add_argument("--seconds", type=float, default=4.0, help="for every figure")
    parser.add_argument("--callers", type=int, default=4)
    arguments = parser.parse_args(argv)
    load = os.getloadavg()[0]
    print(
        f"{arguments.voice.stem}, {len(os.sched_getaffinity(0))} cores, {platform.machine()},"
        f" onnxruntime {onnxruntime.__version__}, load before {load:.1f}\n"
    )
    rows = instances_table(
        arguments.voice, arguments.language, arguments.seconds, arguments.callers
    )
    print("\n".join(rows), end="\n\n")
    print("\n".join(options_table(arguments.voice, arguments.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
