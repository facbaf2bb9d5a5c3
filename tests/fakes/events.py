"""What API Gateway (REST, payload v1) hands to a function."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext

REQUEST_ID: Final = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
STAGE: Final = "prod"
METHOD_ARN: Final = "arn:aws:execute-api:us-east-1:123456789012:a1b2c3d4e5"


@dataclass(frozen=True)
class _Context:
    aws_request_id: str = "aws-request"
    function_name: str = "personalities"
    function_version: str = "$LATEST"
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:personalities"
    log_group_name: str = "/aws/lambda/personalities"
    log_stream_name: str = "2026/03/01/[$LATEST]1"
    memory_limit_in_mb: str = "512"

    def get_remaining_time_in_millis(self) -> int:
        return 29_000


def lambda_context() -> LambdaContext:
    """What Lambda hands over beside the event."""
    context: Any = _Context()
    return context  # type: ignore[no-any-return]


def rest_event(
    method: str,
    url: str,
    *,
    body: str | bytes | None = None,
    authorizer: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Builds the event of one request; a body of bytes comes in base64, as binary types do."""
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query, True).items()}
    context: dict[str, Any] = {
        "requestId": REQUEST_ID,
        "stage": STAGE,
        "path": f"/{STAGE}{parts.path}",
        "httpMethod": method,
        "resourcePath": parts.path,
    }
    if authorizer is not None:
        context["authorizer"] = {"principalId": "someone", **authorizer}
    return {
        "resource": parts.path,
        "path": parts.path,
        "httpMethod": method,
        "headers": dict(headers or {}) or None,
        "multiValueHeaders": {k: [v] for k, v in (headers or {}).items()} or None,
        "queryStringParameters": query or None,
        "multiValueQueryStringParameters": parse_qs(parts.query, True) or None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": context,
        "body": base64.b64encode(body).decode() if isinstance(body, bytes) else body,
        "isBase64Encoded": isinstance(body, bytes),
    }


def authorizer_event(
    headers: Mapping[str, str] | None, *, method: str = "GET", path: str = "/api/personalities"
) -> dict[str, Any]:
    """Builds the event of a REQUEST authorizer."""
    event = rest_event(method, path, headers=headers)
    return {
        **event,
        "type": "REQUEST",
        "methodArn": f"{METHOD_ARN}/{STAGE}/{method}{path}",
    }
