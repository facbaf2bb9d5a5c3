#!/usr/bin/env python3
"""Measures the engines against the packages that they replace: the same weights, the same run.

    make bench-engines                  all of it, some ten minutes on two quiet cores
    make parity                         whether both say the same, at the real shape
    python scripts/bench_engines.py --only xtts_v2 --rounds 1

The weights are random, so a sentence's length is not the model's to choose: as many audio tokens
are asked of both as a text of so many words has.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [
    str(ROOT / folder) for folder in ("scripts/engines", "scripts", "triton/src", "tests")
]

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _xtts_v2(folder: Path, rounds: int) -> str:
    from bench_xtts import measure

    return measure(folder, rounds)


def _styletts2(folder: Path, rounds: int) -> str:
    from bench_styletts2 import measure

    return measure(folder, rounds)


def _xtts_v2_parity(folder: Path, rounds: int) -> str:
    from parity_xtts import compare

    return compare(folder)


def _styletts2_parity(folder: Path, rounds: int) -> str:
    from parity_styletts2 import compare

    return compare(folder)


PARITY: Final[dict[str, Callable[[Path, int], str]]] = {
    "xtts_v2": _xtts_v2_parity,
    "styletts2": _styletts2_parity,
}
"""Model → what compares it, and raises where it is not the same."""
ENGINES: Final[dict[str, Callable[[Path, int], str]]] = {
    "xtts_v2": _xtts_v2,
    "styletts2": _styletts2,
}
"""Model → what measures it over a folder with a checkpoint; returns Markdown."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    from make_random_model import WRITERS

    parser = argparse.ArgumentParser(description="Measures the engines.")
    parser.add_argument("--only", choices=sorted(ENGINES))
    parser.add_argument("--parity", action="store_true", help="compare what is said instead")
    parser.add_argument("--rounds", type=int, default=2, help="the best of so many counts")
    arguments = parser.parse_args(argv)
    for name, measure in (PARITY if arguments.parity else ENGINES).items():
        if arguments.only not in (None, name):
            continue
        folder = ROOT / ".local" / "random" / name
        if not any(folder.glob("config.*")):
            print(f"writing a random checkpoint of {name} (once) ...", file=sys.stderr)
            WRITERS[name](folder, "real", 0)
        print(measure(folder, arguments.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
