from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from fakes.budgets import FakeBudgets
from fakes.clock import FakeClock
from fakes.events import lambda_context, rest_event
from fakes.receipts import FakeReceipts
from voice_gateway.domain.receipt import Asked, Attempt, Outcome, Receipt, Served
from voice_gateway.handlers.costs import create_app
from voice_gateway.handlers.rest import serve
from voice_gateway.services.budgets import BudgetService
from voice_gateway.services.costs import CostService

NOW = datetime(2026, 11, 23, 12, 1, tzinfo=UTC)


class Api:
    """The costs function, with everything behind it in memory."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.receipts = FakeReceipts(self.clock)
        self.budgets = FakeBudgets()
        budgets = BudgetService(self.budgets, self.receipts, self.clock)
        self.app = create_app(CostService(self.receipts, self.receipts, budgets, self.clock))

    def call(
        self, method: str, url: str, body: object = None, **authorizer: str
    ) -> tuple[int, dict[str, Any]]:
        found = {"tenant": "shop", "scopes": "costs:read costs:write", **authorizer}
        sent = None if body is None else json.dumps(body)
        event = rest_event(method, url, body=sent, authorizer=found)
        answer = serve(self.app, event, lambda_context())
        return answer["statusCode"], json.loads(answer["body"])

    def spoke(self, request_id: str, cost: str = "0.25", tenant: str = "shop") -> None:
        attempt = Attempt(
            provider="google",
            outcome=Outcome.SERVED,
            sentences=1,
            characters=9,
            cost_usd=Decimal(cost),
            first_audio_ms=80.0,
            elapsed_ms=200.0,
        )
        receipt = Receipt(
            request_id=request_id,
            personality="marcel",
            asked=Asked(provider="google", voice=None, quality="high"),
            served=(Served(provider="google", voice=None, sentences=1),),
            substituted=False,
            complete=True,
            attempts=(attempt,),
            sentences=1,
            first_audio_ms=90.0,
            total_ms=210.0,
            audio_seconds=1.0,
            real_time_factor=0.21,
            characters=9,
            cost_usd=attempt.cost_usd,
            cost_saved_usd=Decimal("0.1"),
            format="wav",
            sample_rate=24_000,
        )
        self.receipts.save(tenant, receipt)


@pytest.fixture
def api() -> Api:
    return Api()


def test_tells_what_a_month_cost(api: Api) -> None:
    api.spoke("r1")
    api.spoke("r2", "0.000001")
    api.spoke("r3", "9", tenant="other")
    status, costs = api.call("GET", "/api/costs")
    assert status == 200
    assert costs["month"] == "2026-11"
    assert costs["total"] == {
        "requests": 2,
        "characters": 18,
        "cost_usd": 0.250001,
        "cost_saved_usd": 0.2,
    }
    assert costs["providers"]["google"]["cost_usd"] == 0.250001
    assert costs["personalities"]["marcel"]["requests"] == 2
    assert api.call("GET", "/api/costs?month=2026-11") == (200, costs)
    status, before = api.call("GET", "/api/costs?month=2026-10")
    assert (status, before["total"]["requests"], before["providers"]) == (200, 0, {})


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "november", "", "2026-11%23X", "٢٠٢٦-11"])
def test_a_month_is_a_month(api: Api, month: str) -> None:
    status, problem = api.call("GET", f"/api/costs?month={month}")
    assert (status, problem["errors"][0]["field"]) == (422, "month")


def test_tells_how_it_went(api: Api) -> None:
    api.spoke("r1")
    api.clock.advance(3600 * 2)
    api.spoke("r2")
    status, day = api.call("GET", "/api/stats")
    assert (status, day["window"], day["requests"]) == (200, "24h", 2)
    assert day["providers"]["google"]["served"] == 2
    assert day["first_audio_ms"]["p95"] == pytest.approx(90, rel=0.025)
    assert day["cost_usd"] == 0.5
    assert api.call("GET", "/api/stats?window=1h")[1]["requests"] == 1
    assert api.call("GET", "/api/stats?window=30d")[1]["requests"] == 2
    assert api.call("GET", "/api/stats?window=7d")[0] == 422


def test_a_budget_is_set_and_spent(api: Api) -> None:
    status, budget = api.call("GET", "/api/budget")
    assert (status, budget["monthly_usd"], budget["state"]) == (200, None, None)
    api.spoke("r1")
    status, budget = api.call("PUT", "/api/budget", {"monthly_usd": 0.3, "soft_percent": 50})
    assert status == 200
    assert budget == {
        "monthly_usd": 0.3,
        "soft_percent": 50,
        "month": "2026-11",
        "spent_usd": 0.25,
        "state": "soft",
        "resets_at": "2026-12-01T00:00:00Z",
    }
    assert api.call("GET", "/api/budget") == (200, budget)
    api.spoke("r2")
    assert api.call("GET", "/api/budget")[1]["state"] == "hard"
    assert api.call("GET", "/api/budget", tenant="other")[1]["monthly_usd"] is None
    assert api.call("PUT", "/api/budget", {"monthly_usd": None})[1]["state"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"monthly_usd": -0.01}, "monthly_usd"),
        ({"monthly_usd": "12"}, "monthly_usd"),
        ({"monthly_usd": 1e12}, "monthly_usd"),
        ({"soft_percent": 101}, "soft_percent"),
        ({"soft_percent": 50.5}, "soft_percent"),
        ({"limit": 3}, "limit"),
        ([], "body"),
    ],
)
def test_refuses_what_is_no_budget(api: Api, body: object, field: str) -> None:
    status, problem = api.call("PUT", "/api/budget", body)
    assert (status, problem["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/api/costs", "costs:read"),
        ("GET", "/api/stats", "costs:read"),
        ("GET", "/api/budget", "costs:read"),
        ("PUT", "/api/budget", "costs:write"),
    ],
)
def test_needs_its_scope(api: Api, method: str, path: str, scope: str) -> None:
    body = {} if method == "PUT" else None
    others = {"costs:read", "costs:write", "speech:write", "personalities:write"} - {scope}
    assert api.call(method, path, body, scopes=" ".join(others))[0] == 403
    assert api.call(method, path, body, scopes=scope)[0] == 200
    assert api.call(method, path, body, tenant="")[0] == 401


def test_says_when_the_table_is_away(api: Api) -> None:
    api.receipts.broken = True
    for path in ("/api/costs", "/api/stats", "/api/budget"):
        assert api.call("GET", path)[0] == 503
    assert api.call("POST", "/api/budget", {})[0] == 405
