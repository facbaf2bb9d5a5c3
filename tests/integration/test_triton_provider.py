"""The gateway's side of the stream, against a real tritonserver that is killed under it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tritonserver import Ports, Server, install, running
from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.providers.piper import piper_on_triton

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Callable, Iterator

    from voice_gateway.domain.speech import SpeechChunk
    from voice_gateway.providers.triton import TritonProvider

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    http, grpc, metrics = free_ports(3)
    return Server(
        installation=install(ROOT / ".local/tools"),
        repository=ROOT / "model_repository",
        source=ROOT / "triton/src",
        run_dir=tmp_path_factory.mktemp("triton"),
        models=("piper",),
        ports=Ports(http=http, grpc=grpc, metrics=metrics),
    )


@pytest.fixture(scope="module")
def start(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    log = tmp_path_factory.mktemp("log") / "triton.log"
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(running(server, log))


@pytest.fixture
async def provider(server: Server) -> AsyncIterator[TritonProvider]:
    provider = piper_on_triton(server.grpc_url, tls=False)
    yield provider
    await provider.aclose()


def request(*sentences: str, **more: object) -> SpeechRequest:
    values = {"sentences": sentences, "language": "en", "chain": ("piper",), **more}
    return SpeechRequest(**values)  # type: ignore[arg-type]


async def spoken(provider: TritonProvider, asked: SpeechRequest) -> list[SpeechChunk]:
    return [chunk async for chunk in provider.synthesize(asked)]


async def test_the_life_of_a_channel(
    start: Callable[[], subprocess.Popen[bytes]], provider: TritonProvider
) -> None:
    """Nobody there, there, hung up on, refused, killed in the middle, away, and back."""
    with pytest.raises(ProviderError) as nobody:
        await spoken(provider, request("Hello."))
    assert nobody.value.reason is FailureReason.UNAVAILABLE
    assert "UNAVAILABLE" in nobody.value.detail

    process = start()
    await provider.warm_up()
    chunks = await _until_it_answers(provider)
    assert [(c.sentence, c.last) for c in chunks] == [(0, True), (1, True)]
    assert all(c.voice == "budtender/shante" for c in chunks)
    assert all(c.sample_rate >= 16_000 and c.samples.dtype == np.float32 for c in chunks)

    async with aclosing(provider.synthesize(request(*["One more sentence."] * 20))) as stream:
        await anext(stream)
    assert len(await spoken(provider, request("Still here."))) == 1

    slow, fast = [
        sum(c.samples.size for c in await spoken(provider, request("How are you?", speed=speed)))
        for speed in (0.8, 1.6)
    ]
    assert slow / fast == pytest.approx(2, rel=0.2)

    with pytest.raises(ProviderError) as refused:
        await spoken(provider, request("Hello.", speed=float("nan")))
    assert refused.value.reason is FailureReason.REJECTED
    assert "speed" in refused.value.detail

    with pytest.raises(ProviderError) as french:
        await spoken(provider, request("Bonjour.", language="fr"))
    assert french.value.reason is FailureReason.UNAVAILABLE

    async with aclosing(provider.synthesize(request(*["A longer sentence, now."] * 200))) as stream:
        await anext(stream)
        process.send_signal(signal.SIGKILL)
        with pytest.raises(ProviderError) as killed:
            async for _ in stream:
                pass
    assert killed.value.reason is FailureReason.UNAVAILABLE

    start()
    assert await _until_it_answers(provider)


async def _until_it_answers(provider: TritonProvider) -> list[SpeechChunk]:
    """The channel finds a server that has come back by itself, within a reconnection's backoff."""
    asked = request("Good evening.", "How are you?", voices={"piper": "budtender/shante"})
    async with asyncio.timeout(5):
        while True:
            try:
                return await spoken(provider, asked)
            except ProviderError:
                await asyncio.sleep(0.05)


async def test_callers_at_once_each_hear_their_own(
    start: Callable[[], subprocess.Popen[bytes]], provider: TritonProvider
) -> None:
    await _until_it_answers(provider)
    texts = ["Yes.", "A good deal longer than that, I should say.", "Perhaps so."]
    alone = [(await spoken(provider, request(text)))[0].samples.size for text in texts]
    answers = await asyncio.gather(*(spoken(provider, request(texts[i % 3])) for i in range(12)))
    for index, (chunk,) in enumerate(answers):
        assert chunk.samples.size == pytest.approx(alone[index % 3], rel=0.25)


async def test_a_newcomer_is_heard_before_the_tail_of_long_texts(
    start: Callable[[], subprocess.Popen[bytes]], provider: TritonProvider
) -> None:
    await _until_it_answers(provider)
    begun = asyncio.Barrier(7)

    async def listen_long() -> None:
        chunks = provider.synthesize(request(*["A sentence that takes its time to say."] * 150))
        async with aclosing(chunks):
            await anext(chunks)
            await begun.wait()
            async for _ in chunks:
                pass

    listeners = [asyncio.create_task(listen_long()) for _ in range(6)]
    await begun.wait()
    assert len(await spoken(provider, request("Yes."))) == 1
    assert not any(listener.done() for listener in listeners)
    await asyncio.gather(*listeners)
