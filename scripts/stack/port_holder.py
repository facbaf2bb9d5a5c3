"""Who listens on a port of this machine."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"


def is_free(port: int) -> bool:
    """Whether somebody could listen there, on 127.0.0.1."""
    with socket.socket() as probe:
        # As servers do; without it, a port just left counts as taken for a minute.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def holder_of(port: int) -> str | None:
    """Names the process that listens, such as `nginx (pid 42)`; None when it is not ours to see."""
    links = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            if any(str(descriptor.readlink()) in links for descriptor in folder.iterdir()):
                words = (folder.parent / "cmdline").read_bytes().split(b"\0")
                command = b" ".join(words).decode(errors="replace").strip()
                return f"`{command[:80]}` (pid {folder.parent.name})"
    return None


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text(encoding="utf-8").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes
