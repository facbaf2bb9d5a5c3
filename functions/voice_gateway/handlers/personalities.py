"""The personalities API: `/api/personalities`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from voice_gateway import bootstrap
from voice_gateway.api_models import PageQuery, PersonalityBody, PersonalityPage, PersonalityView
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

    from voice_gateway.services.personalities import PersonalityService

_ALL: Final = "/api/personalities"
_ONE: Final = "/api/personalities/<personality_id>"
_READ: Final = "personalities:read"
_WRITE: Final = "personalities:write"


def create_app(service: PersonalityService) -> APIGatewayRestResolver:
    """Binds the routes to the service."""
    app = new_app()

    @app.get(_ALL)
    def list_personalities() -> Response[str]:
        tenant_id = tenant_of(app.current_event, _READ)
        query = read_query(app.current_event, PageQuery)
        page, cursor = service.list(tenant_id, limit=query.limit, cursor=query.cursor)
        return send(PersonalityPage.of(page, cursor))

    @app.post(_ALL)
    def create_personality() -> Response[str]:
        tenant_id = tenant_of(app.current_event, _WRITE)
        body = read_body(app.current_event, PersonalityBody)
        made = service.create(
            tenant_id,
            name=body.name,
            personality_id=body.id,
            description=body.description,
            voice_config=body.voice_config,
        )
        # The caller's own path: it begins with the stage where no domain name hides it.
        here = app.current_event.request_context.path.rstrip("/")
        return send(PersonalityView.of(made), 201, {"Location": f"{here}/{made.id}"})

    @app.get(_ONE)
    def get_personality(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, _READ)
        return send(PersonalityView.of(service.get(tenant_id, personality_id)))

    refuse_other_methods(app, _ALL, allowed=("GET", "POST"))
    refuse_other_methods(app, _ONE, allowed=("GET",))
    return app


@cache
def _app() -> APIGatewayRestResolver:
    return create_app(bootstrap.personality_service())


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry."""
    return serve(_app(), event, context)
