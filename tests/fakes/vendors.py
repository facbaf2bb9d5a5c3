"""The local vendors as tests want them: a process of their own, and a way to give it orders."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from layout import VENDORS_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

_STACK: Final = Path(__file__).parents[2] / "scripts" / "stack"


@dataclass(frozen=True)
class Vendors:
    """The process's addresses, and its control (see `vendors/orders.py`)."""

    http: str
    """`http://127.0.0.1:port`: Azure, Watson and the control."""
    grpc: str
    """`127.0.0.1:port`: Google."""

    def order(self, vendor: str, fault: str, **more: Any) -> None:
        """Gives an order: the fields of `vendors.orders.Order`."""
        body = {"vendor": vendor, "fault": fault, **more}
        self._ask("POST", "/_control/orders", json=body)

    def calls(self, vendor: str, operation: str = "speech") -> list[dict[str, Any]]:
        """What a vendor was asked since the reset: the fields of `vendors.orders.Call`."""
        calls: list[dict[str, Any]] = self._ask("GET", "/_control/calls").json()
        return [c for c in calls if (c["vendor"], c["operation"]) == (vendor, operation)]

    def settled(self, vendor: str) -> list[dict[str, Any]]:
        """The calls for speech, as soon as none is running any more."""
        calls: list[dict[str, Any]] = self._ask("GET", "/_control/settled").json()
        return [c for c in calls if (c["vendor"], c["operation"]) == (vendor, "speech")]

    def account(self, vendor: str) -> dict[str, str]:
        """The credentials that open a vendor's door, as its provider wants them."""
        return {
            "google": {"api_key": VENDORS_KEY, "endpoint": self.grpc},
            "azure": {"key": VENDORS_KEY, "endpoint": self.http},
            "watson": {"api_key": VENDORS_KEY, "url": self.http, "identity_url": self.http},
        }[vendor]

    def release(self) -> None:
        """Lets every held call go on."""
        self._ask("POST", "/_control/release")

    def reset(self) -> None:
        """Forgets orders and calls."""
        self._ask("DELETE", "/_control")

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        answer = httpx.request(method, self.http + path, trust_env=False, **more)
        answer.raise_for_status()
        return answer


@contextmanager
def running_vendors() -> Iterator[Vendors]:
    """Starts the vendors on free ports; ends them after."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        http, grpc = first.getsockname()[1], second.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(_STACK), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "vendors.server"]
    with subprocess.Popen(
        [*command, "--http-port", str(http), "--grpc-port", str(grpc)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield Vendors(f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}")
        finally:
            process.terminate()
