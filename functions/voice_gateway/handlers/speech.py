"""The speech API: a streaming ASGI app, under Lambda Web Adapter and under uvicorn alike."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from voice_gateway import bootstrap
from voice_gateway.api_models import PurgedView, PurgeQuery, SpeechBody
from voice_gateway.domain import access
from voice_gateway.domain.audio import media_type
from voice_gateway.domain.limits import MAX_BODY_BYTES
from voice_gateway.handlers.incoming import parse_body, parse_query, tenant_with, too_large
from voice_gateway.http_errors import (
    PROBLEM_JSON,
    Problem,
    problem_for,
    problem_for_status,
)
from voice_gateway.observability import log_failure
from voice_gateway.sample_models import VoiceMatchesView
from voice_gateway.settings import BrowserSettings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Mapping

    from pydantic import BaseModel
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from voice_gateway.services.speech import SpeechService

_T = TypeVar("_T")

REQUEST_CONTEXT_HEADER: Final = "x-amzn-request-context"
"""API Gateway's request context as JSON: the adapter sets it, and drops what a client sends."""
LAMBDA_CONTEXT_HEADER: Final = "x-amzn-lambda-context"
REQUEST_ID_HEADER: Final = "x-request-id"
_CLIENT_CLOSED_REQUEST: Final = 499
_RESERVE_SECONDS: Final = 1.0
"""What is kept of the runtime's time for the receipt and the last bytes."""


def create_app(service: SpeechService | None = None) -> Starlette:
    """Makes the app.

    Args:
        service: What speaks; None wires the real one from the environment when the app starts.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        app.state.speech = service or bootstrap.speech_service()
        await app.state.speech.warm_up()
        yield
        await app.state.speech.aclose()

    return Starlette(
        routes=[
            Route("/healthz", _healthz, methods=["GET"]),
            Route("/api/speech", _speak, methods=["POST"]),
            Route("/api/speech/estimate", _estimate, methods=["POST"]),
            Route("/api/providers", _providers, methods=["GET"]),
            Route("/api/cache", _purge_cache, methods=["DELETE"]),
            Route(
                "/api/personalities/{personality_id}/voice/match", _match_voices, methods=["POST"]
            ),
            Route("/api/receipts/{request_id}", _receipt, methods=["GET"]),
        ],
        middleware=[
            Middleware(_ForBrowsers, headers=BrowserSettings().cors_headers()),
            Middleware(_ErrorDoor),
        ],
        exception_handlers={HTTPException: _no_route},
        lifespan=lifespan,
    )


class BrokenOffError(Exception):
    """Tells the server to close the connection: the listener must not take a part for the whole."""


class _ForBrowsers:
    """Lets pages of the allowed origin read every answer, problems too."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, with_headers)


class _ErrorDoor:
    """Answers every error as a problem, and lets none of their words through to the server's log.

    Starlette's own handler of last resort hands the error on to the server as well, whose traceback
    would quote the customer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except BrokenOffError:
            # Nobody listens any more; the number is for the access log alone.
            await Response(status_code=_CLIENT_CLOSED_REQUEST)(scope, receive, send)
        except Exception as error:
            request = Request(scope)
            problem = problem_for(error, _request_id(request))
            if problem.status >= 500 or begun:
                log_failure(error, problem.status, _request_id(request))
            if begun:
                raise BrokenOffError from None
            await _answer(problem, request)(scope, receive, send)


class _AudioResponse(StreamingResponse):
    """Ends the work at once when the listener hangs up, instead of when memory is next tidied."""

    def __init__(self, audio: AsyncGenerator[bytes], **more: Any) -> None:
        super().__init__(audio, **more)
        self._audio = audio

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._audio):
            await super().stream_response(send)


async def _healthz(_: Request) -> Response:
    return Response(status_code=204)


async def _speak(request: Request) -> Response:
    request_id = _request_id(request)
    tenant = tenant_with(access.Scope.SPEECH_WRITE, _context(request))
    body = parse_body(SpeechBody, await _read_body(request))
    command = body.command(tenant, request_id, seconds_left=_seconds_left(request))
    answer = await _while_connected(request, _service(request).speak(command))
    return _AudioResponse(
        answer.audio,
        media_type=media_type(command.audio_format, command.sample_rate, command.channels),
        headers={
            REQUEST_ID_HEADER: request_id,
            "x-speech-provider": answer.provider,
            "x-speech-voice": answer.voice,
            "x-ai-generated": "true",
            **({"x-speech-budget": answer.budget.value} if answer.budget else {}),
            "link": f'</api/receipts/{request_id}>; rel="describedby"',
            "cache-control": "no-store",
        },
    )


async def _estimate(request: Request) -> Response:
    tenant = tenant_with(access.Scope.SPEECH_READ, _context(request))
    body = parse_body(SpeechBody, await _read_body(request))
    command = body.command(tenant, _request_id(request), seconds_left=None)
    return _found(await _service(request).estimate(command), request)


async def _providers(request: Request) -> Response:
    tenant = tenant_with(access.Scope.SPEECH_READ, _context(request))
    return _found(await _service(request).overview(tenant), request)


async def _purge_cache(request: Request) -> Response:
    tenant = tenant_with(access.Scope.CACHE_PURGE, _context(request))
    query = parse_query(PurgeQuery, request.query_params)
    purged = await _service(request).purge(tenant, query.personality)
    return _found(PurgedView(purged=purged), request)


async def _match_voices(request: Request) -> Response:
    tenant = tenant_with(access.Scope.PERSONALITIES_WRITE, _context(request))
    found = await _service(request).match_voices(tenant, request.path_params["personality_id"])
    return _found(VoiceMatchesView.of(found), request)


async def _while_connected(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """Awaits the work, and ends it at once when the caller hangs up before it is done.

    Raises:
        BrokenOffError: The caller hung up.
    """
    working = asyncio.ensure_future(work)
    hanging_up = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({working, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise BrokenOffError
        return working.result()
    finally:
        hanging_up.cancel()
        working.cancel()
        await asyncio.wait({working, hanging_up})


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _receipt(request: Request) -> Response:
    tenant = tenant_with(access.Scope.SPEECH_READ, _context(request))
    receipt = await _service(request).receipt(tenant, request.path_params["request_id"])
    return _found(receipt, request)


def _found(model: BaseModel, request: Request) -> Response:
    return JSONResponse(
        model.model_dump(mode="json"), headers={REQUEST_ID_HEADER: _request_id(request)}
    )


def _service(request: Request) -> SpeechService:
    service: SpeechService = request.app.state.speech
    return service


def _context(request: Request) -> dict[str, Any]:
    context = json.loads(request.headers.get(REQUEST_CONTEXT_HEADER, "{}"))
    return context if isinstance(context, dict) else {}


def _request_id(request: Request) -> str:
    if not hasattr(request.state, "request_id"):
        request.state.request_id = _context(request).get("requestId") or str(uuid4())
    request_id: str = request.state.request_id
    return request_id


def _seconds_left(request: Request) -> float | None:
    """Reads how long Lambda will wait; None where nobody says."""
    deadline = json.loads(request.headers.get(LAMBDA_CONTEXT_HEADER, "{}")).get("deadline")
    if deadline is None:
        return None
    return max(0.0, float(deadline) / 1000 - time.time() - _RESERVE_SECONDS)


async def _read_body(request: Request) -> bytes:
    """Reads the body, as far as anybody can need it.

    Raises:
        TooLargeError: It goes on.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise too_large()
    return bytes(body)


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = "Not with this method." if status == 405 else "There is nothing at this address."
    headers = getattr(error, "headers", None) or {}
    return _answer(problem_for_status(status, detail, _request_id(request)), request, headers)


def _answer(problem: Problem, request: Request, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(
        problem.body(),
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers={**problem.headers(), **(headers or {}), REQUEST_ID_HEADER: _request_id(request)},
    )
