"""The supervisor of the local stack's parts, on real processes and ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from layout import Port
from port_holder import holder_of, is_free
from processes import Part, PartError, Supervisor, start_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

SERVE = """
import pathlib, signal, socket, sys, time
print("listening", flush=True)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    if sys.argv[2:] == ["stubborn"]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("stubborn", flush=True)
    time.sleep(60)
"""

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("child", child.pid, flush=True)
if sys.argv[2:] == ["fleeting"]:
    raise SystemExit(7)
time.sleep(60)
"""


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Port:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    monkeypatch.setenv("TEST_PORT", str(number))
    return Port("TEST_PORT", 1)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "run", tmp_path / "log")
    yield made
    made.stop("part")


def part(port: Port, code: str = SERVE, *arguments: str, **options: Any) -> Part:
    return Part(
        **{
            "name": "part",
            "command": [sys.executable, "-c", code, str(port.number), *arguments],
            "environment": {"PYTHONUNBUFFERED": "1"},
            "cwd": options.pop("cwd", None) or os.curdir,
            "ports": (port,),
            "ready": lambda: not is_free(port.number),
            "start_seconds": 20.0,
            **options,
        }
    )


def test_starts_finds_and_stops_a_part(supervisor: Supervisor, port: Port) -> None:
    assert supervisor.running("part") is None
    started = supervisor.start(part(port, fingerprint="a"))
    found = supervisor.running("part")
    assert found == started
    assert (found.fingerprint, found.ports) == ("a", (port.number,))
    assert time.time() - found.since < 30
    assert os.getsid(found.pid) == found.pid
    assert "listening" in supervisor.tail("part")
    assert supervisor.stop("part")
    assert supervisor.running("part") is None
    assert not supervisor.died("part")
    assert is_free(port.number)
    assert not supervisor.stop("part")


def test_kills_what_does_not_end(supervisor: Supervisor, port: Port) -> None:
    stubborn = part(port, SERVE, "stubborn", stop_seconds=0.3)
    ready = stubborn.ready
    object.__setattr__(stubborn, "ready", lambda: ready() and "stubborn" in supervisor.tail("part"))
    pid = supervisor.start(stubborn).pid
    assert supervisor.stop("part")
    assert start_time(pid) is None


def test_knows_a_death(supervisor: Supervisor, port: Port) -> None:
    pid = supervisor.start(part(port)).pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert supervisor.running("part") is None
    assert supervisor.died("part")


def test_takes_no_stranger_for_the_part(supervisor: Supervisor, port: Port, tmp_path: Path) -> None:
    supervisor.start(part(port))
    supervisor.stop("part")
    # As if the pid had been given to another process since: this one.
    record = {
        **{"pid": os.getpid(), "started": "1", "since": 0.0, "ports": [1]},
        **{"fingerprint": "", "stop_seconds": 1.0},
    }
    (tmp_path / "run" / "part.json").write_text(json.dumps(record), encoding="utf-8")
    assert supervisor.running("part") is None
    assert not supervisor.stop("part")


def test_ends_what_a_killed_part_left_behind(supervisor: Supervisor, port: Port) -> None:
    parent = part(port, PARENT, ready=lambda: "child" in supervisor.tail("part"))
    pid = supervisor.start(parent).pid
    child = int(supervisor.tail("part").split()[-1])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert supervisor.died("part")
    assert start_time(child) is not None
    assert not supervisor.stop("part")
    assert start_time(child) is None


def test_ends_what_a_part_left_that_ended_at_once(supervisor: Supervisor, port: Port) -> None:
    with pytest.raises(PartError, match="status 7"):
        supervisor.start(part(port, PARENT, "fleeting", ready=lambda: False))
    assert start_time(int(supervisor.tail("part").split()[-1])) is None


def test_spares_a_session_that_has_the_dead_part_s_number(
    supervisor: Supervisor, port: Port, tmp_path: Path
) -> None:
    supervisor.start(part(port))
    record = tmp_path / "run" / "part.json"
    dead = json.loads(record.read_text(encoding="utf-8"))
    supervisor.stop("part")
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        record.write_text(json.dumps({**dead, "pid": stranger.pid}), encoding="utf-8")
        assert not supervisor.stop("part")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_shows_the_last_words_of_what_ends_at_once(supervisor: Supervisor, port: Port) -> None:
    with pytest.raises(PartError, match=r"(?s)ended at once with status 7.*out of luck"):
        supervisor.start(part(port, "print('out of luck'); raise SystemExit(7)"))
    assert not supervisor.died("part")


def test_gives_up_on_what_never_gets_ready(supervisor: Supervisor, port: Port) -> None:
    with pytest.raises(PartError, match="not ready after 1 second"):
        supervisor.start(part(port, ready=lambda: False, start_seconds=1.0))
    assert supervisor.running("part") is None
    assert is_free(port.number)


def test_names_who_has_the_port_and_how_to_move(supervisor: Supervisor, port: Port) -> None:
    with socket.create_server(("127.0.0.1", port.number)):
        assert f"(pid {os.getpid()})" in str(holder_of(port.number))
        with pytest.raises(PartError) as caught:
            supervisor.start(part(port))
    message = str(caught.value)
    assert f"needs port {port.number}" in message
    assert f"(pid {os.getpid()})" in message
    assert f"TEST_PORT={port.number + 10}" in message


def test_says_what_cannot_be_run(supervisor: Supervisor, port: Port) -> None:
    with pytest.raises(PartError, match="cannot be run"):
        supervisor.start(part(port, command=["/nowhere/program"]))


def test_keeps_the_log_of_the_time_before(supervisor: Supervisor, port: Port) -> None:
    for _ in range(2):
        supervisor.start(part(port))
        supervisor.stop("part")
    assert supervisor.log("part").with_suffix(".previous.log").exists()


@pytest.mark.parametrize("text", ["x", "0", "65536", "-1"])
def test_refuses_what_is_no_port(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TEST_PORT", text)
    with pytest.raises(SystemExit, match="TEST_PORT"):
        _ = Port("TEST_PORT", 1).number
