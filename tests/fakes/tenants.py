"""Tenants' plans in memory."""

from __future__ import annotations

from voice_gateway.domain.errors import StorageUnavailableError
from voice_gateway.domain.tiers import Plan


class FakeTenants:
    """Implements `ports.TenantRepository`, and the writing that only operators do.

    Args:
        known: What a tenant has that nobody gave a plan.

    Attributes:
        broken: While true, every call fails as an unreachable table does.
    """

    def __init__(self, known: Plan | None = None) -> None:
        self.broken = False
        self._known = known or Plan()
        self._plans: dict[str, Plan] = {}

    def plan(self, tenant_id: str) -> Plan:
        """Returns the tenant's plan."""
        self._check()
        return self._plans.get(tenant_id, self._known)

    def put(self, tenant_id: str, plan: Plan) -> None:
        """Gives the tenant a plan."""
        self._check()
        self._plans[tenant_id] = plan

    def _check(self) -> None:
        if self.broken:
            raise StorageUnavailableError("broken on purpose")
