"""The characters a month: reserved before anybody speaks, given back as far as nobody spoke."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.errors import QuotaExceededError
from voice_gateway.domain.tiers import month_of, next_month

if TYPE_CHECKING:
    from voice_gateway.domain.tiers import Allowance, Plan
    from voice_gateway.ports import Clock, TenantRepository, UsageMeter

PLAN_KEPT_SECONDS: Final = 60.0
"""A plan changes some times a year, and reading it first would make every first audio later."""
_PLANS_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Characters that are counted already."""

    tenant_id: str
    month: str
    allowance: Allowance
    characters: int


class CharacterQuota:
    """Keeps tenants within their characters a month."""

    def __init__(self, tenants: TenantRepository, meter: UsageMeter, clock: Clock) -> None:
        self._tenants = tenants
        self._meter = meter
        self._clock = clock
        self._plans: dict[str, tuple[Plan, float]] = {}

    def reserve(self, tenant_id: str, allowance: Allowance, characters: int) -> Reservation:
        """Counts characters that are about to be spoken.

        Raises:
            QuotaExceededError: So many are not left this month.
            StorageUnavailableError: The table did not answer.
        """
        plan = self._plan(tenant_id)
        limit = plan.allowance(allowance)
        now = self._clock.now()
        month = month_of(now)
        used = self._meter.take(tenant_id, month, allowance, characters, limit=limit)
        if used is not None:
            resets_at = next_month(now)
            kind = allowance.value.replace("_", " ")
            raise QuotaExceededError(
                f"The tier {plan.tier} has {limit} {kind} a month, and {max(0, limit - used)} "
                f"are left; this needs {characters}.",
                tier=plan.tier,
                limit=limit,
                usage=used,
                resets_at=resets_at,
                retry_after=int((resets_at - now).total_seconds()) + 1,
            )
        return Reservation(
            tenant_id=tenant_id, month=month, allowance=allowance, characters=characters
        )

    def settle(self, reservation: Reservation, spoken: int) -> None:
        """Counts what was really spoken instead, in the month of the reservation.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        if change := spoken - reservation.characters:
            self._meter.correct(
                reservation.tenant_id, reservation.month, reservation.allowance, change
            )

    def _plan(self, tenant_id: str) -> Plan:
        now = self._clock.monotonic()
        plan, expires = self._plans.get(tenant_id, (None, now))
        if plan is None or expires <= now:
            plan = self._tenants.plan(tenant_id)
            if len(self._plans) >= _PLANS_KEPT:
                self._plans.clear()
            self._plans[tenant_id] = (plan, now + PLAN_KEPT_SECONDS)
        return plan


class Reserved:
    """One answer's reservation, under way from the beginning; for the loop it is made in."""

    def __init__(
        self, quota: CharacterQuota, tenant_id: str, allowance: Allowance, characters: int
    ) -> None:
        self._quota = quota
        self._reserving = asyncio.ensure_future(
            asyncio.to_thread(quota.reserve, tenant_id, allowance, characters)
        )

    async def granted(self) -> None:
        """Waits until the characters are reserved.

        Raises:
            QuotaExceededError: So many are not left this month.
            StorageUnavailableError: The table did not answer.
        """
        # A caller who hangs up here must not leave characters reserved that nobody knows of.
        await asyncio.shield(self._reserving)

    async def settle(self, spoken: int) -> None:
        """Counts what was really spoken instead; nothing, where nothing was reserved.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        await asyncio.wait({self._reserving})
        if self._reserving.exception() is not None:
            return
        reservation = self._reserving.result()
        # Mostly all of it was spoken, and a thread for nothing costs more than the comparison.
        if reservation.characters != spoken:
            await asyncio.to_thread(self._quota.settle, reservation, spoken)
