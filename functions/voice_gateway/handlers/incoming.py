"""What every handler reads off a request, whatever brought it here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, JsonValue, RootModel, ValidationError

from voice_gateway.domain.errors import ForbiddenError, TooLargeError, UnauthorizedError
from voice_gateway.domain.limits import MAX_BODY_BYTES
from voice_gateway.domain.merge_patch import merge_patch
from voice_gateway.http_errors import RefusedRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from voice_gateway.domain.access import Scope

_M = TypeVar("_M", bound=BaseModel)


class _Patch(RootModel[dict[str, JsonValue]]):
    """Any JSON object."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as the authorizer found."""

    tenant_id: str
    scopes: frozenset[str]
    id: str = "unknown"
    """Names the key or the person, and gives neither away."""


def caller_with(scope: Scope, request_context: Mapping[str, Any]) -> Caller:
    """Reads from the authorizer's findings who calls.

    Args:
        scope: What the caller must be allowed to do.
        request_context: API Gateway's.

    Raises:
        UnauthorizedError: No tenant came with the request.
        ForbiddenError: The caller lacks the scope.
    """
    found: Mapping[str, Any] = request_context.get("authorizer") or {}
    tenant = found.get("tenant")
    if not isinstance(tenant, str) or not tenant:
        raise UnauthorizedError("This needs an API key or a person's token.")
    scopes = frozenset(str(found.get("scopes", "")).split())
    if scope not in scopes:
        raise ForbiddenError(f"This needs the scope {scope}.")
    return Caller(tenant, scopes, str(found.get("key_id") or "unknown"))


def tenant_with(scope: Scope, request_context: Mapping[str, Any]) -> str:
    """Reads whose tenant calls; see `caller_with`."""
    return caller_with(scope, request_context).tenant_id


def too_large() -> TooLargeError:
    """The refusal of a body that is longer than anybody needs."""
    return TooLargeError(f"At most {MAX_BODY_BYTES} bytes.", field="body")


def parse_body(model: type[_M], body: bytes) -> _M:
    """Reads a JSON body, strictly: a text is no number, and NaN is none either.

    Raises:
        TooLargeError: It is longer than anybody needs.
        RefusedRequestError: It is no JSON, or does not fit the model.
    """
    if len(body) > MAX_BODY_BYTES:
        raise too_large()
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise RefusedRequestError(error) from None


def parse_patch(model: type[_M], body: bytes) -> Callable[[BaseModel], _M]:
    """Reads a JSON merge patch (RFC 7396) of a document that fits the model.

    Returns:
        Applies it: makes the patched model of the present one, or raises RefusedRequestError when
        the whole would not fit.

    Raises:
        TooLargeError: It is longer than anybody needs.
        RefusedRequestError: It is no JSON object.
    """
    patch = parse_body(_Patch, body).root

    def patched(present: BaseModel) -> _M:
        document = present.model_dump(mode="json", include=set(model.model_fields))
        return parse_body(model, json.dumps(merge_patch(document, patch)).encode())

    return patched


def parse_query(model: type[_M], query: Mapping[str, str]) -> _M:
    """Reads a query string.

    Raises:
        RefusedRequestError: It does not fit the model.
    """
    try:
        return model.model_validate(dict(query))
    except ValidationError as error:
        raise RefusedRequestError(error) from None
