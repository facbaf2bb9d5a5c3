"""Asks the local API to speak, as any client would, and shows the receipt."""

from __future__ import annotations

import argparse
import json
import math
import os
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

import parts
import stack
from voice_gateway.domain.receipt import Receipt

if TYPE_CHECKING:
    from typing import BinaryIO

_TEXT: Final = "Welcome in. Take your time, and tell me what the evening is for."
_REQUEST_ID: Final = "x-request-id"
_JSON: Final = {"Content-Type": "application/json"}
_UNKNOWN_SIZE: Final = 0xFFFFFFFF
_FORMATS: Final = {"ogg": "opus", "oga": "opus"}
"""File name's ending → format, where the two differ."""
_TIMEOUT: Final = httpx.Timeout(900.0, connect=5.0)


@dataclass(frozen=True, slots=True)
class Spoken:
    """What came over the wire."""

    request_id: str
    first_audio_ms: float
    total_ms: float
    size: int


class SpeechFailedError(Exception):
    """The API did not speak; the message is its own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options, which `make` gives in the environment, where no shell reads them."""
    told = os.environ.get
    parser.add_argument("--text", default=told("VOICE_TEXT", _TEXT))
    parser.add_argument("--personality", default=told("VOICE_PERSONALITY", "marcel"))
    parser.add_argument("--out", type=Path, default=Path(told("VOICE_OUT") or "hello.wav"))
    parser.add_argument("--language", help="such as de or en-GB")
    parser.add_argument("--quality", default=told("VOICE_QUALITY") or None)
    parser.add_argument("--provider", default=told("VOICE_PROVIDER") or None, help="no other")
    parser.add_argument("--speed", type=_number, default=told("VOICE_SPEED") or None)
    parser.add_argument("--pitch", type=_number, help="semitones")
    parser.add_argument("--format", default=told("VOICE_FORMAT") or None, help="of the file's name")


def run(options: argparse.Namespace) -> int:
    """Speaks; returns the exit status."""
    console = Console()
    client = _reach(console)
    body = request_body(options)
    out: Path = options.out
    with httpx.Client(
        base_url=client[stack.URL],
        headers={"Authorization": f"Bearer {client[stack.API_KEY]}"},
        timeout=_TIMEOUT,
        trust_env=False,
    ) as http:
        try:
            spoken = speak(http, body, out)
            receipt = Receipt.model_validate(fetch_receipt(http, spoken.request_id))
        except ValidationError:
            print("The API's receipt is none: it does not fit.", file=sys.stderr)
            return 1
        except SpeechFailedError as error:
            print(error, file=sys.stderr)
            return 1
        except httpx.HTTPError as error:
            print(
                f"The gateway did not answer ({error}). `make status` tells more.", file=sys.stderr
            )
            return 1
    console.print(receipt_table(receipt, spoken, out))
    return 0


def request_body(options: argparse.Namespace) -> dict[str, Any]:
    """The JSON body: what was asked for, and nothing else."""
    names = ("text", "personality", "language", "quality", "provider", "speed", "pitch", "format")
    asked = {name: getattr(options, name) for name in names}
    suffix = options.out.suffix.removeprefix(".").lower()
    if asked["format"] is None and suffix not in ("", "wav"):
        asked["format"] = _FORMATS.get(suffix, suffix)
    return {name: value for name, value in asked.items() if value is not None}


def speak(http: httpx.Client, body: dict[str, Any], out: Path) -> Spoken:
    """Sends the request and writes the audio as it comes.

    Raises:
        SpeechFailedError: The API answered with a problem, the answer broke off, the request cannot
            be sent or the file not be written.
        httpx.HTTPError: The API did not answer.
    """
    try:
        content = json.dumps(body, allow_nan=False).encode()
    except ValueError as error:
        raise SpeechFailedError(f"The request cannot be sent: {error}") from error
    started = time.perf_counter()
    with http.stream("POST", "/api/speech", content=content, headers=_JSON) as response:
        if response.status_code != httpx.codes.OK:
            response.read()
            raise SpeechFailedError(problem_message(response))
        try:
            first, size = _write(response, out)
        except OSError as error:
            reason = error.strerror or error
            raise SpeechFailedError(f"{out} cannot be written: {reason}") from error
    ended = time.perf_counter()
    return Spoken(
        request_id=response.headers[_REQUEST_ID],
        first_audio_ms=((first or ended) - started) * 1000,
        total_ms=(ended - started) * 1000,
        size=size,
    )


def _write(response: httpx.Response, out: Path) -> tuple[float | None, int]:
    """Writes the audio as it comes; returns when it began, and how many bytes it has."""
    first: float | None = None
    size = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w+b") as file:
        try:
            for chunk in response.iter_bytes():
                if first is None:
                    first = time.perf_counter()
                file.write(chunk)
                size += len(chunk)
        except httpx.HTTPError as error:
            raise SpeechFailedError(
                f"The answer broke off after {size / 1024:.0f} KB ({error}); {out} has what came. "
                f"`make logs` tells more of request {response.headers.get(_REQUEST_ID, '-')}."
            ) from error
        finally:
            finish_wav(file)
    return first, size


def fetch_receipt(http: httpx.Client, request_id: str) -> Any:
    """Gets the receipt, which is stored before the last byte of audio leaves.

    Raises:
        SpeechFailedError: There is none.
        httpx.HTTPError: Nobody answered.
    """
    response = http.get(f"/api/receipts/{request_id}")
    if response.status_code != httpx.codes.OK:
        raise SpeechFailedError(problem_message(response))
    return response.json()


def finish_wav(file: BinaryIO) -> None:
    """Writes the true sizes into a streamed WAV, whose head was sent before anybody knew them."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(min(size, 4096))
    data = head.find(b"data")
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE" or data < 0:
        return
    for offset, true_size in ((4, size - 8), (data + 4, size - data - 8)):
        if struct.unpack_from("<I", head, offset)[0] == _UNKNOWN_SIZE:
            file.seek(offset)
            file.write(struct.pack("<I", true_size))


def problem_message(response: httpx.Response) -> str:
    """One plain message of a problem answer."""
    try:
        problem = response.json()
        lines = [f"{problem['title']} ({response.status_code}): {problem.get('detail', '')}"]
        lines += [f"  {e['field']}: {e['message']}" for e in problem.get("errors", ())]
        lines += [
            f"  {a['provider']}: {a.get('reason') or a['outcome']} {a.get('detail') or ''}".rstrip()
            for a in problem.get("attempts", ())
        ]
        if "request_id" in problem:
            lines.append(f"  request {problem['request_id']}")
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
        return f"The API answered {response.status_code}: {response.text[:500]}"
    return "\n".join(lines)


def receipt_table(receipt: Receipt, spoken: Spoken, out: Path) -> Table:
    """The receipt, for people."""
    title = _plain(f"{out}  ({spoken.size / 1024:.0f} KB)")
    table = Table(title=title, show_header=False)
    table.add_row("asked", _plain(_who(receipt.asked.provider, receipt.asked.voice)))
    served = ", then ".join(_who(each.provider, each.voice) for each in receipt.served)
    table.add_row("served", _plain(served, "yellow" if receipt.substituted else ""))
    table.add_row("substituted", "[yellow]yes[/]" if receipt.substituted else "no")
    for number, attempt in enumerate(receipt.attempts):
        reason = f": {attempt.reason}" if attempt.reason else ""
        detail = f" ({attempt.detail})" if attempt.detail else ""
        outcome = attempt.outcome.value.replace("_", " ")
        heading = "" if number else "attempts"
        table.add_row(heading, _plain(f"{attempt.provider} {outcome}{reason}{detail}"))
    first = "-" if receipt.first_audio_ms is None else f"{receipt.first_audio_ms:.0f} ms"
    table.add_row("first audio", f"{first}  (here after {spoken.first_audio_ms:.0f} ms)")
    factor = receipt.real_time_factor
    table.add_row("total", f"{receipt.total_ms:.0f} ms")
    audio = f"{receipt.audio_seconds:.2f} s, {receipt.sample_rate} Hz {receipt.format}"
    table.add_row("audio", _plain(audio))
    table.add_row("real-time factor", "-" if factor is None else f"{factor:.3f}")
    table.add_row("characters", str(receipt.characters))
    saved = f", {receipt.cost_saved_usd:.6f} saved" if receipt.cost_saved_usd else ""
    table.add_row("cost", f"${receipt.cost_usd:.6f}{saved}")
    if receipt.not_applied:
        table.add_row("not applied", _plain(", ".join(receipt.not_applied)))
    if not receipt.complete:
        table.add_row("", "[red]the speech is not complete[/]")
    return table


def _plain(text: str, style: str = "") -> Text:
    """What comes from elsewhere: brackets in it are no markup, and not all of it need be UTF-8."""
    return Text(text.encode(errors="replace").decode(), style)


def _who(provider: str, voice: str | None) -> str:
    return f"{provider} ({voice})" if voice else provider


def _number(text: str) -> float:
    with suppress(ValueError):
        number = float(text)
        if math.isfinite(number):
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no finite number, and JSON has no other")


def _reach(console: Console) -> dict[str, str]:
    """The stack's address and key; brings up what is down.

    But Triton and the vendors stay down, since somebody has stopped them to hear how it sounds
    without.
    """
    running = [name for name in parts.NAMES if stack.supervisor.running(name)]
    client = stack.client()
    if not running or not client:
        console.print("The local stack is down: bringing it up.")
        return stack.up()
    missing = [name for name in parts.NAMES if name not in running]
    for speaker in (parts.TRITON, parts.VENDORS):
        if speaker in missing:
            console.print(
                f"[yellow]{speaker} is not running[/]: this is how it sounds without. "
                f"Bring it back with: make up",
                soft_wrap=True,
            )
            missing.remove(speaker)
    if missing:
        console.print(f"Not running: {', '.join(missing)}.")
        return stack.up_but_speakers()
    return client
