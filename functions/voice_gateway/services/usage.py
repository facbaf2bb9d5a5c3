"""What a tenant may have and use, and has and used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voice_gateway.domain.tiers import month_of, next_month

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from voice_gateway.domain.tiers import Allowance, Plan, Stock
    from voice_gateway.ports import Clock, TenantRepository, UsageMeter


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """A tenant's plan, and how much of it is used."""

    plan: Plan
    stock: Mapping[Stock, int]
    used: Mapping[Allowance, int]
    """This month; what is being spoken at this moment is counted as if it were spoken whole."""
    resets_at: datetime


class UsageService:
    """Reads what others count."""

    def __init__(self, tenants: TenantRepository, meter: UsageMeter, clock: Clock) -> None:
        self._tenants = tenants
        self._meter = meter
        self._clock = clock

    def report(self, tenant_id: str) -> UsageReport:
        """Tells a tenant how it stands.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        now = self._clock.now()
        return UsageReport(
            plan=self._tenants.plan(tenant_id),
            stock=self._meter.stock(tenant_id),
            used=self._meter.used(tenant_id, month_of(now)),
            resets_at=next_month(now),
        )
