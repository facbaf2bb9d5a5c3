"""Plans and counts: the same cases on the fakes and on the adapters."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from fakes.clock import FakeClock
from fakes.personalities import FakePersonalities
from fakes.tenants import FakeTenants
from fakes.usage import FakeUsage
from voice_gateway.adapters.dynamodb_personalities import DynamoPersonalities
from voice_gateway.adapters.dynamodb_tenants import DynamoTenants
from voice_gateway.adapters.dynamodb_usage import KEPT_FOR, DynamoUsage
from voice_gateway.domain.errors import (
    ConflictError,
    PlanLimitError,
    StaleWriteError,
    StorageUnavailableError,
)
from voice_gateway.domain.idempotency import OnceOnly
from voice_gateway.domain.personality import Personality
from voice_gateway.domain.tiers import Allowance, Ceiling, Overrides, Plan, Stock, Tier
from voice_gateway.ports import TenantRepository

if TYPE_CHECKING:
    from voice_gateway.ports import PersonalityRepository, UsageMeter

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
BOTH = ["fake", "dynamodb"]
TWO = Ceiling(stock=Stock.PERSONALITIES, limit=2, tier=Tier.FREE)
NONE = Ceiling(stock=Stock.PERSONALITIES, limit=0, tier=Tier.FREE)


class WritableTenants(TenantRepository, Protocol):
    def put(self, tenant_id: str, plan: Plan) -> None: ...


def _personality(name: str, tenant_id: str = "shop", **changes: Any) -> Personality:
    moments = {"created_at": NOW, "updated_at": NOW}
    return Personality(
        **{"id": name, "name": name, "tenant_id": tenant_id, "counted": True, **moments, **changes}
    )


@pytest.fixture(params=BOTH)
def personalities(request: pytest.FixtureRequest) -> PersonalityRepository:
    if request.param == "fake":
        return FakePersonalities(clock=FakeClock(NOW))
    return DynamoPersonalities(request.getfixturevalue("table"), FakeClock(NOW))


@pytest.fixture(params=BOTH)
def tenants(request: pytest.FixtureRequest) -> WritableTenants:
    if request.param == "fake":
        return FakeTenants()
    return DynamoTenants(request.getfixturevalue("table"))


@pytest.fixture(params=BOTH)
def usage(request: pytest.FixtureRequest) -> UsageMeter:
    if request.param == "fake":
        return FakeUsage()
    return DynamoUsage(request.getfixturevalue("table"))


class TestCeiling:
    def test_refuses_one_too_many_and_tells(self, personalities: PersonalityRepository) -> None:
        personalities.create(_personality("a"), ceiling=TWO)
        personalities.create(_personality("b"), ceiling=TWO)
        with pytest.raises(PlanLimitError) as caught:
            personalities.create(_personality("c"), ceiling=TWO)
        error = caught.value
        assert (error.limit, error.usage, error.tier, error.resets_at) == (2, 2, "free", None)
        page, _ = personalities.list("shop", limit=10)
        assert [p.id for p in page] == ["a", "b"]
        personalities.create(_personality("c", "other"), ceiling=TWO)

    def test_may_leave_no_room_at_all(self, personalities: PersonalityRepository) -> None:
        with pytest.raises(PlanLimitError) as caught:
            personalities.create(_personality("a"), ceiling=NONE)
        assert (caught.value.limit, caught.value.usage) == (0, 0)
        # One that is not counted needs none.
        personalities.create(_personality("seeded", counted=False), ceiling=NONE)

    def test_may_come_down_below_what_is_there(self, personalities: PersonalityRepository) -> None:
        for name in ("a", "b", "c"):
            personalities.create(_personality(name))
        with pytest.raises(PlanLimitError) as caught:
            personalities.create(_personality("d"), ceiling=TWO)
        assert (caught.value.limit, caught.value.usage) == (2, 3)

    def test_one_that_is_deleted_gives_its_place_back(
        self, personalities: PersonalityRepository
    ) -> None:
        first = _personality("a")
        personalities.create(first, ceiling=TWO)
        personalities.create(_personality("b"), ceiling=TWO)
        gone = first.deleted(NOW)
        personalities.replace(first, gone, ceiling=TWO)
        personalities.create(_personality("c"), ceiling=TWO)
        with pytest.raises(PlanLimitError):
            personalities.replace(gone, gone.restored(NOW), ceiling=TWO)
        assert personalities.get("shop", "a", with_deleted=True) == gone

    def test_one_that_is_not_counted_moves_no_count(
        self, personalities: PersonalityRepository
    ) -> None:
        seeded = _personality("seeded", counted=False)
        personalities.create(seeded, ceiling=TWO)
        gone = seeded.deleted(NOW)
        personalities.replace(seeded, gone, ceiling=TWO)
        personalities.create(_personality("a"), ceiling=TWO)
        personalities.create(_personality("b"), ceiling=TWO)
        personalities.replace(gone, gone.restored(NOW), ceiling=TWO)

    def test_a_change_takes_no_place(self, personalities: PersonalityRepository) -> None:
        first = _personality("a")
        personalities.create(first, ceiling=TWO)
        personalities.replace(first, first.rewritten(first, NOW), ceiling=NONE)

    def test_a_write_that_failed_has_not_counted(
        self, personalities: PersonalityRepository
    ) -> None:
        first = _personality("a")
        personalities.create(first, ceiling=TWO)
        never = first.deleted(NOW)
        for _ in range(3):
            with pytest.raises(ConflictError):
                personalities.create(first, ceiling=TWO)
            with pytest.raises(StaleWriteError):
                personalities.replace(never, never.restored(NOW), ceiling=TWO)
        personalities.create(_personality("b"), ceiling=TWO)
        with pytest.raises(ConflictError):
            # That the id is taken is the nearer reason.
            personalities.create(first, ceiling=TWO)

    def test_a_repetition_is_answered_though_the_places_are_taken(
        self, personalities: PersonalityRepository
    ) -> None:
        once = OnceOnly("key", "fingerprint")
        first = _personality("a")
        assert personalities.create(first, once, ceiling=TWO) is None
        personalities.create(_personality("b"), ceiling=TWO)
        assert personalities.create(first, once, ceiling=TWO) == first


class TestTenants:
    def test_a_tenant_nobody_knows_is_on_the_free_tier(self, tenants: WritableTenants) -> None:
        assert tenants.plan("shop") == Plan(tier=Tier.FREE)

    def test_gives_back_exactly_what_was_stored(self, tenants: WritableTenants) -> None:
        plan = Plan(tier=Tier.PRO, overrides=Overrides(characters=10**12, cloning=False))
        tenants.put("shop", plan)
        assert tenants.plan("shop") == plan
        assert tenants.plan("other") == Plan()


class TestUsage:
    def test_nobody_has_used_anything_at_first(self, usage: UsageMeter) -> None:
        assert usage.used("shop", "2026-03") == dict.fromkeys(Allowance, 0)
        assert usage.stock("shop") == dict.fromkeys(Stock, 0)

    def test_takes_up_to_the_limit(self, usage: UsageMeter) -> None:
        spoken = Allowance.CHARACTERS
        assert usage.take("shop", "2026-03", spoken, 101, limit=100) == 0
        assert usage.take("shop", "2026-03", spoken, 60, limit=100) is None
        assert usage.take("shop", "2026-03", spoken, 41, limit=100) == 60
        assert usage.take("shop", "2026-03", spoken, 101, limit=100) == 60
        assert usage.take("shop", "2026-03", spoken, 40, limit=100) is None
        assert usage.take("shop", "2026-03", spoken, 1, limit=100) == 100
        assert usage.used("shop", "2026-03") == {spoken: 100, Allowance.TRIAL_CHARACTERS: 0}

    def test_allowances_months_and_tenants_are_apart(self, usage: UsageMeter) -> None:
        for tenant, month, allowance in (
            ("shop", "2026-03", Allowance.CHARACTERS),
            ("shop", "2026-03", Allowance.TRIAL_CHARACTERS),
            ("shop", "2026-04", Allowance.CHARACTERS),
            ("shop-2", "2026-03", Allowance.CHARACTERS),
        ):
            assert usage.take(tenant, month, allowance, 10, limit=10) is None
            assert usage.take(tenant, month, allowance, 1, limit=10) == 10

    def test_a_limit_may_be_nothing(self, usage: UsageMeter) -> None:
        assert usage.take("shop", "2026-03", Allowance.CHARACTERS, 1, limit=0) == 0

    def test_is_corrected_whatever_the_limit(self, usage: UsageMeter) -> None:
        usage.take("shop", "2026-03", Allowance.CHARACTERS, 10, limit=10)
        usage.correct("shop", "2026-03", Allowance.CHARACTERS, 5)
        assert usage.take("shop", "2026-03", Allowance.CHARACTERS, 1, limit=10) == 15
        usage.correct("shop", "2026-03", Allowance.CHARACTERS, -15)
        assert usage.used("shop", "2026-03")[Allowance.CHARACTERS] == 0

    def test_of_many_at_once_exactly_those_pass_for_whom_there_is_room(
        self, usage: UsageMeter
    ) -> None:
        def take(_: int) -> int | None:
            return usage.take("shop", "2026-03", Allowance.CHARACTERS, 30, limit=100)

        with ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(take, range(40)))
        assert outcomes.count(None) == 3
        assert usage.used("shop", "2026-03")[Allowance.CHARACTERS] == 90


def test_stock_is_what_was_counted_in_the_transactions(table: Any) -> None:
    personalities = DynamoPersonalities(table, FakeClock(NOW))
    for name in ("a", "b"):
        personalities.create(_personality(name), ceiling=TWO)
    personalities.create(_personality("seeded", counted=False), ceiling=TWO)
    assert DynamoUsage(table).stock("shop") == {Stock.PERSONALITIES: 2, Stock.SAMPLES: 0}


def test_dynamodb_forgets_a_month_after_a_year_and_some(table: Any) -> None:
    DynamoUsage(table).take("shop", "2026-03", Allowance.CHARACTERS, 1, limit=1)
    DynamoUsage(table).correct("shop", "2026-03", Allowance.CHARACTERS, 1)
    item = table.get_item(Key={"PK": "TENANT#shop", "SK": "USAGE#2026-03"})["Item"]
    until = datetime.fromtimestamp(int(item["expires_at"]), UTC)
    assert until == datetime(2026, 3, 1, tzinfo=UTC) + KEPT_FOR


def test_trouble_with_the_table_is_one_error(unreachable_table: Any) -> None:
    spoken = Allowance.CHARACTERS
    for act in (
        lambda: DynamoTenants(unreachable_table).plan("shop"),
        lambda: DynamoTenants(unreachable_table).put("shop", Plan()),
        lambda: DynamoUsage(unreachable_table).stock("shop"),
        lambda: DynamoUsage(unreachable_table).used("shop", "2026-03"),
        lambda: DynamoUsage(unreachable_table).correct("shop", "2026-03", spoken, 1),
        lambda: DynamoUsage(unreachable_table).take("shop", "2026-03", spoken, 1, limit=1),
    ):
        with pytest.raises(StorageUnavailableError):
            act()


def test_reads_a_plan_that_a_newer_release_wrote(table: Any) -> None:
    document = '{"tier": "pro", "overrides": {"samples": 7, "minutes": 3}, "since": 2027}'
    table.put_item(Item={"PK": "TENANT#shop", "SK": "TENANT", "document": document})
    plan = DynamoTenants(table).plan("shop")
    assert (plan.tier, plan.limits.samples) == (Tier.PRO, 7)
