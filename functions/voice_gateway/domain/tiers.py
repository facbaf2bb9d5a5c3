"""What a tenant may have and use: the tiers, as data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from voice_gateway.domain.errors import PlanLimitError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Tier(StrEnum):
    """What a tenant pays for."""

    FREE = "free"
    BASIC = "basic"
    PRO = "pro"
    ENTERPRISE = "enterprise"


class Stock(StrEnum):
    """What a tenant keeps, and may keep so many of."""

    PERSONALITIES = "personalities"
    """Those of its own: the seeded ones take no place."""
    SAMPLES = "samples"


class Allowance(StrEnum):
    """What a tenant uses up, and has anew each month."""

    CHARACTERS = "characters"
    """Spoken in earnest."""
    TRIAL_CHARACTERS = "trial_characters"
    """Spoken to try a personality out; apart from the others."""


class Purpose(StrEnum):
    """What a text is spoken for."""

    LIVE = "live"
    TRIAL = "trial"
    """To hear what a personality is like; eats nothing of the month's characters."""

    @property
    def allowance(self) -> Allowance:
        """What it draws on."""
        return Allowance.TRIAL_CHARACTERS if self is Purpose.TRIAL else Allowance.CHARACTERS


_Amount = Annotated[int, Field(ge=0, le=10**12)]


class Limits(BaseModel):
    """What a tenant may have and use; see `Stock` and `Allowance` for the names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    personalities: _Amount
    samples: _Amount
    characters: _Amount
    """A month."""
    trial_characters: _Amount
    """A month."""
    concurrent_jobs: _Amount
    cloning: bool
    """Whether a sample may become a voice."""


class Overrides(BaseModel):
    """What one tenant was promised beside its tier; None leaves it at the tier's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    personalities: _Amount | None = None
    samples: _Amount | None = None
    characters: _Amount | None = None
    trial_characters: _Amount | None = None
    concurrent_jobs: _Amount | None = None
    cloning: bool | None = None


LIMITS: Final[Mapping[Tier, Limits]] = MappingProxyType(
    {
        Tier.FREE: Limits(
            personalities=3,
            samples=1,
            characters=20_000,
            trial_characters=5_000,
            concurrent_jobs=1,
            cloning=False,
        ),
        Tier.BASIC: Limits(
            personalities=10,
            samples=5,
            characters=200_000,
            trial_characters=20_000,
            concurrent_jobs=2,
            cloning=True,
        ),
        Tier.PRO: Limits(
            personalities=50,
            samples=25,
            characters=2_000_000,
            trial_characters=100_000,
            concurrent_jobs=5,
            cloning=True,
        ),
        Tier.ENTERPRISE: Limits(
            personalities=1_000,
            samples=500,
            characters=50_000_000,
            trial_characters=1_000_000,
            concurrent_jobs=20,
            cloning=True,
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """How many of a kind a tenant may keep, and whose word that is."""

    stock: Stock
    limit: int
    tier: Tier

    def reached(self, usage: int) -> PlanLimitError:
        """The refusal of one more.

        Args:
            usage: How many there are.
        """
        return PlanLimitError(
            f"The tier {self.tier} has room for {self.limit} {self.stock}, and it is used up.",
            tier=self.tier,
            limit=self.limit,
            usage=usage,
        )


class Plan(BaseModel):
    """A tenant's tier and what it was promised beside; a tenant nobody knows is on the free one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tier: Tier = Tier.FREE
    overrides: Overrides = Overrides()

    @property
    def limits(self) -> Limits:
        """What holds for the tenant."""
        return LIMITS[self.tier].model_copy(update=self.overrides.model_dump(exclude_none=True))

    def ceiling(self, stock: Stock) -> Ceiling:
        """How many of a kind the tenant may keep."""
        return Ceiling(stock=stock, limit=getattr(self.limits, stock), tier=self.tier)

    def allowance(self, allowance: Allowance) -> int:
        """How much of a kind the tenant may use a month."""
        amount: int = getattr(self.limits, allowance)
        return amount

    def require_cloning(self) -> None:
        """Lets only those pass whose samples may become voices.

        Raises:
            PlanLimitError: The tier does not allow it.
        """
        if not self.limits.cloning:
            raise PlanLimitError(
                f"The tier {self.tier} does not clone voices.", tier=self.tier, limit=0, usage=0
            )


def month_of(now: datetime) -> str:
    """The month that a moment counts for: `2026-11`, in UTC."""
    return now.astimezone(UTC).strftime("%Y-%m")


def next_month(now: datetime) -> datetime:
    """When every allowance is whole again: the first of the next month, in UTC."""
    today = now.astimezone(UTC)
    year, month = divmod(today.year * 12 + today.month, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)
