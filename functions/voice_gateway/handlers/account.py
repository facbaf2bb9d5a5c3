"""The tenant's own affairs: `/api/usage` and `/api/keys`."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from voice_gateway import bootstrap
from voice_gateway.api_models import (
    ApiKeyBody,
    ApiKeyPage,
    ApiKeyView,
    NewApiKeyView,
    PageQuery,
    RotationBody,
    UsageView,
)
from voice_gateway.domain.access import Scope
from voice_gateway.handlers.rest import (
    caller_of,
    new_app,
    read_body,
    read_optional_body,
    read_query,
    refuse_other_methods,
    send,
    serve,
    tenant_of,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from voice_gateway.domain.access import ApiKey
    from voice_gateway.services.api_keys import ApiKeyService
    from voice_gateway.services.usage import UsageService

_USAGE: Final = "/api/usage"
_KEYS: Final = "/api/keys"
_KEY: Final = f"{_KEYS}/<key_id>"
_ROTATE: Final = f"{_KEY}/rotate"


def create_app(keys: ApiKeyService, usage: UsageService) -> APIGatewayRestResolver:
    """Binds the routes to the services."""
    app = new_app()

    @app.get(_USAGE)
    def get_usage() -> Response[str]:
        return send(UsageView.of(usage.report(tenant_of(app.current_event, Scope.USAGE_READ))))

    refuse_other_methods(app, _USAGE, allowed=("GET",))
    _bind_keys(app, keys)
    return app


def _bind_keys(app: APIGatewayRestResolver, keys: ApiKeyService) -> None:
    @app.get(_KEYS)
    def list_keys() -> Response[str]:
        tenant_id = tenant_of(app.current_event, Scope.KEYS_READ)
        query = read_query(app.current_event, PageQuery)
        return send(ApiKeyPage.of(*keys.list(tenant_id, limit=query.limit, cursor=query.cursor)))

    @app.post(_KEYS)
    def create_key() -> Response[str]:
        caller = caller_of(app.current_event, Scope.KEYS_WRITE)
        body = read_body(app.current_event, ApiKeyBody)
        made, key = keys.create(
            caller.tenant_id,
            name=body.name,
            scopes=body.scopes,
            held=caller.scopes,
            expires_at=body.expires_at,
        )
        return _show_once(made, key)

    refuse_other_methods(app, _KEYS, allowed=("GET", "POST"))

    @app.delete(_KEY)
    def revoke_key(key_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, Scope.KEYS_WRITE)
        return send(ApiKeyView.model_validate(keys.revoke(tenant_id, key_id)))

    refuse_other_methods(app, _KEY, allowed=("DELETE",))

    @app.post(_ROTATE)
    def rotate_key(key_id: str) -> Response[str]:
        caller = caller_of(app.current_event, Scope.KEYS_WRITE)
        body = read_optional_body(app.current_event, RotationBody)
        grace = timedelta(seconds=body.grace_seconds)
        return _show_once(*keys.rotate(caller.tenant_id, key_id, grace=grace, held=caller.scopes))

    refuse_other_methods(app, _ROTATE, allowed=("POST",))


def _show_once(made: ApiKey, key: str) -> Response[str]:
    return send(NewApiKeyView.of(made, key), status=201, headers={"Cache-Control": "no-store"})


@cache
def _app() -> APIGatewayRestResolver:
    return create_app(*bootstrap.account_services())


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry."""
    return serve(_app(), event, context)
