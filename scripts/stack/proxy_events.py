"""REST API events (payload format 1.0): from an HTTP request, and back from a function's answer."""

from __future__ import annotations

import base64
import binascii
import json
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from layout import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from template import Route

API_ID: Final = "local"
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that speak of one connection, not of the message."""

Pairs = tuple[tuple[str, str], ...]


class MalformedAnswerError(Exception):
    """The function's answer is not what a proxy integration may say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request that a route took."""

    method: str
    path: str
    """Decoded."""
    query: Pairs
    headers: Pairs
    body: bytes
    source_ip: str
    route: Route
    path_parameters: Mapping[str, str]
    stage: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    received: float = field(default_factory=time.time)

    def header(self, name: str) -> str | None:
        """The last header of a name (lower case), as REST APIs count it."""
        found = None
        for key, value in self.headers:
            if key.lower() == name:
                found = value
        return found

    @property
    def method_arn(self) -> str:
        """What an authorizer is asked about."""
        path = self.path.lstrip("/")
        return f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{API_ID}/{self.stage}/{self.method}/{path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A function's answer, ready for the wire."""

    status: int
    headers: Pairs
    body: bytes


def request_context(
    request: Request, authorizer: Mapping[str, str | int] | None = None
) -> dict[str, Any]:
    """The `requestContext` of a request.

    Args:
        request: The request.
        authorizer: What the authorizer let it pass with.
    """
    context: dict[str, Any] = {
        "accountId": ACCOUNT,
        "apiId": API_ID,
        "domainName": request.header("host") or "localhost",
        "domainPrefix": API_ID,
        "extendedRequestId": request.id,
        "httpMethod": request.method,
        "identity": {
            "accessKey": None,
            "accountId": None,
            "caller": None,
            "sourceIp": request.source_ip,
            "user": None,
            "userAgent": request.header("user-agent"),
            "userArn": None,
        },
        # As behind a domain name of the shop's own, where no stage stands in the address.
        "path": request.path,
        "protocol": "HTTP/1.1",
        "requestId": request.id,
        "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(request.received)),
        "requestTimeEpoch": int(request.received * 1000),
        "resourceId": "local",
        "resourcePath": request.route.path,
        "stage": request.stage,
    }
    if authorizer is not None:
        context["authorizer"] = dict(authorizer)
    return context


def proxy_event(
    request: Request, context: Mapping[str, Any], binary_media_types: frozenset[str]
) -> bytes:
    """The event of a Lambda proxy integration."""
    event = _event(request, context)
    if request.body:
        text = None
        if not is_binary(request.header("content-type"), binary_media_types):
            # What is no text goes as bytes: the function shall refuse it, not keep a mended one.
            with suppress(UnicodeDecodeError):
                text = request.body.decode()
        event["isBase64Encoded"] = text is None
        event["body"] = base64.b64encode(request.body).decode() if text is None else text
    return json.dumps(event).encode()


def authorizer_event(request: Request) -> bytes:
    """The event of a REQUEST authorizer: everything but the body."""
    event = _event(request, request_context(request))
    del event["body"], event["isBase64Encoded"]
    return json.dumps({"type": "REQUEST", "methodArn": request.method_arn, **event}).encode()


def answer(payload: bytes, accept: str | None, binary_media_types: frozenset[str]) -> Answer:
    """Reads a function's answer.

    Raises:
        MalformedAnswerError: It is not an object with a status, headers and a text body.
    """
    try:
        response = json.loads(payload)
        status = int(response["statusCode"])
        headers = tuple(_response_headers(response))
        body = str(response.get("body") or "")
        encoded = bool(response.get("isBase64Encoded"))
        # The gateway decodes for those who say that they take the binary type, and first of all.
        wanted = (accept or "").split(",")[0]
        content_type = next((v for k, v in headers if k.lower() == "content-type"), None)
        if encoded and (
            is_binary(wanted, binary_media_types) or is_binary(content_type, binary_media_types)
        ):
            return Answer(status, headers, base64.b64decode(body, validate=True))
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise MalformedAnswerError("malformed Lambda proxy response") from error
    return Answer(status, headers, body.encode())


def is_binary(content_type: str | None, binary_media_types: frozenset[str]) -> bool:
    """Whether the API treats a media type as bytes rather than as text."""
    media_type = (content_type or "").split(";")[0].strip().lower()
    return media_type in binary_media_types or "*/*" in binary_media_types


def _event(request: Request, context: Mapping[str, Any]) -> dict[str, Any]:
    headers = (
        *request.headers,
        ("X-Forwarded-For", request.source_ip),
        ("X-Forwarded-Proto", "http"),
    )
    return {
        "resource": request.route.path,
        "path": request.path,
        "httpMethod": request.method,
        "headers": dict(headers),
        "multiValueHeaders": _grouped(headers),
        "queryStringParameters": dict(request.query) or None,
        "multiValueQueryStringParameters": _grouped(request.query) or None,
        "pathParameters": dict(request.path_parameters) or None,
        "stageVariables": None,
        "requestContext": context,
        "body": None,
        "isBase64Encoded": False,
    }


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for key, value in pairs:
        grouped.setdefault(key, []).append(value)
    return grouped


def _response_headers(response: Mapping[str, Any]) -> list[tuple[str, str]]:
    # Both may be given; a name in the multi-value map wins over its single value.
    multi: Mapping[str, Sequence[Any]] = response.get("multiValueHeaders") or {}
    named = {name.lower() for name in multi}
    pairs = [(name, str(value)) for name, values in multi.items() for value in values]
    pairs += [
        (name, str(value))
        for name, value in (response.get("headers") or {}).items()
        if name.lower() not in named
    ]
    return [(name, value) for name, value in pairs if name.lower() not in HOP_BY_HOP]
