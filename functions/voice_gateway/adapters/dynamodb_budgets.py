"""Budgets in the one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voice_gateway.adapters.dynamodb_table import BUDGET, fetch, key, storage_errors
from voice_gateway.domain.budget import Budget

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


class DynamoBudgets:
    """Implements `ports.BudgetRepository`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, tenant_id: str) -> Budget:
        """Returns the tenant's budget; see the port."""
        item = fetch(self._table, tenant_id, BUDGET)
        if item is None:
            return Budget()
        return Budget.model_validate_json(item["document"], extra="ignore")

    def put(self, tenant_id: str, budget: Budget) -> None:
        """Sets it; see the port."""
        with storage_errors():
            self._table.put_item(
                Item={**key(tenant_id, BUDGET), "document": budget.model_dump_json()}
            )
