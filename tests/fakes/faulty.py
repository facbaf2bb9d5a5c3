"""Providers whose servers go wrong to order: the models on a stand-in of Triton, the vendors."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from fakes.credentials import FixedCredentials
from fakes.fault_matrix import CLOUD_REASONS, TRITON_REASONS, Matrix
from fakes.faults import IN_STREAM, Fault
from fakes.triton import TritonStandIn
from fakes.vendors import running_vendors
from voice_gateway.domain.speech import ProviderCapabilities
from voice_gateway.providers.azure import AzureProvider
from voice_gateway.providers.google import GoogleProvider
from voice_gateway.providers.triton import TritonProvider
from voice_gateway.providers.watson import WatsonProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fakes.fault_matrix import Verdict
    from fakes.faults import Order
    from fakes.vendors import Vendors
    from voice_gateway.ports import SpeechProvider, VendorCredentials

VENDORS: Final[Mapping[str, Callable[[VendorCredentials], SpeechProvider]]] = {
    "google": GoogleProvider,
    "azure": AzureProvider,
    "watson": WatsonProvider,
}
MODELS = ("piper", "xtts_v2", "styletts2")
_CALLS = 3
"""The call that fails, and as many as an SDK may make to try again."""


class FaultyTriton:
    """One model on the stand-in."""

    reasons = TRITON_REASONS

    def __init__(self, stand_in: TritonStandIn, name: str, url: str) -> None:
        self._stand_in = stand_in
        self.provider: SpeechProvider = TritonProvider(
            name=name,
            model=name,
            url=url,
            tls=False,
            capabilities=ProviderCapabilities(languages=frozenset({"en"})),
        )

    async def give(self, order: Order | None) -> None:
        """Takes an order."""
        self._stand_in.order = order
        self._stand_in.asked.clear()

    async def asked(self) -> list[str]:
        """The sentences of every request."""
        return list(self._stand_in.asked)


class FaultyVendor:
    """One vendor on its local server, through its own SDK: a call a sentence."""

    def __init__(self, vendors: Vendors, name: str) -> None:
        self._vendors = vendors
        self._name = name
        # Azure's SDK connects again by itself while nothing was sent: then the cut harms nobody.
        mended = {Fault.CUT: CLOUD_REASONS[Fault.CUT] | {""}} if name == "azure" else {}
        self.reasons = {**CLOUD_REASONS, **mended}
        self.provider: SpeechProvider = VENDORS[name](FixedCredentials(vendors.account(name)))

    async def give(self, order: Order | None) -> None:
        """Orders the fault at the calls that it strikes."""
        await asyncio.to_thread(self._give, order)

    async def asked(self) -> list[str]:
        """The sentences that were spoken or begun, in order.

        Not those of calls that were refused, or broke before any audio: an SDK may try again then.
        """
        calls = await asyncio.to_thread(self._vendors.settled, self._name)
        dropped = ("refused", "cut")
        return [c["text"] for c in calls if c["pieces"] or c["outcome"] not in dropped]

    def _give(self, order: Order | None) -> None:
        self._vendors.reset()
        if order is None:
            return
        once = order.fault in IN_STREAM and order.fault is not Fault.DRIP
        for call in range(order.sentence, order.sentence + (1 if once else _CALLS)):
            self._vendors.order(
                self._name,
                order.fault.value,
                call=call,
                after_pieces=order.piece,
                **({"retry_after_seconds": 60} if order.fault is Fault.QUOTA else {}),
                **({"pause_seconds": 0.01} if order.fault is Fault.DRIP else {}),
            )


async def run_matrix(
    names: Iterable[str], tell: Callable[[Verdict], object] = lambda _: None
) -> list[Verdict]:
    """Runs the providers' parts of the matrix side by side, and tells of each cell."""
    async with AsyncExitStack() as stack:
        matrices = [Matrix(await _faulty(name, stack)) for name in names]
        runs = await asyncio.gather(*(matrix.run(tell) for matrix in matrices))
    return [verdict for each in runs for verdict in each]


async def _faulty(name: str, stack: AsyncExitStack) -> FaultyTriton | FaultyVendor:
    faulty: FaultyTriton | FaultyVendor
    if name in VENDORS:
        # A server each: their orders and calls must not meet.
        faulty = FaultyVendor(stack.enter_context(running_vendors()), name)
    else:
        stand_in = TritonStandIn()
        stack.push_async_callback(stand_in.stop)
        faulty = FaultyTriton(stand_in, name, await stand_in.start())
    stack.push_async_callback(faulty.provider.aclose)
    return faulty
