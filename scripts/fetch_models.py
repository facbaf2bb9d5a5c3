#!/usr/bin/env python3
"""Fetches the models that are too large for the repository.

    python scripts/fetch_models.py piper --list
    python scripts/fetch_models.py piper --voice fr_FR-siwis-medium --voice de_DE-thorsten-medium
    python scripts/fetch_models.py piper --all
    python scripts/fetch_models.py xtts_v2 --accept-licence
    python scripts/fetch_models.py styletts2

What may be fetched stands in `model_repository/piper/voices.json` and in the `weights.json` of the
other models, pinned to one commit of the hub repository each. Where a licence asks for an explicit
yes, nothing is fetched before. Every file is checked against its size, SHA-256 and, where one was
at hand, MD5; where the hub announces a SHA-256 of its own (`X-Linked-ETag`), it must be the same
one before a byte is read. A file takes its name only when it has passed.

An interrupted download goes on where it stopped, and what is there already is left alone, so the
command may be repeated at will.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import sys
import textwrap
import time
from argparse import SUPPRESS
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from voice_serving.catalogue import (
    Catalogue,
    CatalogueVoice,
    VoiceFile,
    Weights,
    read_catalogue,
    read_weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
REPOSITORY: Final = ROOT / "model_repository"
CATALOGUE: Final = REPOSITORY / "piper/voices.json"
WEIGHTS: Final = tuple(sorted(path.parent.name for path in REPOSITORY.glob("*/weights.json")))
"""Models whose checkpoint is fetched as a whole."""
DEFAULT_DEST: Final = ROOT / ".local/voices"
DEFAULT_WEIGHTS: Final = ROOT / ".local/weights"
"""Unless `VOICE_WEIGHTS` says otherwise, which the local stack reads too."""
HUB: Final = "https://huggingface.co"

_BLOCK: Final = 1 << 18
_FRUITLESS_ATTEMPTS: Final = 4
"""Attempts in a row that bring not one byte before it gives up."""
_SHA256_HEX: Final = 64
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that may be another one in a moment."""
_STARTED_AT: Final = re.compile(r"bytes (\d+)-")
_LINE: Final = 100
"""Characters."""
_INTERRUPTED: Final = 130
"""Exit status of a command that somebody has stopped, as shells have it."""


class FetchError(Exception):
    """A file could not be fetched; the message is for the person at the terminal."""


class _BusyError(Exception):
    """The server cannot answer now."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where files come from.

    Attributes:
        client: HTTP client that follows redirects.
        base_url: Of the hub or a mirror.
        pause: Waits the given seconds between attempts.
    """

    client: httpx.Client
    base_url: str
    pause: Callable[[float], None] = time.sleep

    def url(self, catalogue: Catalogue | Weights, file: VoiceFile) -> str:
        """Address of a file at the pinned revision."""
        base = self.base_url.rstrip("/")
        return f"{base}/{catalogue.repository}/resolve/{catalogue.revision}/{file.path}"


def fetch_files(
    source: Source,
    catalogue: Catalogue | Weights,
    files: Sequence[VoiceFile],
    dest: Path,
    advance: Callable[[int], None] = lambda _: None,
) -> bool:
    """Fetches what of a voice or a checkpoint is not there yet.

    Args:
        source: Where from.
        catalogue: Holds the files.
        files: Those that are wanted.
        dest: Folder for them.
        advance: Told how many bytes more are there.

    Returns:
        Whether anything had to be fetched.

    Raises:
        FetchError: A file cannot be had, or is not what the catalogue says.
    """
    dest.mkdir(parents=True, exist_ok=True)
    fetched = False
    # The small JSON first: a model counts as installed only beside its JSON.
    for file in sorted(files, key=lambda file: file.size_bytes):
        target = dest / file.name
        if target.is_file() and _complaint(target, file) is None:
            advance(file.size_bytes)
            continue
        _fetch_file(source, source.url(catalogue, file), file, target, advance)
        fetched = True
    return fetched


def _fetch_file(
    source: Source, url: str, file: VoiceFile, target: Path, advance: Callable[[int], None]
) -> None:
    part = target.with_name(f"{target.name}.part")
    if part.is_file() and part.stat().st_size > file.size_bytes:
        part.unlink()
    reported = 0
    fruitless = 0
    while True:
        before = part.stat().st_size if part.is_file() else 0
        advance(before - reported)
        reported = before
        if before == file.size_bytes:
            break
        try:
            for size in _download(source.client, url, file, part):
                advance(size - reported)
                reported = size
        except (httpx.TransportError, _BusyError) as error:
            after = part.stat().st_size if part.is_file() else 0
            fruitless = 0 if after > before else fruitless + 1
            if fruitless == _FRUITLESS_ATTEMPTS:
                busy = isinstance(error, _BusyError)
                why = str(error) if busy else f"cannot be reached ({type(error).__name__})"
                raise FetchError(
                    f"{httpx.URL(url).host} {why};"
                    " what has arrived is kept, run the same command again"
                ) from error
            source.pause(2.0**fruitless)
    complaint = _complaint(part, file)
    if complaint is not None:
        part.unlink()
        raise FetchError(f"{file.name}: {complaint}; it was thrown away")
    part.replace(target)


def _download(client: httpx.Client, url: str, file: VoiceFile, part: Path) -> Iterator[int]:
    """Adds to `part` until the stream ends.

    Yields:
        The size of `part` after every block.

    Raises:
        httpx.TransportError: The connection broke or ended too soon.
        _BusyError: The server has no time.
        FetchError: The server refuses, or offers something else.
    """
    have = part.stat().st_size if part.is_file() else 0
    # A compressed answer could not be resumed.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code in _BUSY:
            raise _BusyError(f"answered {response.status_code}")
        if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise FetchError(f"{file.name}: {response.url.host} answered {response.status_code}")
        _check_announced(response, file)
        if response.status_code == httpx.codes.OK:
            # The server knows no ranges and starts again from the beginning.
            have = 0
        elif _start_of(response) != have:
            raise FetchError(
                f"{file.name}: {response.url.host} goes on at another place than asked"
            )
        with part.open("ab" if have else "wb") as output:
            for block in response.iter_raw(_BLOCK):
                have += len(block)
                if have > file.size_bytes:
                    # Whatever it is, going on with it would lead here again.
                    part.unlink()
                    raise FetchError(f"{file.name}: {response.url.host} sent more than it should")
                output.write(block)
                output.flush()
                yield have


def _start_of(response: httpx.Response) -> int | None:
    """Where in the file a part of it begins."""
    told = _STARTED_AT.match(response.headers.get("Content-Range", ""))
    return int(told[1]) if told else None


def _check_announced(response: httpx.Response, file: VoiceFile) -> None:
    """Compares the SHA-256 that the hub names for a large file, before its bytes."""
    for answer in (*response.history, response):
        tag = answer.headers.get("X-Linked-ETag", "").strip('"')
        # Small files carry a git hash there, which is shorter.
        if len(tag) == _SHA256_HEX and tag != file.sha256:
            raise FetchError(f"{file.name}: the hub announces another SHA-256 than the catalogue")


def _complaint(path: Path, file: VoiceFile) -> str | None:
    """What is wrong with a file, or None."""
    size = path.stat().st_size
    if size != file.size_bytes:
        return f"it has {size} bytes instead of {file.size_bytes}"
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as content:
        while block := content.read(_BLOCK):
            sha256.update(block)
            md5.update(block)
    if sha256.hexdigest() != file.sha256:
        return "its SHA-256 is not the catalogue's"
    if file.md5 is not None and md5.hexdigest() != file.md5:
        return "its MD5 is not the catalogue's"
    return None


def _check_room(dest: Path, files: Sequence[VoiceFile]) -> None:
    """Whether the disk can take what is not there yet.

    Raises:
        FetchError: It cannot.
    """
    dest.mkdir(parents=True, exist_ok=True)
    missing = 0
    for file in files:
        target = dest / file.name
        part = target.with_name(f"{target.name}.part")
        here = next((path.stat().st_size for path in (target, part) if path.is_file()), 0)
        missing += max(0, file.size_bytes - here)
    free = shutil.disk_usage(dest).free
    if missing > free:
        raise FetchError(
            f"{dest} has room for {free / 1e6:.0f} MB, and {missing / 1e6:.0f} MB are to come"
        )


def _table(catalogue: Catalogue, dest: Path) -> Table:
    table = Table(title=f"Piper voices ({catalogue.repository} at {catalogue.revision[:8]})")
    table.add_column("voice", no_wrap=True)
    table.add_column("language", no_wrap=True)
    for column in ("gender", "speakers", "licence", "size", "here"):
        table.add_column(column)
    for voice in catalogue.voices:
        size = sum(file.size_bytes for file in voice.files)
        here = all((dest / file.name).is_file() for file in voice.files)
        table.add_row(
            voice.name,
            voice.language,
            voice.gender or "",
            ", ".join(voice.speakers),
            voice.licence,
            "" if voice.shipped else f"{size / 1e6:.0f} MB",
            "shipped" if voice.shipped else "yes" if here else "",
        )
    return table


def _wanted(catalogue: Catalogue, names: Sequence[str], everything: bool) -> list[CatalogueVoice]:
    if everything:
        return [voice for voice in catalogue.voices if not voice.shipped]
    wanted = []
    for name in names:
        voice = catalogue.find(name)
        if voice is None:
            raise FetchError(f"{name}: the catalogue has no such voice; --list shows them")
        if voice.shipped:
            raise FetchError(f"{name}: comes with the repository, there is nothing to fetch")
        wanted.append(voice)
    return wanted


def _agreed(weights: Weights, accepted: bool, ask: Callable[[str], str]) -> bool:
    """Whether somebody has agreed to the licence, which is shown in any case."""
    licence = weights.licence
    summary = textwrap.fill(licence.summary, _LINE)
    print(f"{weights.repository}: {licence.name}\n{summary}\n{licence.url}", flush=True)
    if accepted or not licence.explicit:
        return True
    try:
        return ask("Type yes to agree: ").strip().lower() == "yes"
    except EOFError:
        return False


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fetches the models too large for the repository.")
    models = parser.add_subparsers(dest="model", required=True, metavar="MODEL")
    piper = models.add_parser("piper", help="voices for the model `piper`")
    what = piper.add_mutually_exclusive_group(required=True)
    what.add_argument("--voice", action="append", metavar="NAME", help="may be given repeatedly")
    what.add_argument("--all", action="store_true", help="every voice of the catalogue, 0.8 GB")
    what.add_argument("--list", action="store_true", help="show the catalogue and stop")
    piper.add_argument("--dest", type=Path, default=DEFAULT_DEST, help="default: .local/voices")
    piper.add_argument("--catalogue", type=Path, default=CATALOGUE, help=SUPPRESS)
    for model in WEIGHTS:
        weights = models.add_parser(model, help=f"the checkpoint of the model `{model}`")
        weights.add_argument(
            "--dest", type=Path, help=f"default: {model} in $VOICE_WEIGHTS, else in .local/weights"
        )
        weights.add_argument(
            "--manifest", type=Path, default=REPOSITORY / model / "weights.json", help=SUPPRESS
        )
        weights.add_argument(
            "--accept-licence", action="store_true", help="say yes to the licence beforehand"
        )
    for one in models.choices.values():
        one.add_argument(
            "--base-url",
            default=os.environ.get("HF_ENDPOINT", HUB),
            help="of the hub or a mirror; default: $HF_ENDPOINT, else huggingface.co",
        )
    return parser.parse_args(argv)


def main(
    argv: Sequence[str] | None = None,
    pause: Callable[[float], None] = time.sleep,
    ask: Callable[[str], str] = input,
) -> int:
    """Runs the command.

    Args:
        argv: Arguments without the program's name; the process's own when None.
        pause: Waits the given seconds between attempts.
        ask: Asks a person, and returns the answer.

    Returns:
        The exit status.
    """
    arguments = _arguments(argv)
    console = Console()
    try:
        if arguments.model in WEIGHTS:
            _fetch_weights(arguments, console, pause, ask)
        else:
            _fetch_voices(arguments, console, pause)
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        # A full disk, a folder of somebody else's, a file where a folder should be.
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror}; what has arrived is kept", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; what has arrived is kept, run the same command again", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _fetch_weights(
    arguments: argparse.Namespace,
    console: Console,
    pause: Callable[[float], None],
    ask: Callable[[str], str],
) -> None:
    weights = read_weights(arguments.manifest)
    if not _agreed(weights, arguments.accept_licence, ask):
        raise FetchError(
            "nothing was fetched, since nobody agreed to the licence;"
            " where nobody can be asked, --accept-licence agrees beforehand"
        )
    folder = Path(os.environ.get("VOICE_WEIGHTS") or DEFAULT_WEIGHTS)
    dest = arguments.dest or folder / arguments.model
    wanted = {arguments.model: weights.files}
    _fetch_all(arguments.base_url, weights, wanted, dest, console, pause)


def _fetch_voices(
    arguments: argparse.Namespace, console: Console, pause: Callable[[float], None]
) -> None:
    catalogue = read_catalogue(arguments.catalogue)
    if arguments.list:
        console.print(_table(catalogue, arguments.dest))
        return
    voices = _wanted(catalogue, arguments.voice or (), arguments.all)
    wanted = {voice.name: voice.files for voice in voices}
    _fetch_all(arguments.base_url, catalogue, wanted, arguments.dest, console, pause)


def _fetch_all(
    base_url: str,
    catalogue: Catalogue | Weights,
    wanted: Mapping[str, Sequence[VoiceFile]],
    dest: Path,
    console: Console,
    pause: Callable[[float], None],
) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    if not base_url.startswith(("https://", "http://")):
        raise FetchError(f"{base_url}: the hub's address must begin with https://")
    with (
        httpx.Client(follow_redirects=True, timeout=30.0) as client,
        Progress(*columns, console=console) as progress,
    ):
        source = Source(client, base_url, pause)
        _check_room(dest, [file for files in wanted.values() for file in files])
        for name, files in wanted.items():
            task = progress.add_task(name, total=sum(file.size_bytes for file in files))

            def advance(size: int, task: TaskID = task) -> None:
                progress.advance(task, size)

            try:
                fetched = fetch_files(source, catalogue, files, dest, advance)
            except (httpx.TooManyRedirects, httpx.InvalidURL) as error:
                raise FetchError(f"{base_url}: {error}") from error
            if not fetched:
                progress.update(task, description=f"{name} (was there)")


if __name__ == "__main__":
    sys.exit(main())
