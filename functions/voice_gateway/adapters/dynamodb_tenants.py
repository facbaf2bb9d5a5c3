"""Tenants' plans in the one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voice_gateway.adapters.dynamodb_table import TENANT, fetch, key, storage_errors
from voice_gateway.domain.tiers import Plan

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


class DynamoTenants:
    """Implements `ports.TenantRepository`, and the writing that only operators do."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def plan(self, tenant_id: str) -> Plan:
        """Returns the tenant's plan; see the port."""
        item = fetch(self._table, tenant_id, TENANT)
        return (
            Plan() if item is None else Plan.model_validate_json(item["document"], extra="ignore")
        )

    def put(self, tenant_id: str, plan: Plan) -> None:
        """Gives the tenant a plan.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        with storage_errors():
            self._table.put_item(
                Item={**key(tenant_id, TENANT), "document": plan.model_dump_json()}
            )
