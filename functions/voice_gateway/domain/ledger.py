"""The ledger: what a tenant's speech cost and saved, by month."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, StringConstraints

from voice_gateway.domain.money import FREE, Usd, from_micro, to_micro
from voice_gateway.domain.receipt import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from voice_gateway.domain.receipt import Receipt

MONTH_PATTERN: Final = r"^[0-9]{4}-(0[1-9]|1[0-2])$"
Month = Annotated[str, StringConstraints(pattern=MONTH_PATTERN)]
"""`2026-11`, in UTC."""

REQUESTS: Final = "requests"
CHARACTERS: Final = "characters"
COST: Final = "micro_usd"
SAVED: Final = "saved_micro_usd"


class Account(StrEnum):
    """What a sum is of."""

    PROVIDER = "PROVIDER"
    PERSONALITY = "PERSONALITY"


class Sums(BaseModel):
    """What came together on one account."""

    model_config = ConfigDict(frozen=True)

    requests: int = 0
    """Receipts that it had a part in."""
    characters: int = 0
    """As billed; failed attempts count where their vendor counts them."""
    cost_usd: Usd = FREE
    cost_saved_usd: Usd = FREE
    """What the cached part would have cost."""

    @classmethod
    def of(cls, counters: Mapping[str, int]) -> Self:
        """Reads what was counted."""
        return cls(
            requests=counters.get(REQUESTS, 0),
            characters=counters.get(CHARACTERS, 0),
            cost_usd=from_micro(counters.get(COST, 0)),
            cost_saved_usd=from_micro(counters.get(SAVED, 0)),
        )


class MonthlyCosts(BaseModel):
    """A tenant's month."""

    model_config = ConfigDict(frozen=True)

    month: Month
    total: Sums
    providers: dict[str, Sums]
    personalities: dict[str, Sums]

    @classmethod
    def of(cls, month: str, accounts: Mapping[tuple[Account, str], Mapping[str, int]]) -> Self:
        """Reads a month's counters, by account and name."""
        # A receipt is one personality's, whoever spoke: their sums are the whole.
        total: Counter[str] = Counter()
        for (account, _), counters in accounts.items():
            if account is Account.PERSONALITY:
                total.update(counters)
        return cls(
            month=month,
            total=Sums.of(total),
            providers=_named(accounts, Account.PROVIDER),
            personalities=_named(accounts, Account.PERSONALITY),
        )


def month_of(when: datetime) -> str:
    """The month that a moment is booked in."""
    return when.astimezone(UTC).strftime("%Y-%m")


def next_month(when: datetime) -> datetime:
    """When the next month begins."""
    here = when.astimezone(UTC)
    year, month = divmod(here.year * 12 + here.month, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)


def entries(receipt: Receipt) -> Iterator[tuple[Account, str, Counter[str]]]:
    """What a receipt adds to which account; each account comes once.

    Providers that were passed over have no part in it.
    """
    asked = [a for a in receipt.attempts if a.outcome is not Outcome.PASSED_OVER]
    for provider in dict.fromkeys(a.provider for a in asked):
        turns = [a for a in asked if a.provider == provider]
        yield (
            Account.PROVIDER,
            provider,
            Counter(
                {
                    REQUESTS: 1,
                    CHARACTERS: sum(a.characters for a in turns),
                    COST: sum(to_micro(a.cost_usd) for a in turns),
                    SAVED: sum(to_micro(a.cost_saved_usd) for a in turns),
                }
            ),
        )
    yield (
        Account.PERSONALITY,
        receipt.personality,
        Counter(
            {
                REQUESTS: 1,
                CHARACTERS: sum(a.characters for a in asked),
                COST: to_micro(receipt.cost_usd),
                SAVED: to_micro(receipt.cost_saved_usd),
            }
        ),
    )


def _named(
    accounts: Mapping[tuple[Account, str], Mapping[str, int]], wanted: Account
) -> dict[str, Sums]:
    return {name: Sums.of(sums) for (account, name), sums in accounts.items() if account is wanted}
