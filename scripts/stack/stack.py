"""Brings the local stack up and down: what is missing is installed, what is down is started."""

from __future__ import annotations

import fcntl
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import aws
import canary
import layout
import parts
from processes import Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from processes import Part

_BUILDERS: Final = {
    parts.TRITON: parts.triton,
    parts.AWS: parts.local_aws,
    parts.REDIS: parts.redis,
    parts.VENDORS: parts.vendors,
    parts.GATEWAY: parts.gateway,
}
URL: Final = "VOICE_URL"
API_KEY: Final = "VOICE_API_KEY"

supervisor: Final = Supervisor(layout.RUN, layout.LOGS)


def up() -> dict[str, str]:
    """Starts whatever is not running, or runs outdated code, and waits until it works.

    Returns:
        What a client needs: `VOICE_URL` and `VOICE_API_KEY`.

    Raises:
        PartError: A part could not be started.
        tools.InstallError: Something could not be fetched.
    """
    with _alone():
        # The models load while the tables are made: the two need nothing of each other.
        with ThreadPoolExecutor() as pool:
            triton = pool.submit(_ensure, parts.TRITON)
            vendors = pool.submit(_ensure, parts.VENDORS)
            _ensure(parts.AWS)
            client = _store()
            _ensure(parts.REDIS)
            vendors.result()
            triton.result()
        _ensure(parts.GATEWAY)
        if not _sings(client):
            # Its health endpoints go on answering when the process of a model is dead.
            print(f"  {parts.TRITON} is up but does not speak ...", flush=True)
            # And it would wait half a minute for the dead to finish.
            supervisor.stop(parts.TRITON, seconds=1.0)
            _ensure(parts.TRITON)
            if not _sings(client):
                print(f"  {parts.TRITON} still does not speak: make logs PART={parts.TRITON}")
        return client


def up_but_speakers() -> dict[str, str]:
    """As `up`, but leaves Triton and the vendors as they are, dead or alive."""
    with _alone():
        _ensure(parts.AWS)
        client = _store()
        _ensure(parts.REDIS)
        _ensure(parts.GATEWAY)
        return client


def down() -> list[str]:
    """Ends every part; returns those that ran."""
    with _alone():
        return [name for name in reversed(parts.NAMES) if supervisor.stop(name)]


def start(name: str) -> None:
    """Starts one part, and waits until the API speaks through it if the rest is there.

    Raises:
        PartError: It could not be started.
    """
    with _alone():
        _ensure(name)
        known = client()
        if known and all(supervisor.running(part) for part in parts.NAMES) and not _sings(known):
            print(f"  the API does not speak through {parts.TRITON}: make up")


def stop(name: str) -> bool:
    """Ends one part; tells whether it ran."""
    with _alone():
        return supervisor.stop(name)


def client() -> dict[str, str]:
    """What the last `up` left for clients; empty before the first."""
    try:
        lines = layout.STACK_ENV.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _ensure(name: str) -> None:
    part = _BUILDERS[name]()
    running = supervisor.running(name)
    if running is not None and running.fingerprint == part.fingerprint:
        if _answers(part):
            return
        print(f"  {name} does not answer: starting it again ...", flush=True)
    elif running is not None:
        print(f"  {name} is outdated: starting it again ...", flush=True)
    elif supervisor.died(name):
        print(f"  {name} had died: starting it again ...", flush=True)
    else:
        print(f"  starting {name} ...", flush=True)
    supervisor.stop(name)
    started = time.monotonic()
    supervisor.start(part)
    print(f"  {name} is ready ({time.monotonic() - started:.1f} s)", flush=True)


def _sings(client: Mapping[str, str]) -> bool:
    return canary.sings(client[URL], client[API_KEY], canary.PATIENCE_SECONDS)


def _answers(part: Part) -> bool:
    deadline = time.monotonic() + 5.0
    while not part.ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _store() -> dict[str, str]:
    """Makes the tables and what is in them, unless that has been done for this very AWS."""
    wanted = {URL: parts.url(), API_KEY: client().get(API_KEY, "")}
    running = supervisor.running(parts.AWS)
    if (
        running is not None
        and wanted[API_KEY]
        and layout.RESOURCES.exists()
        and layout.RESOURCES.stat().st_mtime > max(running.since, layout.TEMPLATE.stat().st_mtime)
    ):
        if client() != wanted:
            _write_client(wanted)
        return wanted
    # A second `up` comes no further, and need not wait for these.
    import seeding
    import template

    print("  making tables, buckets and queues ...", flush=True)
    physical = aws.deploy(
        aws.client("cloudformation", parts.endpoint()),
        template.storage(template.translate()),
        layout.template_parameters(),
    )
    wanted[API_KEY] = seeding.fill(physical["Table"], parts.endpoint(), wanted[API_KEY])
    _write_client(wanted)
    layout.RESOURCES.write_text(json.dumps(physical, indent=1), encoding="utf-8")
    return wanted


def _write_client(values: dict[str, str]) -> None:
    # The key opens only this machine's stack, but it is a key.
    descriptor = os.open(layout.STACK_ENV, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is a descriptor
        file.writelines(f"{key}={value}\n" for key, value in values.items())


@contextmanager
def _alone() -> Iterator[None]:
    """Lets one command at a time change the stack."""
    layout.RUN.mkdir(parents=True, exist_ok=True)
    with (layout.RUN / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("  waiting for another command that changes the stack ...", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
