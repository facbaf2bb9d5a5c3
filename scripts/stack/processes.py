"""Keeps the stack's parts running in the background, after the command that started them ends.

A part is a process in a session of its own, known by a file in `.local/run` that holds its pid and
the time it started: a pid alone may be somebody else's by now.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from port_holder import holder_of, is_free

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from layout import Port

_POLL_SECONDS: Final = 0.05
_KILLED_SECONDS: Final = 5.0
_LOG_LINES: Final = 20
_MARK: Final = "VOICE_PART"
"""Environment variable of a part and of all that it starts: what tells its orphans from others."""


class PartError(RuntimeError):
    """A part cannot be started; the message says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What to start, and how to tell that it works."""

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str]
    cwd: Path
    ports: Sequence[Port]
    ready: Callable[[], bool]
    """Asked again and again; must answer within a second or two."""
    prepare: Callable[[], object] = lambda: None
    """Called before each start."""
    start_seconds: float = 60.0
    """How long it may take until it is ready."""
    stop_seconds: float = 15.0
    """How long it may take to end when asked."""
    fingerprint: str = ""
    """Changes when a running process would be an outdated one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A part's process."""

    pid: int
    started: str
    """The kernel's own start time: what tells the process from another with the same pid."""
    since: float
    """Wall time of the start."""
    ports: tuple[int, ...]
    fingerprint: str
    stop_seconds: float


class Supervisor:
    """Starts, finds and ends parts.

    Args:
        run: Folder of the pid files.
        logs: Folder of the log files.
    """

    def __init__(self, run: Path, logs: Path) -> None:
        self._run = run
        self._logs = logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        """Those that this very process started, and so has to reap."""

    def log(self, name: str) -> Path:
        """A part's log file."""
        return self._logs / f"{name}.log"

    def running(self, name: str) -> Running | None:
        """A part's process, if it lives."""
        found = self._recorded(name)
        return found if found and start_time(found.pid) == found.started else None

    def died(self, name: str) -> bool:
        """Whether a part was started and is gone without having been stopped."""
        return self._record(name).exists() and self.running(name) is None

    def start(self, part: Part) -> Running:
        """Starts a part and waits until it is ready.

        Raises:
            PartError: A port is taken, the process ended, or it was not ready in time.
        """
        for port in part.ports:
            self._claim(part, port)
        part.prepare()
        process = self._children[part.name] = self._spawn(part)
        started = start_time(process.pid)
        running = Running(
            pid=process.pid,
            started=started or "",
            since=time.time(),
            ports=tuple(port.number for port in part.ports),
            fingerprint=part.fingerprint,
            stop_seconds=part.stop_seconds,
        )
        self._run.mkdir(parents=True, exist_ok=True)
        self._record(part.name).write_text(json.dumps(asdict(running)), encoding="utf-8")
        deadline = time.monotonic() + part.start_seconds
        while not part.ready():
            if process.poll() is not None:
                self._reap(part.name)
                self._end_orphans(part.name)
                self._record(part.name).unlink(missing_ok=True)
                raise PartError(
                    f"{part.name} ended at once with status {process.returncode}. "
                    f"Its last words ({self.log(part.name)}):\n{self.tail(part.name)}"
                )
            if time.monotonic() > deadline:
                self.stop(part.name)
                raise PartError(
                    f"{part.name} was not ready after {part.start_seconds:.0f} seconds. "
                    f"Its last words ({self.log(part.name)}):\n{self.tail(part.name)}"
                )
            time.sleep(_POLL_SECONDS)
        return running

    def stop(self, name: str, seconds: float | None = None) -> bool:
        """Asks a part to end, and makes it end when it does not; tells whether it ran.

        Args:
            name: The part.
            seconds: How long it may take; None leaves it the part's own time.
        """
        running = self.running(name)
        if running is not None:
            with suppress(ProcessLookupError):
                os.kill(running.pid, signal.SIGTERM)
            if not self._gone(name, running, running.stop_seconds if seconds is None else seconds):
                _kill_session(running.pid)
                self._gone(name, running, _KILLED_SECONDS)
            # What it started may outlive it, and would keep its ports.
            _kill_session(running.pid)
            if name in self._children:
                self._children[name].wait(_KILLED_SECONDS)
        self._reap(name)
        self._end_orphans(name)
        self._record(name).unlink(missing_ok=True)
        return running is not None

    def tail(self, name: str, lines: int = _LOG_LINES) -> str:
        """The end of a part's log."""
        try:
            text = self.log(name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:]) or "(nothing)"

    def _end_orphans(self, name: str) -> None:
        """Kills what a part has left behind: a server that is killed takes nobody with it."""
        recorded = self._recorded(name)
        if recorded is None:
            return
        deadline = time.monotonic() + _KILLED_SECONDS
        while orphans := list(_members(recorded.pid, self._mark(name))):
            for pid in orphans:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                return
            time.sleep(_POLL_SECONDS)

    def _recorded(self, name: str) -> Running | None:
        try:
            record = json.loads(self._record(name).read_text(encoding="utf-8"))
            return Running(**{**record, "ports": tuple(record["ports"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _gone(self, name: str, running: Running, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while start_time(running.pid) == running.started:
            self._reap(name)
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _reap(self, name: str) -> None:
        if name in self._children and self._children[name].poll() is not None:
            del self._children[name]

    def _record(self, name: str) -> Path:
        return self._run / f"{name}.json"

    def _mark(self, name: str) -> str:
        return str(self._record(name).absolute())

    def _claim(self, part: Part, port: Port) -> None:
        if is_free(port.number):
            return
        holder = holder_of(port.number)
        raise PartError(
            f"{part.name} needs port {port.number}, and "
            + (f"{holder} has it. " if holder else "another program has it. ")
            + f"Stop that, or choose another port: {port.variable}={port.number + 10} make up"
        )

    def _spawn(self, part: Part) -> subprocess.Popen[bytes]:
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self.log(part.name)
        if log.exists():
            log.replace(log.with_suffix(".previous.log"))
        with log.open("wb") as output:
            try:
                return subprocess.Popen(
                    [str(word) for word in part.command],
                    cwd=part.cwd,
                    env={**part.environment, _MARK: self._mark(part.name)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise PartError(f"{part.name} cannot be run: {error}") from error


def start_time(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = _after_name(stat)
    state, threads, started = fields[0], int(fields[17]), fields[19]
    # A first thread that has ended is a zombie too, while others still write what is to be kept.
    dead = state in "ZX" and threads <= 1
    return None if dead else started


def _kill_session(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _members(session: int, mark: str) -> Iterator[int]:
    """The living processes of a session, but for those of a stranger who has its number by now."""
    wanted = f"{_MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = _after_name((folder / "stat").read_text(encoding="utf-8"))
            if (
                int(fields[3]) == session
                and fields[0] not in "ZX"
                and wanted in (folder / "environ").read_bytes().split(b"\0")
            ):
                yield int(folder.name)


def _after_name(stat: str) -> list[str]:
    # The name may hold spaces and brackets; the state follows the last bracket.
    return stat.rpartition(")")[2].split()
