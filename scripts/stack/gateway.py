"""The local API Gateway: one process that owns the functions' processes and stands before them.

Routes, authorizer, limits and error answers come from template.yaml. What API Gateway buffers is
buffered here, what it streams is streamed, and a client that hangs up is a request that ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, PayloadEncodingError

import aws
import layout
import people
import template
from event_sources import drain, tick
from gateway_responses import gateway_response
from lambda_runtime import LocalFunction
from proxy_events import (
    MalformedAnswerError,
    Request,
    answer,
    proxy_event,
    request_context,
)
from request_authorizer import RefusedError, RequestAuthorizer
from routing import Router
from web_adapter import Answering, UnavailableError, WebFunction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from template import Deployment, Route

MAX_BODY: Final = 10 * 1024 * 1024
"""Bytes of a request that API Gateway takes."""
STATE_PATH: Final = "/_local/state"
"""Tells how the functions do; no path of the API."""

_READERS: Final = 2
"""Of each queue: as many of its messages are dealt with at once."""
_UNREADABLE: Final = (HttpProcessingError, PayloadEncodingError, web.RequestPayloadError)

Response = TypeVar("Response", bound=web.StreamResponse)

_log = logging.getLogger("gateway")


class Gateway:
    """The API, on this machine.

    Args:
        deployment: The template, resolved.
        python: The functions' interpreter.
        root: The folder that stands for the deployed code.
        environment: What every function is told beside the template's variables.
    """

    def __init__(
        self,
        deployment: Deployment,
        *,
        python: Path,
        root: Path,
        environment: Mapping[str, str],
    ) -> None:
        self._api = deployment.api
        self._router = Router(deployment.api.routes)
        self._lambdas: dict[str, LocalFunction] = {}
        self._web: dict[str, WebFunction] = {}
        self._warmed: set[str] = set()
        self._failures: set[str] = set()
        self._deployment = deployment
        self._sources: list[asyncio.Task[None]] = []
        for function in deployment.functions.values():
            made: dict[str, Any] = {"python": python, "root": root, "environment": environment}
            if function.web_adapter:
                self._web[function.name] = WebFunction(function, **made)
            else:
                self._lambdas[function.name] = LocalFunction(function, **made)
        self._authorizers = {
            name: RequestAuthorizer(authorizer, self._lambdas[authorizer.function])
            for name, authorizer in deployment.api.authorizers.items()
        }

    async def start(self) -> None:
        """Starts a process of every function."""
        for web_function in self._web.values():
            web_function.start()
        await asyncio.gather(
            *(self._warm(function) for function in self._lambdas.values()),
            *(web_function.wait_up() for web_function in self._web.values()),
        )

    def listen(self, sqs: Any) -> None:
        """Begins to call the functions for their queues and schedules.

        Args:
            sqs: A client of the local AWS.
        """
        self._sources += [
            asyncio.create_task(drain(source, self._lambdas[source.function], sqs))
            for source in self._deployment.queues
            for _ in range(_READERS)
        ]
        self._sources += [
            asyncio.create_task(tick(schedule, self._lambdas[schedule.function]))
            for schedule in self._deployment.schedules
        ]

    async def aclose(self) -> None:
        """Ends the functions' processes."""
        for source in self._sources:
            source.cancel()
        await asyncio.gather(*self._sources, return_exceptions=True)
        await asyncio.gather(
            *(function.aclose() for function in self._lambdas.values()),
            *(web_function.aclose() for web_function in self._web.values()),
        )

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answers one HTTP request."""
        if http.path == STATE_PATH:
            return self._state()
        if http.path == layout.JWKS_PATH:
            return web.json_response(people.key_set())
        started = time.perf_counter()
        request = await self._read(http)
        if isinstance(request, web.Response):
            return request
        response: web.StreamResponse | None = None
        try:
            response = await self._route(http, request)
            return response
        finally:
            _log.info(
                "%s %s %s %s %.1f ms",
                request.id,
                request.method,
                request.route.path,
                response.status if response else "gone",
                (time.perf_counter() - started) * 1000,
            )

    def refusal(self, kind: str, status: int, request_id: str) -> web.Response:
        """What the gateway itself answers; see `gateway_response`."""
        response = gateway_response(self._api.gateway_responses, kind, status, request_id)
        response.headers["x-amzn-ErrorType"] = kind
        return _identified(response, request_id)

    async def _warm(self, function: LocalFunction) -> None:
        failure = await function.warm()
        if failure is None:
            self._warmed.add(function.name)
        else:
            self._failures.add(function.name)
            _log.error("%s does not start: %s", function.name, failure.payload.decode())

    def _state(self) -> web.Response:
        state = {
            name: "failed"
            if name in self._failures
            else "up"
            if name in self._warmed
            else "starting"
            for name in self._lambdas
        }
        state |= {name: "up" if each.up else "starting" for name, each in self._web.items()}
        return web.json_response(state)

    async def _read(self, http: web.BaseRequest) -> Request | web.Response:
        raw_path, _, _ = http.raw_path.partition("?")
        found = self._router.find(http.method, raw_path)
        route, path_parameters = found or (_nowhere(raw_path), {})
        request = Request(
            method=http.method,
            path=http.path,
            query=tuple(http.query.items()),
            headers=tuple(http.headers.items()),
            body=await _body(http),
            source_ip=http.remote or "127.0.0.1",
            route=route,
            path_parameters=path_parameters,
            stage=self._api.stage,
        )
        if found is None:
            return self.refusal("MISSING_AUTHENTICATION_TOKEN", 403, request.id)
        if len(request.body) > MAX_BODY:
            return self.refusal("REQUEST_TOO_LARGE", 413, request.id)
        return request

    async def _route(self, http: web.BaseRequest, request: Request) -> web.StreamResponse:
        route = request.route
        if route.function is None:
            return _identified(
                web.Response(status=route.mock_status, headers=route.mock_headers), request.id
            )
        try:
            caller = (
                await self._authorizers[route.authorizer].check(request)
                if route.authorizer
                else None
            )
        except RefusedError as refused:
            return self.refusal(refused.response, refused.status, request.id)
        context = request_context(request, caller)
        try:
            if route.function in self._web:
                async with asyncio.timeout(route.timeout):
                    answering = await self._web[route.function].send(
                        request, http.raw_path, context
                    )
                return await self._stream(http, request, answering)
            async with asyncio.timeout(route.timeout):
                return await self._invoke(self._lambdas[route.function], request, context)
        except TimeoutError:
            return self.refusal("INTEGRATION_TIMEOUT", 504, request.id)
        except UnavailableError as error:
            _log.error("%s %s", request.id, error)
            return self.refusal("INTEGRATION_FAILURE", 502, request.id)

    async def _invoke(
        self, function: LocalFunction, request: Request, context: Mapping[str, Any]
    ) -> web.Response:
        binary = self._api.binary_media_types
        result = await function.invoke(proxy_event(request, context, binary))
        if result.failed:
            _log.error("%s %s: %s", request.id, function.name, result.payload.decode()[:2000])
            if b'"RequestEntityTooLarge"' in result.payload:
                return self.refusal("REQUEST_TOO_LARGE", 413, request.id)
            return self.refusal("INTEGRATION_FAILURE", 502, request.id)
        try:
            reply = answer(result.payload, request.header("accept"), binary)
        except MalformedAnswerError as error:
            _log.error("%s %s: %s", request.id, function.name, error)
            return self.refusal("INTEGRATION_FAILURE", 502, request.id)
        response = web.Response(status=reply.status, body=reply.body)
        for name, value in reply.headers:
            response.headers.add(name, value)
        return _identified(response, request.id)

    async def _stream(
        self, http: web.BaseRequest, request: Request, answering: Answering
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answering.status, headers=answering.headers)
        _identified(response, request.id)
        try:
            await response.prepare(http)
            while chunk := await answering.read():
                await response.write(chunk)
            await response.write_eof()
        except (UnavailableError, ConnectionError) as error:
            # The head is out, so only a connection that breaks can still tell of the failure.
            _log.error("%s %s", request.id, error)
            if http.transport is not None:
                http.transport.abort()
        finally:
            # Also on the way of a cancellation: the client is gone, and the function learns it.
            answering.close()
        return response


class _Server(web.Server):
    """Answers with problems even to what is no request.

    Out of reach are only a request that never becomes whole, which is waited for, and a failure
    after the answer's head went out: there the connection breaks.
    """

    def __init__(self, gateway: Gateway, **options: Any) -> None:
        super().__init__(gateway.handle, **options)
        self._gateway = gateway

    def __call__(self) -> web.RequestHandler:
        """Makes what serves one connection."""
        # A body passes as it came: what is wrong with its encoding is for the function to say.
        return _Connection(
            self, self._gateway, loop=self._loop, access_log=None, auto_decompress=False
        )


class _Connection(web.RequestHandler):
    """One connection, whose errors are the gateway's."""

    __slots__ = ("_gateway",)

    def __init__(self, server: web.Server, gateway: Gateway, **options: Any) -> None:
        super().__init__(server, **options)
        self._gateway = gateway

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what could not be read, and what broke."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        request_id = str(uuid.uuid4())
        if isinstance(exc, _UNREADABLE) or 400 <= status < 500:
            # Its message quotes the request.
            _log.info("%s cannot be read: %s", request_id, type(exc).__name__)
            response = self._gateway.refusal("BAD_REQUEST_PARAMETERS", 400, request_id)
        else:
            _log.error("%s broke", request_id, exc_info=exc)
            response = self._gateway.refusal("API_CONFIGURATION_ERROR", 500, request_id)
        response.force_close()
        return response


async def serve(gateway: Gateway, port: int) -> web.ServerRunner:
    """Listens on 127.0.0.1.

    Raises:
        OSError: The port is taken.
    """
    # Cancellation is how a client's hanging up reaches the function.
    server = _Server(gateway, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=2.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


def load(resources: Path = layout.RESOURCES) -> Deployment:
    """Reads the template and the names that the local AWS gave its resources."""
    physical = json.loads(resources.read_text(encoding="utf-8"))
    return template.deployment(template.translate(), layout.template_parameters(), physical)


async def _main() -> None:
    gateway = Gateway(
        load(),
        python=Path(sys.executable),
        root=layout.FUNCTIONS,
        environment=layout.aws_environment(),
    )
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    runner = await serve(gateway, layout.GATEWAY_PORT.number)
    starting = asyncio.create_task(gateway.start())
    gateway.listen(aws.client("sqs", layout.aws_environment()["AWS_ENDPOINT_URL"]))
    await stop.wait()
    starting.cancel()
    await runner.cleanup()
    await gateway.aclose()


async def _body(http: web.BaseRequest) -> bytes:
    """Reads the body, but never much more than the limit."""
    body = bytearray()
    async for chunk in http.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            break
    return bytes(body)


def _identified(response: Response, request_id: str) -> Response:
    response.headers["x-amzn-RequestId"] = request_id
    return response


def _nowhere(path: str) -> Route:
    return template.Route(method="ANY", path=path, function=None, mock_headers={})


if __name__ == "__main__":
    os.environ.setdefault("AWS_DEFAULT_REGION", layout.REGION)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(_main())
