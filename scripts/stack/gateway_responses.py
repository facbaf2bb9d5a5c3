"""What the gateway answers by itself, in the template's words."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from aiohttp import web

from template import GatewayResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE: Final = re.compile(r"\$context\.[A-Za-z.]+")
_MESSAGES: Final = {
    "ACCESS_DENIED": "User is not authorized to access this resource",
    "API_CONFIGURATION_ERROR": "Internal server error",
    "AUTHORIZER_CONFIGURATION_ERROR": "Internal server error",
    "AUTHORIZER_FAILURE": "Internal server error",
    "BAD_REQUEST_PARAMETERS": "The request cannot be read",
    "INTEGRATION_FAILURE": "Internal server error",
    "INTEGRATION_TIMEOUT": "Endpoint request timed out",
    "MISSING_AUTHENTICATION_TOKEN": "Missing Authentication Token",
    "REQUEST_TOO_LARGE": "Request Entity Too Large",
    "UNAUTHORIZED": "Unauthorized",
}
"""API Gateway's own words, for templates that quote them."""


def gateway_response(
    responses: Mapping[str, GatewayResponse], kind: str, status: int, request_id: str
) -> web.Response:
    """Composes one.

    Args:
        responses: The template's gateway responses.
        kind: Which one; without an entry it is `DEFAULT_4XX` or `DEFAULT_5XX`.
        status: The status, unless the template has another.
        request_id: The request's id.
    """
    response = responses.get(kind) or responses.get(f"DEFAULT_{status // 100}XX") or _PLAIN
    message = _MESSAGES.get(kind, "The request failed")
    context = {
        "$context.requestId": request_id,
        "$context.error.message": message,
        "$context.error.messageString": json.dumps(message),
        "$context.error.responseType": kind,
    }
    body = _VARIABLE.sub(lambda variable: context.get(variable[0], "-"), response.body)
    headers = {"Content-Type": "application/json", **response.headers}
    return web.Response(status=response.status or status, body=body.encode(), headers=headers)


_PLAIN: Final = GatewayResponse(
    status=None, headers={}, body='{"message":$context.error.messageString}'
)
