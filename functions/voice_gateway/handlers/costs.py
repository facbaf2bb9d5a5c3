"""The costs API: what speech cost, what it may cost, and how it went."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from voice_gateway import bootstrap
from voice_gateway.api_models import BudgetView, CostsQuery, StatisticsQuery
from voice_gateway.domain.access import Scope
from voice_gateway.domain.budget import Budget
from voice_gateway.handlers.rest import (
    new_app,
    read_body,
    read_query,
    refuse_other_methods,
    send,
    serve,
    tenant_of,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from voice_gateway.services.costs import CostService


def create_app(service: CostService) -> APIGatewayRestResolver:
    """Binds the routes to the service."""
    app = new_app()

    @app.get("/api/costs")
    def get_costs() -> Response[str]:
        tenant_id = tenant_of(app.current_event, Scope.COSTS_READ)
        query = read_query(app.current_event, CostsQuery)
        return send(service.month(tenant_id, query.month))

    @app.get("/api/stats")
    def get_statistics() -> Response[str]:
        tenant_id = tenant_of(app.current_event, Scope.COSTS_READ)
        query = read_query(app.current_event, StatisticsQuery)
        return send(service.figures(tenant_id, query.window))

    @app.get("/api/budget")
    def get_budget() -> Response[str]:
        return send(BudgetView.of(service.budget(tenant_of(app.current_event, Scope.COSTS_READ))))

    @app.put("/api/budget")
    def set_budget() -> Response[str]:
        tenant_id = tenant_of(app.current_event, Scope.COSTS_WRITE)
        body = read_body(app.current_event, Budget)
        return send(BudgetView.of(service.set_budget(tenant_id, body)))

    refuse_other_methods(app, "/api/costs", allowed=("GET",))
    refuse_other_methods(app, "/api/stats", allowed=("GET",))
    refuse_other_methods(app, "/api/budget", allowed=("GET", "PUT"))
    return app


@cache
def _app() -> APIGatewayRestResolver:
    return create_app(bootstrap.cost_service())


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry."""
    return serve(_app(), event, context)
