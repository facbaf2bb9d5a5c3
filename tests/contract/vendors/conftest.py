"""The local vendors, one process for all tests, and the providers that ask them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fakes.credentials import FixedCredentials
from fakes.vendors import Vendors, running_vendors
from voice_gateway.providers.azure import AzureProvider
from voice_gateway.providers.google import GoogleProvider
from voice_gateway.providers.watson import WatsonProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

Provider = AzureProvider | GoogleProvider | WatsonProvider
Make = "Callable[..., Provider]"

PROVIDERS: dict[str, type[Provider]] = {
    "google": GoogleProvider,
    "azure": AzureProvider,
    "watson": WatsonProvider,
}


@pytest.fixture(scope="session")
def vendors_process() -> Iterator[Vendors]:
    with running_vendors() as vendors:
        yield vendors


@pytest.fixture
def vendors(vendors_process: Vendors) -> Iterator[Vendors]:
    vendors_process.reset()
    yield vendors_process
    vendors_process.reset()


@pytest.fixture
async def make(vendors: Vendors) -> AsyncIterator[Callable[..., Provider]]:
    """Makes a vendor's provider; `account` replaces fields of its credentials."""
    made: list[Provider] = []

    def make(vendor: str, account: dict[str, str] | None = None, **more: Any) -> Provider:
        fields = {**vendors.account(vendor), **(account or {})}
        provider = PROVIDERS[vendor](FixedCredentials(fields), **more)
        made.append(provider)
        return provider

    yield make
    for provider in made:
        await provider.aclose()
