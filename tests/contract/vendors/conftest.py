"""The local vendors, one process for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakes.vendors import Vendors, running_vendors

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def vendors_process() -> Iterator[Vendors]:
    with running_vendors() as vendors:
        yield vendors


@pytest.fixture
def vendors(vendors_process: Vendors) -> Iterator[Vendors]:
    vendors_process.reset()
    yield vendors_process
    vendors_process.reset()
