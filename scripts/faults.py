"""Runs the matrix of faults and prints it: every fault, with everybody, everywhere in a text.

    make faults
    make faults ONLY="azure piper"

The vendors are real SDKs against local servers, the models the real client against a stand-in of
Triton; see `tests/fakes/faults.py` for what the places mean. Ends with an error when a promise is
broken: the whole text exactly once or a clear error, and a receipt that tells the truth.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import TYPE_CHECKING

from fakes.faulty import MODELS, VENDORS, run_matrix

if TYPE_CHECKING:
    from fakes.fault_matrix import Verdict


async def run(names: list[str]) -> int:
    """Runs the matrix; returns how many cells broke a promise."""
    started = time.monotonic()
    print("| provider, fault, place, mode | what became of it | holds |\n| --- | --- | --- |")
    verdicts = await run_matrix(names, _tell)
    broken = sum(bool(verdict.broken) for verdict in verdicts)
    seconds = time.monotonic() - started
    print(f"\n{len(verdicts)} cells in {seconds:.0f} s, {broken} with a broken promise")
    return broken


def _tell(verdict: Verdict) -> None:
    holds = "; ".join(verdict.broken) or "yes"
    print(f"| {verdict.case} | {verdict.told} | {holds} |", flush=True)


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    every = [*VENDORS, *MODELS]
    parser.add_argument("only", nargs="*", choices=[*every, []], help="providers; all by default")
    options = parser.parse_args()
    return int(asyncio.run(run(options.only or every)) > 0)


if __name__ == "__main__":
    sys.exit(main())
