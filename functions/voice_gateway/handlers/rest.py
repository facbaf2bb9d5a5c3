"""What the REST handlers share: reading the request, the one door for errors, the request's id."""

from __future__ import annotations

import base64
import binascii
import json
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.logging import correlation_paths
from pydantic import BaseModel

from voice_gateway.domain.errors import UnsupportedMediaError
from voice_gateway.handlers.incoming import caller_with, parse_body, parse_patch, parse_query
from voice_gateway.http_errors import PROBLEM_JSON, Problem, problem_for, problem_for_status
from voice_gateway.observability import log_failure, logger
from voice_gateway.settings import BrowserSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from voice_gateway.domain.access import Scope
    from voice_gateway.handlers.incoming import Caller

_M = TypeVar("_M", bound=BaseModel)

REQUEST_ID_HEADER: Final = "x-request-id"
_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


def new_app() -> APIGatewayRestResolver:
    """Makes an app without routes, where every error already finds its answer."""
    # Said aloud, because an environment variable could turn it on: it prints every event.
    app = APIGatewayRestResolver(debug=False)

    def no_route(_: Exception) -> Response[str]:
        return _answer(problem_for_status(404, "There is nothing at this address.", _id_of(app)))

    def failed(error: Exception) -> Response[str]:
        problem = problem_for(error, _id_of(app))
        if problem.status >= 500:
            log_failure(error, problem.status, _id_of(app))
        return _answer(problem)

    app.not_found(no_route)
    app.exception_handler(Exception)(failed)
    return app


def refuse_other_methods(app: APIGatewayRestResolver, rule: str, allowed: tuple[str, ...]) -> None:
    """Answers 405 to the methods that a path has no route for."""

    @app.route(rule, [method for method in _METHODS if method not in allowed])
    def refuse(**_: str) -> Response[str]:
        response = _answer(problem_for_status(405, "Not with this method.", _id_of(app)))
        response.headers["Allow"] = ", ".join(allowed)
        return response


def serve(
    app: APIGatewayRestResolver, event: dict[str, Any], context: LambdaContext
) -> dict[str, Any]:
    """Answers one API Gateway event, with the request's id in the log and in the answer."""
    # `log_event` is said aloud for the same reason as `debug` above.
    entry = logger().inject_lambda_context(
        app.resolve,
        log_event=False,
        correlation_id_path=correlation_paths.API_GATEWAY_REST,
        clear_state=True,
    )
    answer: dict[str, Any] = entry(event, context)
    answer["multiValueHeaders"][REQUEST_ID_HEADER] = [event["requestContext"]["requestId"]]
    for name, value in _cors_headers().items():
        answer["multiValueHeaders"][name] = [value]
    return answer


def caller_of(event: APIGatewayProxyEvent, scope: Scope) -> Caller:
    """Reads from the authorizer's findings who calls; see `caller_with`."""
    return caller_with(scope, event.raw_event["requestContext"])


def tenant_of(event: APIGatewayProxyEvent, scope: Scope) -> str:
    """Reads whose tenant calls; see `caller_with`."""
    return caller_of(event, scope).tenant_id


def read_bytes(event: APIGatewayProxyEvent) -> bytes:
    """Reads a body that is no text.

    Raises:
        UnsupportedMediaError: It came as text, so that its bytes are lost.
    """
    if event.raw_event.get("body") and not event.raw_event.get("isBase64Encoded"):
        raise UnsupportedMediaError(
            "Send the recording as it is, with the Content-Type audio/wav, audio/flac, audio/mpeg, "
            "audio/ogg or application/octet-stream.",
            field="content-type",
        )
    return _body_bytes(event)


def read_body(event: APIGatewayProxyEvent, model: type[_M]) -> _M:
    """Reads the JSON body; see `parse_body`."""
    return parse_body(model, _body_bytes(event))


def read_optional_body(event: APIGatewayProxyEvent, model: type[_M]) -> _M:
    """Reads the JSON body, where none at all means the defaults; see `parse_body`."""
    return parse_body(model, _body_bytes(event) if event.raw_event.get("body") else b"{}")


def read_query(event: APIGatewayProxyEvent, model: type[_M]) -> _M:
    """Reads the query string; see `parse_query`."""
    return parse_query(model, event.raw_event.get("queryStringParameters") or {})


def read_patch(event: APIGatewayProxyEvent, model: type[_M]) -> Callable[[BaseModel], _M]:
    """Reads a JSON merge patch; see `parse_patch`."""
    return parse_patch(model, _body_bytes(event))


def header(event: APIGatewayProxyEvent, name: str) -> str | None:
    """Reads a header, whatever its case; lines of the same name are one list."""
    lines: Mapping[str, list[str]] = event.raw_event.get("multiValueHeaders") or {}
    found = [value for key, values in lines.items() if key.lower() == name for value in values]
    return ", ".join(found) if found else None


def send_nothing_new(headers: dict[str, str | list[str]]) -> Response[str]:
    """Says that the caller has it already."""
    return Response(304, None, "", headers)


def send(
    model: BaseModel, status: int = 200, headers: dict[str, str | list[str]] | None = None
) -> Response[str]:
    """A success."""
    return Response(status, "application/json", model.model_dump_json(), headers)


@cache
def _cors_headers() -> Mapping[str, str]:
    return BrowserSettings().cors_headers()


def _body_bytes(event: APIGatewayProxyEvent) -> bytes:
    body = event.raw_event.get("body") or ""
    if not event.raw_event.get("isBase64Encoded"):
        return str(body).encode(errors="surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _answer(problem: Problem) -> Response[str]:
    headers: dict[str, str | list[str]] = {**problem.headers()}
    return Response(problem.status, PROBLEM_JSON, json.dumps(problem.body()), headers)


def _id_of(app: APIGatewayRestResolver) -> str:
    return app.current_event.request_context.request_id or ""
