"""A model in the real tritonserver under three times the requests that it can take, and hang-ups.

    make fire                          # XTTS v2, 2 000 requests
    make fire MODEL=piper REQUESTS=500

The weights are small and random; what is tried is the serving around them. The crowd is the tests'
(`tests/fakes/fire.py`). Ends with an error when anybody was left waiting or heard somebody else's
words, when one that was turned away was told no time to come back, or when server and model
together take 5 % more memory in the end than after a third of the requests.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final

from fakes.fire import CAPACITY, FLAT, TARGETS, TIMES, Fire, fire, under_fire

KINDS: Final = ("answered", "rejected", "cancelled", "stuck", "mixed")


def table(report: Fire) -> str:
    """The report as Markdown."""
    outcomes = report.outcomes
    first = statistics.quantiles(report.first_audio, n=20)
    mean, p95 = report.queue_ms
    rows = [
        ("requests", outcomes.total()),
        *((kind, outcomes[kind]) for kind in KINDS),
        ("failed", sum(n for kind, n in outcomes.items() if kind not in KINDS)),
        *((f"memory of the {name}, MB", _megabytes(*m)) for name, m in report.memory.items()),
        ("first audio p50 / p95, ms", f"{1000 * first[9]:.0f} / {1000 * first[18]:.0f}"),
        ("waited for a turn, mean / p95, ms", f"{mean:.0f} / at most {p95:.0f}"),
        ("told to come back after, ms", f"{min(report.hints)} to {max(report.hints)}"),
        ("seconds", f"{report.seconds:.0f}"),
    ]
    head = f"| {report.model}, {TIMES * CAPACITY} callers, room for {CAPACITY} | |\n| --- | --- |\n"
    return head + "\n".join(f"| {name} | {value} |" for name, value in rows)


def _megabytes(before: int, after: int) -> str:
    grown = after / before - 1
    return f"{before / 1e6:.0f} after a third, {after / 1e6:.0f} in the end ({grown:+.1%})"


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sorted(TARGETS), default="xtts_v2")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        under_fire(options.model, Path(folder)) as (server, pid),
    ):
        report = asyncio.run(fire(options.model, server, pid, options.requests, options.seed))
    print(table(report))
    report.check()
    assert report.growth <= FLAT, f"memory grew by {report.growth:.1%}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
