"""What holds for every test, and the Redis of those that need a real one."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import settings

import redis_server
from fakes.virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# The same examples at every run: a test that fails on one machine fails on all. To look for new
# ones: pytest --hypothesis-profile=default
settings.register_profile("fixed", derandomize=True, database=None)
settings.load_profile("fixed")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Gives tests marked `virtual_time` a loop in which nobody waits for real."""
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualTimeLoop}
    return {"real": asyncio.new_event_loop}


_TOOLS: Final = Path(__file__).parents[1] / ".local" / "tools"


class RedisServer:
    """A Redis of the tests' own, which can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, empty."""
        command = redis_server.command(redis_server.install(_TOOLS), self.port)
        log = self._folder / "log"
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdout=sink, stderr=subprocess.STDOUT
            )
        for _ in range(300):
            if redis_server.ready(self.port):
                return
            time.sleep(0.02)
        pytest.fail(f"redis-server did not start:\n{log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Ends it; whoever is connected learns it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(_redis_server: RedisServer) -> str:
    """Where a real Redis answers, empty."""
    with socket.create_connection(("127.0.0.1", _redis_server.port), timeout=5.0) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        assert connection.recv(16).startswith(b"+OK")
    return _redis_server.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may stop and start."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def tiny_xtts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random checkpoint of XTTS v2, in the official format."""
    import torch

    from random_xtts import TINY, write_xtts

    # For networks this small a second thread costs more than it brings.
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("xtts") / "checkpoint"
    write_xtts(folder, TINY)
    return folder


@pytest.fixture(scope="session")
def tiny_styletts2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random checkpoint of StyleTTS2, in the official format."""
    import torch

    from random_styletts2 import upstream, write_styletts2

    # For networks this small a second thread costs more than it brings.
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("styletts2") / "checkpoint"
    write_styletts2(folder, upstream(tiny=True))
    return folder
