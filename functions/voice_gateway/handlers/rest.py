"""What the REST handlers share: reading the request, the one door for errors, the request's id."""

from __future__ import annotations

import base64
import binascii
import json
import traceback
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.logging import correlation_paths
from pydantic import BaseModel, ValidationError

from voice_gateway.domain.errors import (
    ForbiddenError,
    TooLargeError,
    UnauthorizedError,
    VoiceGatewayError,
)
from voice_gateway.domain.limits import MAX_BODY_BYTES
from voice_gateway.http_errors import (
    PROBLEM_JSON,
    Problem,
    problem_for,
    problem_for_status,
    problem_for_validation,
)
from voice_gateway.observability import logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent
    from aws_lambda_powertools.utilities.typing import LambdaContext

_M = TypeVar("_M", bound=BaseModel)

REQUEST_ID_HEADER: Final = "x-request-id"
_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


class RefusedRequestError(Exception):
    """The request does not fit its model.

    Apart from `ValidationError` itself, which may also mean that a stored document cannot be read:
    that one is ours to answer for, not the caller's.
    """

    def __init__(self, cause: ValidationError) -> None:
        super().__init__(type(cause).__name__)
        self.cause = cause


def new_app() -> APIGatewayRestResolver:
    """Makes an app without routes, where every error already finds its answer."""
    # Said aloud, because an environment variable could turn it on: it prints every event.
    app = APIGatewayRestResolver(debug=False)

    def no_route(_: Exception) -> Response[str]:
        return _answer(problem_for_status(404, "There is nothing at this address.", _id_of(app)))

    def refused(error: RefusedRequestError) -> Response[str]:
        return _answer(problem_for_validation(error.cause, _id_of(app)))

    def failed(error: Exception) -> Response[str]:
        problem = problem_for(error, _id_of(app))
        if problem.status >= 500:
            _log_failure(error, problem.status)
        return _answer(problem)

    app.not_found(no_route)
    app.exception_handler(RefusedRequestError)(refused)
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
    return answer


def tenant_with(event: APIGatewayProxyEvent, scope: str) -> str:
    """Reads from the authorizer's findings who calls.

    Raises:
        UnauthorizedError: No tenant came with the request.
        ForbiddenError: The caller's key lacks the scope.
    """
    found: Mapping[str, Any] = event.raw_event["requestContext"].get("authorizer") or {}
    tenant = found.get("tenant")
    if not isinstance(tenant, str) or not tenant:
        raise UnauthorizedError("This needs an API key.")
    if scope not in str(found.get("scopes", "")).split():
        raise ForbiddenError(f"This API key lacks the scope {scope}.")
    return tenant


def read_body(event: APIGatewayProxyEvent, model: type[_M]) -> _M:
    """Reads the JSON body, strictly: a text is no number, and NaN is none either.

    Raises:
        TooLargeError: It is longer than anybody needs.
        RefusedRequestError: It is no JSON, or does not fit the model.
    """
    body = _body_bytes(event)
    if len(body) > MAX_BODY_BYTES:
        raise TooLargeError(f"At most {MAX_BODY_BYTES} bytes.", field="body")
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise RefusedRequestError(error) from None


def read_query(event: APIGatewayProxyEvent, model: type[_M]) -> _M:
    """Reads the query string.

    Raises:
        RefusedRequestError: It does not fit the model.
    """
    try:
        return model.model_validate(event.raw_event.get("queryStringParameters") or {})
    except ValidationError as error:
        raise RefusedRequestError(error) from None


def send(
    model: BaseModel, status: int = 200, headers: dict[str, str | list[str]] | None = None
) -> Response[str]:
    """A success."""
    return Response(status, "application/json", model.model_dump_json(), headers)


def _body_bytes(event: APIGatewayProxyEvent) -> bytes:
    body = event.raw_event.get("body") or ""
    if not event.raw_event.get("isBase64Encoded"):
        return str(body).encode(errors="surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _answer(problem: Problem) -> Response[str]:
    return Response(problem.status, PROBLEM_JSON, json.dumps(problem.body()))


def _id_of(app: APIGatewayRestResolver) -> str:
    return app.current_event.request_context.request_id or ""


def _log_failure(error: Exception, status: int) -> None:
    # Where it broke, never what it said: an exception's own words may quote the customer.
    logger().error(
        "request failed",
        status=status,
        error=type(error).__name__,
        # Our own errors promise to hold nothing of the customer's.
        detail=str(error) if isinstance(error, VoiceGatewayError) else None,
        where=[f"{f.filename}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)],
    )
