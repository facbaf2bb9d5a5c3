#!/usr/bin/env python3
"""Writes a random checkpoint in the official format: to try a model out without its weights.

    python scripts/make_random_model.py xtts_v2 --dest .local/random/xtts_v2
    python scripts/make_random_model.py xtts_v2 --size tiny --dest /somewhere

It computes what the real one computes, in the same time, and sounds like nothing. A folder that
somebody names and that holds something is left alone: it may be the real one's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts" / "engines"), str(ROOT / "triton" / "src")]

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _xtts_v2(folder: Path, size: str, seed: int) -> None:
    from random_xtts import REAL, TINY, write_xtts

    write_xtts(folder, {"real": REAL, "tiny": TINY}[size], seed)


def _styletts2(folder: Path, size: str, seed: int) -> None:
    from random_styletts2 import upstream, write_styletts2

    write_styletts2(folder, upstream(tiny=size == "tiny", seed=seed))


WRITERS: Final[dict[str, Callable[[Path, str, int], None]]] = {
    "xtts_v2": _xtts_v2,
    "styletts2": _styletts2,
}
"""Model → what writes its files into a folder, in a size (`real`, `tiny`), by a seed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(description="Writes a random checkpoint.")
    parser.add_argument("model", choices=sorted(WRITERS))
    parser.add_argument("--size", choices=("real", "tiny"), default="real")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dest", type=Path, help="default: .local/random/<model>")
    arguments = parser.parse_args(argv)
    folder = arguments.dest or ROOT / ".local" / "random" / arguments.model
    if arguments.dest is None:
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        print(f"error: {folder} is not empty, and nothing was written", file=sys.stderr)
        return 1
    # An interrupted one is never taken for a whole one.
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}.new")
    try:
        WRITERS[arguments.model](fresh, arguments.size, arguments.seed)
        fresh.replace(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
