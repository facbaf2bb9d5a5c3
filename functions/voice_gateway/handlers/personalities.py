"""The personalities API: `/api/personalities`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from voice_gateway import bootstrap
from voice_gateway.api_models import PersonalitiesQuery, PersonalityBody, PersonalityPage
from voice_gateway.domain.idempotency import OnceOnly
from voice_gateway.domain.personality import Character
from voice_gateway.handlers.conditions import expected_versions, idempotency_key
from voice_gateway.handlers.personality_parts import (
    ONE,
    READ,
    WRITE,
    bind_history,
    bind_voice,
    send_version,
    unless_known,
)
from voice_gateway.handlers.rest import (
    header,
    new_app,
    read_body,
    read_patch,
    read_query,
    refuse_other_methods,
    send,
    serve,
    tenant_of,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from voice_gateway.ports import VoiceMatchStore
    from voice_gateway.services.chosen_samples import ChosenSamples
    from voice_gateway.services.personalities import PersonalityService

_ALL: Final = "/api/personalities"


def create_app(
    service: PersonalityService, samples: ChosenSamples, matches: VoiceMatchStore
) -> APIGatewayRestResolver:
    """Binds the routes to the services."""
    app = new_app()
    _bind_all(app, service)
    _bind_one(app, service)
    bind_voice(app, service, samples, matches)
    bind_history(app, service)
    return app


def _bind_all(app: APIGatewayRestResolver, service: PersonalityService) -> None:
    @app.get(_ALL)
    def list_personalities() -> Response[str]:
        tenant_id = tenant_of(app.current_event, READ)
        query = read_query(app.current_event, PersonalitiesQuery)
        page, cursor = service.list(
            tenant_id, limit=query.limit, cursor=query.cursor, wanted=query.wanted()
        )
        return send(PersonalityPage.of(page, cursor))

    @app.post(_ALL)
    def create_personality() -> Response[str]:
        tenant_id = tenant_of(app.current_event, WRITE)
        key = idempotency_key(header(app.current_event, "idempotency-key"))
        body = read_body(app.current_event, PersonalityBody)
        once = OnceOnly(key, body.fingerprint()) if key else None
        made, replayed = service.create(tenant_id, body, personality_id=body.id, once=once)
        # The caller's own path: it begins with the stage where no domain name hides it.
        here = app.current_event.request_context.path.rstrip("/")
        answer = send_version(made, status=201)
        answer.headers["Location"] = f"{here}/{made.id}"
        if replayed:
            answer.headers["Idempotent-Replayed"] = "true"
        return answer

    refuse_other_methods(app, _ALL, allowed=("GET", "POST"))


def _bind_one(app: APIGatewayRestResolver, service: PersonalityService) -> None:
    @app.get(ONE)
    def get_personality(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, READ)
        return unless_known(app, service.get(tenant_id, personality_id))

    @app.put(ONE)
    def replace_personality(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, WRITE)
        expected = expected_versions(header(app.current_event, "if-match"))
        body = read_body(app.current_event, Character)
        return send_version(
            service.change(tenant_id, personality_id, lambda _: body, expected=expected)
        )

    @app.patch(ONE)
    def change_personality(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, WRITE)
        expected = expected_versions(header(app.current_event, "if-match"))
        patched = read_patch(app.current_event, Character)
        return send_version(service.change(tenant_id, personality_id, patched, expected=expected))

    @app.delete(ONE)
    def delete_personality(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, WRITE)
        expected = expected_versions(header(app.current_event, "if-match"))
        return send_version(service.delete(tenant_id, personality_id, expected=expected))

    refuse_other_methods(app, ONE, allowed=("GET", "PUT", "PATCH", "DELETE"))


@cache
def _app() -> APIGatewayRestResolver:
    return create_app(
        bootstrap.personality_service(), bootstrap.chosen_samples(), bootstrap.voice_matches()
    )


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry."""
    return serve(_app(), event, context)
