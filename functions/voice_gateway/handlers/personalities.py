"""The personalities API: `/api/personalities`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from voice_gateway import bootstrap
from voice_gateway.api_models import (
    PageQuery,
    PersonalitiesQuery,
    PersonalityBody,
    PersonalityPage,
    PersonalityView,
    VersionPage,
)
from voice_gateway.domain.idempotency import OnceOnly
from voice_gateway.domain.personality import Character, VoiceConfig
from voice_gateway.handlers.conditions import (
    etag,
    expected_versions,
    idempotency_key,
    is_known,
)
from voice_gateway.handlers.rest import (
    header,
    new_app,
    read_body,
    read_patch,
    read_query,
    refuse_other_methods,
    send,
    send_nothing_new,
    serve,
    tenant_of,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from pydantic import BaseModel

    from voice_gateway.domain.personality import Personality
    from voice_gateway.services.personalities import PersonalityService

_ALL: Final = "/api/personalities"
_ONE: Final = "/api/personalities/<personality_id>"
_VOICE: Final = f"{_ONE}/voice"
_VERSIONS: Final = f"{_ONE}/versions"
_RESTORE: Final = f"{_ONE}/restore"
_READ: Final = "personalities:read"
_WRITE: Final = "personalities:write"


def create_app(service: PersonalityService) -> APIGatewayRestResolver:
    """Binds the routes to the service."""
    app = new_app()
    _bind_all(app, service)
    _bind_one(app, service)
    _bind_voice(app, service)
    _bind_history(app, service)
    return app


def _bind_all(app: APIGatewayRestResolver, service: PersonalityService) -> None:
    @app.get(_ALL)
    def list_personalities() -> Response[str]:
        tenant_id = tenant_of(app.current_event, _READ)
        query = read_query(app.current_event, PersonalitiesQuery)
        page, cursor = service.list(
            tenant_id, limit=query.limit, cursor=query.cursor, wanted=query.wanted()
        )
        return send(PersonalityPage.of(page, cursor))

    @app.post(_ALL)
    def create_personality() -> Response[str]:
        tenant_id = tenant_of(app.current_event, _WRITE)
        key = idempotency_key(header(app.current_event, "idempotency-key"))
        body = read_body(app.current_event, PersonalityBody)
        once = OnceOnly(key, body.fingerprint()) if key else None
        made, replayed = service.create(tenant_id, body, personality_id=body.id, once=once)
        # The caller's own path: it begins with the stage where no domain name hides it.
        here = app.current_event.request_context.path.rstrip("/")
        answer = _send(made, status=201)
        answer.headers["Location"] = f"{here}/{made.id}"
        if replayed:
            answer.headers["Idempotent-Replayed"] = "true"
        return answer

    refuse_other_methods(app, _ALL, allowed=("GET", "POST"))


def _bind_one(app: APIGatewayRestResolver, service: PersonalityService) -> None:
    @app.get(_ONE)
    def get_personality(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, _READ)
        return _unless_known(app, service.get(tenant_id, personality_id))

    @app.put(_ONE)
    def replace_personality(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, _WRITE)
        expected = expected_versions(header(app.current_event, "if-match"))
        body = read_body(app.current_event, Character)
        return _send(service.change(tenant_id, personality_id, lambda _: body, expected=expected))

    @app.patch(_ONE)
    def change_personality(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, _WRITE)
        expected = expected_versions(header(app.current_event, "if-match"))
        patched = read_patch(app.current_event, Character)
        return _send(service.change(tenant_id, personality_id, patched, expected=expected))

    @app.delete(_ONE)
    def delete_personality(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, _WRITE)
        expected = expected_versions(header(app.current_event, "if-match"))
        return _send(service.delete(tenant_id, personality_id, expected=expected))

    refuse_other_methods(app, _ONE, allowed=("GET", "PUT", "PATCH", "DELETE"))


def _bind_voice(app: APIGatewayRestResolver, service: PersonalityService) -> None:
    @app.get(_VOICE)
    def get_voice(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, _READ)
        found = service.get(tenant_id, personality_id)
        return _unless_known(app, found, found.voice_config)

    @app.put(_VOICE)
    def replace_voice(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, _WRITE)
        expected = expected_versions(header(app.current_event, "if-match"))
        body = read_body(app.current_event, VoiceConfig)

        def with_voice(present: Character) -> Character:
            return present.model_copy(update={"voice_config": body})

        changed = service.change(tenant_id, personality_id, with_voice, expected=expected)
        return _send(changed, changed.voice_config)

    refuse_other_methods(app, _VOICE, allowed=("GET", "PUT"))


def _bind_history(app: APIGatewayRestResolver, service: PersonalityService) -> None:
    @app.get(_VERSIONS)
    def list_versions(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, _READ)
        query = read_query(app.current_event, PageQuery)
        page, cursor = service.versions(
            tenant_id, personality_id, limit=query.limit, cursor=query.cursor
        )
        return send(VersionPage.of(page, cursor))

    @app.post(_RESTORE)
    def restore_personality(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, _WRITE)
        expected = expected_versions(header(app.current_event, "if-match"))
        return _send(service.restore(tenant_id, personality_id, expected=expected))

    refuse_other_methods(app, _VERSIONS, allowed=("GET",))
    refuse_other_methods(app, _RESTORE, allowed=("POST",))


def _send(
    personality: Personality, shown: BaseModel | None = None, status: int = 200
) -> Response[str]:
    shown = shown or PersonalityView.of(personality)
    return send(shown, status, {"ETag": etag(personality.version)})


def _unless_known(
    app: APIGatewayRestResolver, personality: Personality, shown: BaseModel | None = None
) -> Response[str]:
    if is_known(header(app.current_event, "if-none-match"), personality.version):
        return send_nothing_new({"ETag": etag(personality.version)})
    return _send(personality, shown)


@cache
def _app() -> APIGatewayRestResolver:
    return create_app(bootstrap.personality_service())


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry."""
    return serve(_app(), event, context)
