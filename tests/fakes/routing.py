"""A router with nobody else's memory, and an allowance that says what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voice_gateway.adapters.health_store import MemoryHealthStore
from voice_gateway.adapters.stored_health import StoredHealth
from voice_gateway.providers.fallback import FallbackProvider

if TYPE_CHECKING:
    from voice_gateway.ports import Clock
    from voice_gateway.providers.registry import ProviderRegistry


class FakeHedges:
    """Implements `ports.HedgeAllowance`.

    Attributes:
        left: How many hedges are allowed still.
        requests: How many requests came.
    """

    def __init__(self, left: int = 0) -> None:
        self.left = left
        self.requests = 0

    def asked(self) -> None:
        """Counts it."""
        self.requests += 1

    async def take(self) -> bool:
        """Takes one, if there is one."""
        if self.left == 0:
            return False
        self.left -= 1
        return True


def routed(registry: ProviderRegistry, clock: Clock, **options: Any) -> FallbackProvider:
    """A router whose health is in memory, and which never hedges unless it is told otherwise."""
    told: dict[str, Any] = {
        "health": StoredHealth(MemoryHealthStore(), clock),
        "hedges": FakeHedges(),
        **options,
    }
    return FallbackProvider(registry, clock, **told)
