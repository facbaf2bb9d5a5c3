"""Provider name → the one instance of this process, built when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from voice_gateway.ports import SpeechProvider


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
