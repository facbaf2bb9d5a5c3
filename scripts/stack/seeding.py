"""Fills a fresh table: an API key for this machine, and the personalities to begin with."""

from __future__ import annotations

import boto3

from layout import REGION, TENANT
from voice_gateway.adapters.dynamodb_api_keys import DynamoApiKeys
from voice_gateway.adapters.dynamodb_tenants import DynamoTenants
from voice_gateway.adapters.system_clock import SystemClock
from voice_gateway.domain.tiers import Plan, Tier
from voice_gateway.seed import seed
from voice_gateway.services.authorization import hash_key, mint_key, tenant_of


def fill(table_name: str, endpoint: str, api_key: str) -> str:
    """Seeds the table, as often as it is called.

    Args:
        table_name: The physical name.
        endpoint: The local AWS.
        api_key: The key of the last time, or nothing.

    Returns:
        A key that works: the given one as long as it does.
    """
    table = boto3.resource(
        "dynamodb",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    ).Table(table_name)
    key = api_key if tenant_of(api_key) == TENANT else mint_key(TENANT)
    clock = SystemClock()
    seed(table, tenant_id=TENANT, api_key=key, clock=clock)
    seeded = DynamoApiKeys(table).find(TENANT, hash_key(key))
    if seeded is None or not seeded.is_good(clock.now()):
        # Somebody revoked or replaced it, and seeding brings no dead key back.
        key = mint_key(TENANT)
        seed(table, tenant_id=TENANT, api_key=key, clock=clock)
    tenants = DynamoTenants(table)
    if tenants.plan(TENANT) == Plan():
        # Whoever tries things out on their own machine should not run into limits.
        tenants.put(TENANT, Plan(tier=Tier.ENTERPRISE))
    return key
