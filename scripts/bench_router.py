"""What routing costs: in this process, and over HTTP beside LiteLLM's proxy.

The vendor is a local server that answers `POST /v1/audio/speech` at once. It is called directly,
through LiteLLM's proxy and through our speech app, turn and turn about in one run; overhead is what
a way takes beyond the direct call. Each server is one process with one worker. Behind our app stand
the real router, breakers and allowance on a real Redis; personalities and receipts are in memory,
and LiteLLM runs without a database, with the one key that it will not start without.

    make bench-router               # 500 rounds
    make bench-router ROUNDS=100

Prints Markdown tables for docs/benchmarks.md; its exit status tells whether the bounds below hold.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
import numpy as np
from aiohttp import web

import layout
import redis_server
from tools import install_tool
from voice_gateway.adapters.health_store import (
    EitherHealthStore,
    MemoryHealthStore,
    RedisHealthStore,
)
from voice_gateway.adapters.redis_connection import RedisConnection
from voice_gateway.adapters.shared_hedges import SharedHedges
from voice_gateway.adapters.stored_health import StoredHealth
from voice_gateway.adapters.system_clock import SystemClock
from voice_gateway.domain.speech import ProviderCapabilities, SpeechChunk, SpeechRequest
from voice_gateway.providers.fallback import FallbackProvider
from voice_gateway.providers.registry import ProviderRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

    from numpy.typing import NDArray
    from starlette.applications import Starlette

RATE: Final = 24_000
TEXT: Final = "Welcome in. Take your time."
SENTENCES: Final = ("Welcome in.", "Take your time.")
P50_MS: Final = 3.0
P99_MS: Final = 15.0
SHARE_OF_LITELLM: Final = 1 / 3
_REQUIREMENTS: Final = layout.ROOT / "infrastructure" / "requirements" / "litellm.txt"
_VENDOR: Final = "VOICE_BENCH_VENDOR"
_REDIS: Final = "VOICE_BENCH_REDIS"
_WARMING: Final = 30
_SETTLE_SECONDS: Final = 0.05
_START_SECONDS: Final = 120.0


def tone() -> NDArray[np.float32]:
    """Half a second, mono float32."""
    turns = np.arange(RATE // 2, dtype=np.float32) * np.float32(220 / RATE)
    wave: NDArray[np.float32] = np.float32(0.3) * np.sin(np.float32(2 * np.pi) * turns)
    return wave


class OpenAiSpeech:
    """A provider on `POST /v1/audio/speech`: what LiteLLM calls, too."""

    name = "google"  # any name that chains may hold
    capabilities = ProviderCapabilities(languages=frozenset({"en"}))

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def warm_up(self) -> None:
        """Opens the session."""
        self._session = self._session or aiohttp.ClientSession()

    async def aclose(self) -> None:
        """Closes it."""
        if self._session is not None:
            await self._session.close()

    async def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        """Asks for all sentences at once, as LiteLLM does with the whole text."""
        await self.warm_up()
        assert self._session is not None
        body = {
            "model": "tts-1",
            "voice": "alloy",
            "input": " ".join(request.sentences),
            "response_format": "pcm",
        }
        async with self._session.post(f"{self._url}/v1/audio/speech", json=body) as answer:
            whole = np.frombuffer(await answer.read(), np.int16)
            samples = whole.astype(np.float32) * np.float32(1 / 32768)
        for index, piece in enumerate(np.array_split(samples, len(request.sentences))):
            yield SpeechChunk(
                samples=piece,
                sample_rate=RATE,
                sentence=index,
                last=True,
                provider=self.name,
                voice="alloy",
            )


class Instant:
    """A provider that has everything ready."""

    name = "piper"
    capabilities = ProviderCapabilities(languages=frozenset({"en"}))

    def __init__(self) -> None:
        self._samples = tone()

    async def warm_up(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to close."""

    async def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        """Gives a tone a sentence."""
        for index in range(len(request.sentences)):
            yield SpeechChunk(
                samples=self._samples,
                sample_rate=RATE,
                sentence=index,
                last=True,
                provider=self.name,
                voice="tone",
            )


@asynccontextmanager
async def routed(
    redis_url: str, provider: OpenAiSpeech | Instant
) -> AsyncIterator[FallbackProvider]:
    """The router as the speech function has it, with one provider."""
    clock = SystemClock()
    connection = RedisConnection(redis_url, clock)
    store = EitherHealthStore(RedisHealthStore(connection), MemoryHealthStore())
    router = FallbackProvider(
        ProviderRegistry({provider.name: lambda: provider}),
        clock,
        health=StoredHealth(store, clock),
        hedges=SharedHedges(connection, 5),
    )
    await router.warm_up()
    try:
        yield router
    finally:
        await router.aclose()
        await connection.aclose()


async def in_process(redis_url: str, rounds: int) -> list[float]:
    """Seconds that the router adds to a provider that has everything ready."""
    provider, added = Instant(), []
    async with routed(redis_url, provider) as router:
        for each in range(rounds + _WARMING):
            request = SpeechRequest(
                sentences=SENTENCES, language="en", chain=(provider.name,), tenant_id="bench"
            )
            started = time.perf_counter()
            async for _ in provider.synthesize(request):
                pass
            between = time.perf_counter()
            async for _ in router.synthesize(request):
                pass
            ended = time.perf_counter()
            if each >= _WARMING:
                added.append((ended - between) - (between - started))
            # A request does not come on the heels of the one before: its reports are in by then.
            await asyncio.sleep(0.002)
    return added


async def over_http(
    ways: dict[str, tuple[str, dict[str, object]]], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each way's calls, from the request to the last byte."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    async with aiohttp.ClientSession() as session:
        for each in range(rounds + _WARMING):
            for name, (url, body) in ways.items():
                # LiteLLM goes on for a while when it has answered, and would slow whoever is next.
                await asyncio.sleep(_SETTLE_SECONDS)
                started = time.perf_counter()
                async with session.post(url, json=body, headers=_SIGNED_IN) as answer:
                    audio = await answer.read()
                took = time.perf_counter() - started
                if answer.status != 200 or len(audio) < RATE // 2:
                    sys.exit(f"{name} answered {answer.status}: {audio[:300]!r}")
                if each >= _WARMING:
                    times[name].append(took)
    return times


_KEY: Final = "sk-only-on-this-machine-0123456789abcdef"
_SIGNED_IN: Final = {
    "authorization": f"Bearer {_KEY}",
    # What API Gateway hands the function after its authorizer.
    "x-amzn-request-context": (
        '{"requestId": "bench", "authorizer": {"tenant": "bench", "scopes": "speech:write"}}'
    ),
}


def vendor() -> web.Application:
    """The vendor: the same half second for everybody."""
    audio = (tone() * 32767).astype(np.int16).tobytes()

    async def speak(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=audio, content_type="audio/pcm")

    app = web.Application()
    app.router.add_post("/v1/audio/speech", speak)
    return app


def ours() -> Starlette:
    """Our speech app, which uvicorn runs; see `voice_gateway.handlers.speech.create_app`."""
    from fakes.levels import FakeVoiceLevels
    from fakes.personalities import FakePersonalities
    from fakes.speaking import speech_service
    from voice_gateway.domain.personality import Personality, VoiceConfig
    from voice_gateway.handlers.speech import create_app

    clock = SystemClock()
    connection = RedisConnection(os.environ[_REDIS], clock)
    store = EitherHealthStore(RedisHealthStore(connection), MemoryHealthStore())
    health = StoredHealth(store, clock)
    speech = OpenAiSpeech(os.environ[_VENDOR])
    registry = ProviderRegistry({speech.name: lambda: speech})
    personality = Personality(
        id="bench",
        tenant_id="bench",
        name="Bench",
        voice_config=VoiceConfig.model_validate({"provider": speech.name}),
        created_at=clock.now(),
        updated_at=clock.now(),
    )
    return create_app(
        speech_service(
            FakePersonalities(personality),
            registry,
            FallbackProvider(registry, clock, health=health, hedges=SharedHedges(connection, 5)),
            clock,
            # A voice is measured once; from then on its level is known.
            levels=FakeVoiceLevels(**{f":{speech.name}:alloy": -20.0}),
        )
    )


@contextmanager
def running(name: str, command: Sequence[object], port: int, **variables: str) -> Iterator[str]:
    """Runs a server until the end; yields its address once it listens."""
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, **variables},
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                log.seek(0)
                sys.exit(f"{name} did not start:\n{log.read().decode()[-3000:]}")
            time.sleep(0.1)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def main() -> int:
    """Measures, prints, and tells whether the promises hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--vendor", type=int, metavar="PORT", help="be the vendor")
    options = parser.parse_args()
    if options.vendor:
        web.run_app(vendor(), host="127.0.0.1", port=options.vendor, print=None, access_log=None)
        return 0
    litellm = install_tool("litellm", _REQUIREMENTS, layout.TOOLS) / "bin" / "litellm"
    redis_port, vendor_port, ours_port, litellm_port = (_free_port() for _ in range(4))
    with ExitStack() as servers, tempfile.TemporaryDirectory() as folder:

        def start(name: str, command: Sequence[object], port: int, **variables: str) -> str:
            return servers.enter_context(running(name, command, port, **variables))

        program = redis_server.install(layout.TOOLS)
        start("redis", redis_server.command(program, redis_port), redis_port)
        redis_url = f"redis://127.0.0.1:{redis_port}"
        vendor_url = start(
            "vendor", (sys.executable, __file__, "--vendor", vendor_port), vendor_port
        )
        config = Path(folder) / "litellm.yaml"
        config.write_text(
            "model_list:\n  - model_name: tts\n    litellm_params:\n      model: openai/tts-1\n"
            f"      api_base: {vendor_url}/v1\n      api_key: sk-local\n",
            encoding="utf-8",
        )
        litellm_url = start(
            "litellm",
            (litellm, "--config", config, "--host", "127.0.0.1", "--port", litellm_port),
            litellm_port,
            LITELLM_LOCAL_MODEL_COST_MAP="True",
            LITELLM_LOG="ERROR",
            LITELLM_MASTER_KEY=_KEY,
        )
        uvicorn = (sys.executable, "-m", "uvicorn", "bench_router:ours", "--factory")
        quiet = ("--no-access-log", "--no-server-header", "--log-level", "warning")
        ours_url = start(
            "our app",
            (*uvicorn, "--host", "127.0.0.1", "--port", ours_port, *quiet),
            ours_port,
            **{_REDIS: redis_url, _VENDOR: vendor_url},
        )
        openai = {"model": "tts", "voice": "alloy", "input": TEXT, "response_format": "pcm"}
        own = {
            "text": TEXT,
            "personality": "bench",
            "provider": "google",
            "format": "pcm",
            "fresh": True,
        }
        ways: dict[str, tuple[str, dict[str, object]]] = {
            "the vendor, directly": (f"{vendor_url}/v1/audio/speech", {**openai}),
            "through LiteLLM's proxy": (f"{litellm_url}/v1/audio/speech", {**openai}),
            "through our speech app": (f"{ours_url}/api/speech", {**own}),
        }
        added = asyncio.run(in_process(redis_url, options.rounds * 4))
        times = asyncio.run(over_http(ways, options.rounds))
    return _report(added, times)


def _report(added: list[float], times: dict[str, list[float]]) -> int:
    p50, p99 = (float(np.percentile(added, share)) * 1000 for share in (50, 99))
    print(_row("in this process", "p50 ms", "p99 ms"), _row(*["---"] * 3), sep="\n")
    print(_row("the router", f"{p50:.2f}", f"{p99:.2f}"), end="\n\n")
    print(
        _row("over HTTP", "p50 ms", "p95 ms", "p99 ms", "overhead p50 ms"),
        _row(*["---"] * 5),
        sep="\n",
    )
    direct, *proxies = times
    medians = {name: float(np.median(each)) * 1000 for name, each in times.items()}
    for name, each in times.items():
        p95, worst = (float(np.percentile(each, share)) * 1000 for share in (95, 99))
        over = f"{medians[name] - medians[direct]:.2f}" if name != direct else ""
        print(_row(name, f"{medians[name]:.2f}", f"{p95:.2f}", f"{worst:.2f}", over))
    theirs, own = (medians[name] - medians[direct] for name in proxies)
    print(f"\nOurs is {own / theirs:.0%} of LiteLLM's overhead.")
    kept = p50 <= P50_MS and p99 <= P99_MS and own <= theirs * SHARE_OF_LITELLM
    return 0 if kept else 1


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
