"""Tells what runs, and proves by a word spoken that it can speak."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Final

import httpx
from rich.console import Console
from rich.table import Table

import canary
import cloning
import layout
import parts
import stack

_PROBE_SECONDS: Final = 20.0


def show() -> bool:
    """Prints a table; tells whether everything runs and speaks."""
    table = Table(box=None, pad_edge=False)
    for column in ("part", "state", "pid", "ports", "since"):
        table.add_column(column)
    all_run = True
    for name in parts.NAMES:
        running = stack.supervisor.running(name)
        if running is None:
            all_run = False
            state = "[red]died[/]" if stack.supervisor.died(name) else "[yellow]down[/]"
            table.add_row(name, state, "-", "-", "-")
        else:
            since = datetime.fromtimestamp(running.since).strftime("%Y-%m-%d %H:%M:%S")
            ports = " ".join(str(port) for port in running.ports)
            table.add_row(name, "[green]running[/]", str(running.pid), ports, since)
    console = Console()
    console.print(table)
    for function, state in parts.gateway_state().items():
        console.print(f"  {function}: {state}")
    cloners = {model: parts.alive(model) for model in layout.cloning_models()}
    for model, alive in cloners.items():
        noise = ", but speaks noise: random weights" if cloning.is_noise(model) else ""
        console.print(f"  {model}: alive{noise}" if alive else f"  {model}: [red]dead[/]")
    spoken, words = _speaks()
    console.print(words)
    return all_run and all(cloners.values()) and spoken


def _speaks() -> tuple[bool, str]:
    client = stack.client()
    if stack.supervisor.running(parts.GATEWAY) is None or not client:
        return False, "cannot speak: the gateway is down (make up)"
    started = time.perf_counter()
    try:
        response = httpx.post(
            f"{client[stack.URL]}/api/speech",
            json=canary.WORD,
            headers={"Authorization": f"Bearer {client[stack.API_KEY]}"},
            timeout=_PROBE_SECONDS,
        )
    except httpx.HTTPError as error:
        return False, f"cannot speak: {error}"
    elapsed = (time.perf_counter() - started) * 1000
    if response.status_code != httpx.codes.OK:
        return False, f"cannot speak: {response.status_code} {response.text[:300]}"
    provider = response.headers.get("x-speech-provider", "somebody")
    voice = response.headers.get("x-speech-voice", "?")
    if provider in canary.SUBSTITUTES:
        return False, f"speaks with {provider}'s voice only ({voice}): no model does (make up)"
    return True, f"speaks: {provider} ({voice}), a word in {elapsed:.0f} ms"
