"""Provider name → the one instance of this process, built when it is first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from voice_gateway.ports import SampleWindows, SpeechProvider, VendorCredentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What a deployment has to make providers of."""

    triton_url: str
    """`host:port` of Triton's gRPC endpoint."""
    triton_tls: bool
    cloners: tuple[str, ...]
    """The models on Triton that clone voices."""
    samples: Callable[[], SampleWindows]
    """Where the voices' samples lie."""
    credentials: Callable[[str], VendorCredentials | None]
    """By provider; None of a vendor that was not configured."""


def deployed(
    names: Iterable[str], deployment: Deployment
) -> dict[str, Callable[[], SpeechProvider]]:
    """Asks each provider's file whether this deployment has it; builds none.

    Args:
        names: Each is a file beside this one, whose `offer(deployment)` returns what makes the
            provider, or None where it is not to be had.
        deployment: What there is to make them of.
    """
    offers = {
        name: import_module(f"voice_gateway.providers.{name}").offer(deployment) for name in names
    }
    return {name: make for name, make in offers.items() if make is not None}


class ProviderRegistry:
    """The providers that this deployment has.

    A factory runs once, at the first `get` of its name, so that a vendor's SDK that nobody asks for
    is never imported.
    """

    def __init__(self, factories: Mapping[str, Callable[[], SpeechProvider]] | None = None) -> None:
        self._factories = dict(factories or {})
        self._built: dict[str, SpeechProvider] = {}

    def register(self, name: str, factory: Callable[[], SpeechProvider]) -> None:
        """Adds a provider, or replaces the one of this name from the next request on."""
        self._factories[name] = factory
        self._built.pop(name, None)

    def unregister(self, name: str) -> None:
        """Takes a provider away; requests that are being spoken by it end undisturbed."""
        self._factories.pop(name, None)
        self._built.pop(name, None)

    def get(self, name: str) -> SpeechProvider | None:
        """Returns the provider, or None when this deployment has none of this name."""
        if name not in self._built and name in self._factories:
            self._built[name] = self._factories[name]()
        return self._built.get(name)

    def names(self) -> tuple[str, ...]:
        """Returns every registered name, in the order of registration."""
        return tuple(self._factories)

    async def warm_up(self, names: Iterable[str]) -> None:
        """Warms those providers up, one after another; unknown names are passed over."""
        for name in names:
            if (provider := self.get(name)) is not None:
                await provider.warm_up()

    async def aclose(self) -> None:
        """Closes every provider that was built."""
        while self._built:
            _, provider = self._built.popitem()
            await provider.aclose()
