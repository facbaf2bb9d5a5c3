"""What a vendor's server is told to get wrong, and what it was asked.

The interface is HTTP, on the port that Azure and Watson share (`server.py`):

| request | does |
| --- | --- |
| `POST /_control/orders` | gives an order: the fields of `Order`, as JSON |
| `GET /_control/calls` | everything that was asked since the last reset: a list of `Call` |
| `POST /_control/release` | lets every call go on that a `hold` keeps |
| `GET /_control/settled` | answers as `calls` does, as soon as no call is running |
| `DELETE /_control` | forgets orders and calls; lets go of what hangs |

An order says whom it is for (`vendor`, `operation`), what goes wrong (`fault`), and which calls it
means: the nth since the reset (`call`), or those whose text holds a phrase (`contains`), or all;
the first `times` of them. The providers make one call a sentence, in order, so a lonely request's
third sentence is call 3. The first order that fits is obeyed. Nothing but `drip` needs a clock: a
`hang_…` lasts until the client gives up, a `hold` until the release.

Refusals (`unauthorized` to `unavailable`) come where each protocol has them: Google answers the
call, Azure and Watson the WebSocket's handshake, which comes before any text: address those by
number. Azure keeps its connection from sentence to sentence; in the middle of one it closes it
with the code it has for `quota`, and else drops it and refuses the reconnection that its SDK tries.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from collections.abc import Mapping

_POLL_SECONDS: Final = 0.005

Vendor = Literal["google", "azure", "watson"]
Operation = Literal["speech", "voices", "token"]


class Fault(StrEnum):
    """What can go wrong."""

    UNAUTHORIZED = "unauthorized"
    """401"""
    FORBIDDEN = "forbidden"
    """403"""
    QUOTA = "quota"
    """429, with the order's `retry_after_seconds`"""
    ERROR = "error"
    """500"""
    UNAVAILABLE = "unavailable"
    """503"""
    HANG_BEFORE = "hang_before"
    """No byte of audio, ever."""
    HANG_WITHIN = "hang_within"
    """No byte more after `after_pieces`; an answer in one piece does not come at all."""
    CUT = "cut"
    """The connection breaks after `after_pieces`."""
    EMPTY = "empty"
    """Success, without audio."""
    SILENCE = "silence"
    """Zeros, as long as the speech would have been."""
    GARBAGE = "garbage"
    """Bytes that are no audio: noise at full scale, an odd number of them."""
    WRONG_RATE = "wrong_rate"
    """8 kHz, declared as such where the protocol can (Google's WAV, Watson)."""
    DRIP = "drip"
    """Small pieces, with `pause_seconds` between them."""
    HOLD = "hold"
    """Stops after `after_pieces` until it is released, then goes on."""


STATUS: Final[Mapping[Fault, int]] = MappingProxyType(
    {
        Fault.UNAUTHORIZED: 401,
        Fault.FORBIDDEN: 403,
        Fault.QUOTA: 429,
        Fault.ERROR: 500,
        Fault.UNAVAILABLE: 503,
    }
)


class Order(BaseModel):
    """One thing to get wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vendor: Vendor
    fault: Fault
    operation: Operation = "speech"
    call: int | None = Field(default=None, ge=1)
    """The nth call of this operation since the reset."""
    contains: str | None = Field(default=None, min_length=1)
    """A part of the text, as it is after the markup was read."""
    times: int | None = Field(default=None, ge=1)
    """How many calls it spoils; None for all that fit."""
    after_pieces: int = Field(default=1, ge=0)
    """Pieces of audio, a tenth of a second each, before a hang, cut or hold."""
    retry_after_seconds: int | None = Field(default=None, ge=0)
    pause_seconds: float = Field(default=0.05, gt=0)

    @model_validator(mode="after")
    def _can_be_obeyed(self) -> Self:
        if self.operation != "speech" and self.fault not in (*STATUS, Fault.HANG_BEFORE):
            raise ValueError("only speech has audio to get wrong")
        if self.contains and self.vendor != "google" and self.fault in STATUS:
            raise ValueError("a handshake comes before the text: say which `call`")
        return self


@dataclass(slots=True)
class Call:
    """What was asked, and what became of it."""

    vendor: Vendor
    operation: Operation
    number: int
    text: str = ""
    """What is to be spoken, without markup."""
    voice: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    """What else the protocol carried: speed, pitch, the names of the markup's elements."""
    fault: Fault | None = None
    pieces: int = 0
    """Of audio, sent."""
    outcome: str = "running"
    """`whole`, `refused`, `cut`, or `left` when the client went away."""


class Orders:
    """The orders of all vendors, and the record of the calls."""

    def __init__(self) -> None:
        self._orders: list[Order] = []
        self._obeyed: dict[int, int] = {}
        self._release = asyncio.Event()
        self._over = asyncio.Event()
        self.calls: list[Call] = []

    def give(self, order: Order) -> None:
        """Takes an order."""
        self._orders.append(order)

    def reset(self) -> None:
        """Forgets everything; what is held or hangs goes on."""
        self.release()
        self._over.set()
        self._over = asyncio.Event()
        self._orders.clear()
        self._obeyed.clear()
        self.calls.clear()

    def release(self) -> None:
        """Lets go of what a `hold` keeps."""
        self._release.set()
        self._release = asyncio.Event()

    def expected(self, vendor: Vendor, operation: Operation = "speech") -> Order | None:
        """The order that the next call will meet, as far as its number tells."""
        return self._fitting(vendor, operation, self._count(vendor, operation) + 1, "")

    def begin(
        self, vendor: Vendor, operation: Operation = "speech", text: str = "", **facts: Any
    ) -> tuple[Call, Order | None]:
        """Records a call; returns it with the order to obey."""
        number = self._count(vendor, operation) + 1
        order = self._fitting(vendor, operation, number, text)
        call = Call(vendor, operation, number, text=text, **facts)
        if order is not None:
            self._obeyed[id(order)] = self._obeyed.get(id(order), 0) + 1
            call.fault = order.fault
        self.calls.append(call)
        return call, order

    async def held(self) -> None:
        """Waits for the release."""
        await self._release.wait()

    async def hung(self) -> None:
        """Waits until the client has left, or for the reset."""
        await self._over.wait()

    async def settled(self) -> None:
        """Waits until every call has come to its end, one way or another."""
        while any(call.outcome == "running" for call in self.calls):
            await asyncio.sleep(_POLL_SECONDS)

    def record(self) -> list[dict[str, Any]]:
        """Every call, as JSON has it."""
        return [asdict(call) for call in self.calls]

    def _count(self, vendor: Vendor, operation: Operation) -> int:
        return sum(c.vendor == vendor and c.operation == operation for c in self.calls)

    def _fitting(
        self, vendor: Vendor, operation: Operation, number: int, text: str
    ) -> Order | None:
        for order in self._orders:
            if (
                (order.vendor, order.operation) == (vendor, operation)
                and order.call in (None, number)
                and (order.contains is None or order.contains in text)
                and (order.times is None or self._obeyed.get(id(order), 0) < order.times)
            ):
                return order
        return None
