from __future__ import annotations

from decimal import Decimal

import pytest

from fakes.budgets import FakeBudgets
from fakes.clock import FakeClock
from voice_gateway.domain.budget import Budget, BudgetState
from voice_gateway.domain.errors import StaleWriteError, StorageUnavailableError
from voice_gateway.services import bookkeeping
from voice_gateway.services.bookkeeping import Bookkeeper
from voice_gateway.services.budgets import REMEMBERED_SECONDS, BudgetService


class Purse:
    """Implements the part of `ports.Ledger` that budgets need."""

    def __init__(self) -> None:
        self.months: dict[str, Decimal] = {}
        self.reads = 0

    def spent(self, tenant_id: str, month: str) -> Decimal:
        self.reads += 1
        return self.months.get(month, Decimal(0))


class House:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.budgets = FakeBudgets()
        self.purse = Purse()
        self.service = BudgetService(self.budgets, self.purse, self.clock)  # type: ignore[arg-type]


@pytest.fixture
def house() -> House:
    return House()


def test_without_a_bound_nobody_reads_the_ledger(house: House) -> None:
    assert house.service.state("shop") is None
    assert house.purse.reads == 0


def test_is_read_once_in_a_while(house: House) -> None:
    house.budgets.put("shop", Budget(monthly_usd=Decimal(10)))
    for _ in range(5):
        assert house.service.state("shop") is BudgetState.WITHIN
    assert (house.budgets.reads, house.purse.reads) == (1, 1)
    house.purse.months["2026-03"] = Decimal(9)
    house.clock.advance(REMEMBERED_SECONDS - 0.1)
    assert house.service.state("shop") is BudgetState.WITHIN
    house.clock.advance(0.1)
    assert house.service.state("shop") is BudgetState.SOFT


def test_what_this_process_spends_counts_at_once(house: House) -> None:
    house.budgets.put("shop", Budget(monthly_usd=Decimal(10)))
    house.service.add("shop", Decimal(99))  # before anybody asked: the ledger will say it
    assert house.service.state("shop") is BudgetState.WITHIN
    house.service.add("shop", Decimal(8))
    assert house.service.state("shop") is BudgetState.SOFT
    house.service.add("shop", Decimal(2))
    assert house.service.state("shop") is BudgetState.HARD
    assert house.service.state("other") is None


def test_a_new_month_begins_with_nothing_spent(house: House) -> None:
    house.budgets.put("shop", Budget(monthly_usd=Decimal(10)))
    house.purse.months["2026-03"] = Decimal(10)
    house.clock.advance(30 * 86_400 + 15 * 3600 - 1)  # the last second of March
    assert house.service.state("shop") is BudgetState.HARD
    house.clock.advance(1)
    assert house.service.state("shop") is BudgetState.WITHIN


def test_memory_has_a_bound(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voice_gateway.services.budgets._TENANTS_REMEMBERED", 3)
    for number in range(10):
        house.service.state(f"shop{number}")
        assert len(house.service._remembered) <= 3


class Store:
    """Fails as it is told, then stores."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def save(self, tenant_id: str, receipt: object) -> None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)


def test_the_bookkeeper_tries_again_and_gives_up() -> None:
    slept: list[float] = []
    away = StorageUnavailableError("away")
    store = Store(StaleWriteError(), away, StaleWriteError(), away)
    Bookkeeper(store, sleep=slept.append).keep("shop", object())  # type: ignore[arg-type]
    assert (store.calls, len(slept)) == (5, 4)

    store = Store(*[away] * 10)
    with pytest.raises(StorageUnavailableError):
        Bookkeeper(store, sleep=slept.append).keep("shop", object())  # type: ignore[arg-type]
    assert store.calls == bookkeeping.ATTEMPTS
