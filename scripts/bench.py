"""How much the road costs: Piper in this process, through Triton, and through the whole API.

They speak the same texts in the same voice, turn and turn about in one run, so that a drift of
the machine's speed falls on all of them alike.

    make bench            # 30 rounds
    make bench ROUNDS=10

Prints Markdown tables for docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import statistics
import subprocess
import sys
import time
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import numpy as np
import onnxruntime
from piper import PiperConfig, PiperVoice, SynthesisConfig
from rich.console import Console
from rich.progress import track

import layout
import stack
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.domain.text import split_sentences
from voice_gateway.providers.piper import piper_on_triton

VOICE: Final = layout.ROOT / "model_repository/piper/1/voices/budtender.onnx"
SPEAKER: Final = "marcel"
SETTLE_SECONDS: Final = 0.1
TEXTS: Final = {
    10: "Welcome to WeedGo! How can I help you today, friend?",
    20: (
        "Welcome to WeedGo! This week we have a fresh harvest from the coast. "
        "Would you like to try something new?"
    ),
    50: (
        "Welcome to WeedGo! This week we have a fresh harvest from the coast. "
        "Blue Dream is sweet and calm, with a hint of berries and pine. "
        "If you want to stay clear in the head, ask me for something lighter. "
        "Everything is ten percent off until Sunday evening, so take your time."
    ),
}


@dataclass
class Timing:
    """What one way measured for one text."""

    total: list[float] = field(default_factory=list)
    """Seconds from the call to the last sample."""
    first: list[float] = field(default_factory=list)
    """Seconds to the first sample."""
    audio_seconds: float = 0.0

    def row(self) -> list[str]:
        """p50 and p95 of the total, p50 of the first audio, all in ms, and the real-time factor."""
        p95 = float(np.percentile(self.total, 95))
        return [
            f"{statistics.median(self.first) * 1000:.1f}",
            f"{statistics.median(self.total) * 1000:.1f}",
            f"{p95 * 1000:.1f}",
            f"{statistics.median(self.total) / self.audio_seconds:.4f}",
        ]


Way = Callable[[str, Timing], Awaitable[None]]


def in_process() -> Way:
    """Piper as its own package runs it, into a WAV: its phonemiser, its session's defaults."""
    config = PiperConfig.from_dict(json.loads(Path(f"{VOICE}.json").read_text(encoding="utf-8")))
    session = onnxruntime.InferenceSession(str(VOICE), providers=["CPUExecutionProvider"])
    voice = PiperVoice(session=session, config=config)
    settings = SynthesisConfig(speaker_id=config.speaker_id_map[SPEAKER])

    async def speak(text: str, timing: Timing) -> None:
        started, first, body = time.perf_counter(), None, io.BytesIO()
        with wave.open(body, "wb") as file:
            file.setparams((1, 2, config.sample_rate, 0, "NONE", ""))
            for chunk in voice.synthesize(text, settings):
                first = first or time.perf_counter()
                file.writeframes(chunk.audio_int16_bytes)
        _note(timing, started, first, body.tell() / 2 / config.sample_rate)

    return speak


def through_triton(url: str) -> Way:
    """One gRPC stream a text, the channel kept."""
    provider = piper_on_triton(url, tls=False)

    async def speak(text: str, timing: Timing) -> None:
        started, first, seconds = time.perf_counter(), None, 0.0
        request = SpeechRequest(
            sentences=split_sentences(text, "en"),
            language="en",
            chain=("piper",),
            voices={"piper": f"budtender/{SPEAKER}"},
        )
        async for chunk in provider.synthesize(request):
            first = first or time.perf_counter()
            seconds += chunk.samples.size / chunk.sample_rate
        _note(timing, started, first, seconds)

    return speak


def through_api(client: aiohttp.ClientSession, *, cached: bool) -> Way:
    """What an agent does: a POST, and the WAV as it comes; the connection is kept.

    Args:
        client: Keeps it.
        cached: Whether the text may be one that was spoken before.
    """

    async def speak(text: str, timing: Timing) -> None:
        started, first, size = time.perf_counter(), None, 0
        request = {"text": text, "personality": SPEAKER, "strict": True, "fresh": not cached}
        async with client.post("/api/speech", json=request) as answer:
            answer.raise_for_status()
            async for piece in answer.content.iter_any():
                ended = time.perf_counter()
                first = first or ended
                size += len(piece)
        _note(timing, started, first, size / 2 / 24_000, ended)

    return speak


def _note(
    timing: Timing,
    started: float,
    first: float | None,
    audio_seconds: float,
    ended: float | None = None,
) -> None:
    if first is None:
        raise RuntimeError("there was no audio")
    timing.total.append((ended or time.perf_counter()) - started)
    timing.first.append(first - started)
    timing.audio_seconds = audio_seconds


async def measure(ways: dict[str, Way], rounds: int) -> dict[tuple[int, str], Timing]:
    """Runs every way over every text, turn and turn about."""
    timings = {(words, way): Timing() for words in TEXTS for way in ways}
    for way in ways.values():
        for text in TEXTS.values():
            await way(text, Timing())
    async for _ in _rounds(rounds):
        for words, text in TEXTS.items():
            for name, way in ways.items():
                # onnxruntime's threads spin on for a while, and would slow whoever comes next.
                await asyncio.sleep(SETTLE_SECONDS)
                await way(text, timings[words, name])
    return timings


async def _rounds(count: int) -> AsyncIterator[int]:
    for index in track(range(count), "measuring", console=Console(stderr=True)):
        yield index


def table(timings: dict[tuple[int, str], Timing], ways: list[str]) -> list[str]:
    """The Markdown table: the difference is of medians, against the first way."""
    lines = [
        "| words | way | first audio ms | total p50 ms | total p95 ms | real-time factor "
        "| over in-process |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for words in TEXTS:
        base = statistics.median(timings[words, ways[0]].total)
        for way in ways:
            timing = timings[words, way]
            over = statistics.median(timing.total) - base
            cost = "" if way == ways[0] else f"{over * 1000:+.1f} ms, {over / base:+.1%}"
            lines.append("| " + " | ".join([str(words), way, *timing.row(), cost]) + " |")
    return lines


def cold_imports(runs: int = 7) -> list[str]:
    """What a cold start spends on imports, each in a fresh interpreter with its bytecode cached."""
    lines = ["| handler | cold import p50 ms | max ms |", "| --- | --- | --- |"]
    for name in ("speech", "personalities", "authorizer"):
        measured = []
        for _ in range(runs):
            program = (
                "import time; started = time.perf_counter(); "
                f"import voice_gateway.handlers.{name}; print(time.perf_counter() - started)"
            )
            done = subprocess.run(
                [sys.executable, "-c", program],
                env={"PATH": os.defpath, "PYTHONPATH": str(layout.FUNCTIONS)},
                capture_output=True,
                text=True,
                check=True,
            )
            measured.append(1000 * float(done.stdout))
        lines.append(f"| {name} | {statistics.median(measured):.0f} | {max(measured):.0f} |")
    return lines


async def main(rounds: int) -> None:
    """Measures and prints."""
    there = stack.up()
    key = {"Authorization": f"Bearer {there[stack.API_KEY]}"}
    async with aiohttp.ClientSession(there[stack.URL], headers=key) as client:
        ways = {
            "piper-tts in-process": in_process(),
            "through Triton": through_triton(f"127.0.0.1:{layout.TRITON_GRPC_PORT.number}"),
            "through the API": through_api(client, cached=False),
            "through the API, from the cache": through_api(client, cached=True),
        }
        timings = await measure(ways, rounds)
    print("\n".join([*table(timings, list(ways)), "", *cold_imports()]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=30)
    asyncio.run(main(parser.parse_args().rounds))
