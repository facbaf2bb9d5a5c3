"""Child processes that never outlive the process that started them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from typing import TYPE_CHECKING, Final

from processes import start_time

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)


async def spawn(
    command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str]
) -> Process:
    """Starts a process in a session of its own.

    Its own session makes it and whatever it starts killable as one. The kernel kills it when we
    die, even by SIGKILL, when nobody could tidy up after us.

    Raises:
        OSError: The command cannot be run.
    """
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )


def kill(process: Process) -> None:
    """Kills the process and everything that it started, at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def alive(process: Process) -> bool:
    """Whether it runs: asked of the kernel, since asyncio learns of a death a moment late."""
    return start_time(process.pid) is not None


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
