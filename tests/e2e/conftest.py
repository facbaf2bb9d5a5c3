"""A whole local stack of the tests' own, beside whatever the developer has running."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
_PORTS = (
    "VOICE_PORT",
    "VOICE_AWS_PORT",
    "VOICE_REDIS_PORT",
    "VOICE_TRITON_HTTP_PORT",
    "VOICE_TRITON_GRPC_PORT",
    "VOICE_TRITON_METRICS_PORT",
    "VOICE_VENDORS_PORT",
    "VOICE_VENDORS_GRPC_PORT",
)


@dataclass(frozen=True)
class Stack:
    """The stack, and the commands a person would give it."""

    local: Path
    environment: dict[str, str]

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of `scripts/stack/main.py`."""
        return subprocess.run(
            [sys.executable, "scripts/stack/main.py", *command],
            cwd=ROOT,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def speak(self, out: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """What `make speak` runs."""
        named = {f"VOICE_{name.upper()}": value for name, value in variables.items()}
        return self.run("speak", VOICE_OUT=str(out), **named)

    def client(self, **headers: str) -> httpx.Client:
        """A client that is signed in."""
        lines = (self.local / "stack.env").read_text(encoding="utf-8").splitlines()
        values = dict(line.split("=", 1) for line in lines if "=" in line)
        key = {"Authorization": f"Bearer {values['VOICE_API_KEY']}"}
        return httpx.Client(
            base_url=values["VOICE_URL"], headers=key | headers, timeout=60, trust_env=False
        )

    def pid(self, part: str) -> int:
        """The process that runs a part."""
        text = (self.local / "run" / f"{part}.json").read_text(encoding="utf-8")
        return int(json.loads(text)["pid"])


@contextlib.contextmanager
def stack_in(local: Path, **variables: str) -> Iterator[Stack]:
    """Runs a stack for a block, told what is in `variables`."""
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in _PORTS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [str(each.getsockname()[1]) for each in sockets]
    environment = {
        **os.environ,
        "VOICE_LOCAL": str(local),
        "PYTHONSAFEPATH": "1",
        "COLUMNS": "200",
        **dict(zip(_PORTS, ports, strict=True)),
        **variables,
    }
    stack = Stack(local, environment)
    try:
        up = stack.run("up")
        assert up.returncode == 0, up.stdout + up.stderr
        yield stack
    finally:
        stack.run("down")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack_in(tmp_path_factory.mktemp("local")) as stack:
        yield stack
