"""Sixty-four callers for a minute, while providers come and go, in real time and on a real Redis.

    make soak               # 60 seconds
    make soak SECONDS=600

The providers and the ears are the tests' (`tests/fakes/flapping.py`): each sentence is a tone of
its own, so that an answer's audio says whose words are in it. Ends with an error when anybody
missed a sentence, heard one twice or another caller's, or when the books do not add up.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from typing import Final

import layout
import redis_server
from fakes.flapping import TENANT, Crowd
from voice_gateway.adapters.health_store import (
    EitherHealthStore,
    MemoryHealthStore,
    RedisHealthStore,
)
from voice_gateway.adapters.redis_connection import RedisConnection
from voice_gateway.adapters.shared_hedges import SharedHedges
from voice_gateway.adapters.stored_health import StoredHealth
from voice_gateway.adapters.system_clock import SystemClock
from voice_gateway.domain.ledger import month_of
from voice_gateway.providers.fallback import FallbackProvider

CALLERS: Final = 64


async def soak(seconds: float, redis_url: str) -> None:
    """Runs the crowd and prints what it went through.

    Raises:
        AssertionError: Something was heard that should not have been, or paid.
    """
    clock = SystemClock()
    connection = RedisConnection(redis_url, clock)
    store = EitherHealthStore(RedisHealthStore(connection), MemoryHealthStore())
    crowd = Crowd(
        clock,
        lambda registry: FallbackProvider(
            registry,
            clock,
            health=StoredHealth(store, clock),
            hedges=SharedHedges(connection, 5),
        ),
    )
    months = {month_of(clock.now())}
    report = await crowd.run(CALLERS, seconds)
    months.add(month_of(clock.now()))
    await connection.aclose()
    books = [crowd.receipts.month(TENANT, month).providers.values() for month in months]
    booked = sum((sums.cost_usd for month in books for sums in month), Decimal(0))
    paid = sum((receipt.cost_usd for receipt in report.receipts), Decimal(0))
    hedges = sum(receipt.hedges for receipt in report.receipts)
    print(
        f"{report.answers} answers to {CALLERS} callers, {report.broken_off} broken off and told so"
    )
    for outcome, count in report.outcomes.most_common():
        print(f"  {count:6} {outcome}")
    print(f"  {hedges:6} hedges, {hedges / report.answers:.1%} of the requests")
    print(f"receipts ${paid}, ledger ${booked}")
    assert booked == paid


def main() -> int:
    """Starts Redis, soaks, and tells whether all held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = redis_server.command(redis_server.install(layout.TOOLS), port)
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as server,
    ):
        try:
            while not redis_server.ready(port):
                if server.poll() is not None:
                    sys.exit("redis-server did not start")
                time.sleep(0.05)
            asyncio.run(soak(options.seconds, f"redis://127.0.0.1:{port}"))
        finally:
            server.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
