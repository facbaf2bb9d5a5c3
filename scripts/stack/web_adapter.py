"""Stands in for the Lambda Web Adapter: starts a function's own web server and passes requests on.

On AWS the adapter turns events into HTTP requests; here the request is one already, so it only adds
what the adapter adds. One server takes all requests, where Lambda would start one a request.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

import child
from lambda_runtime import function_arn, runtime_environment
from proxy_events import HOP_BY_HOP

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping
    from pathlib import Path

    from proxy_events import Request
    from template import Function

READY_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
_DYING_SECONDS: Final = 0.1
"""From a connection that broke until its server's end is known."""
_RESTART_SECONDS: Final = (0.0, 0.2, 1.0, 5.0)
"""Pauses before the next start, while one dies after the other."""
_SETTLED_SECONDS: Final = 30.0
"""A server that lived this long may crash and be restarted at once."""
_ADAPTERS_OWN: Final = frozenset({"x-amzn-request-context", "x-amzn-lambda-context"})
"""Headers that a client must not be able to send: the function believes them."""
_ADDED_BY_CLIENT_LIBRARY: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")

_log = logging.getLogger(__name__)


class UnavailableError(Exception):
    """The function's server is down, or died over the request."""


class WebFunction:
    """A function that is a web server.

    Args:
        function: What the template says of it; its handler is the start script.
        python: The interpreter that `python3` shall be.
        root: The folder that stands for the deployed code.
        environment: Variables beside the template's, such as where AWS is.
    """

    def __init__(
        self, function: Function, *, python: Path, root: Path, environment: Mapping[str, str]
    ) -> None:
        self._function = function
        self._command = (root / function.handler,)
        self._root = root
        self._port = 0
        lambdas_own = runtime_environment(function, root)
        self._environment = {
            **environment,
            **lambdas_own,
            **function.environment,
            "PATH": f"{python.parent}:{lambdas_own['PATH']}",
        }
        self._up = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        # No limit on connections: each request that is waiting for audio holds one.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=2.0),
            auto_decompress=False,
            skip_auto_headers=_ADDED_BY_CLIENT_LIBRARY,
        )

    @property
    def name(self) -> str:
        """The function's logical id."""
        return self._function.name

    @property
    def up(self) -> bool:
        """Whether the server takes requests."""
        return self._up.is_set()

    def start(self) -> None:
        """Starts the server, and starts it again whenever it dies."""
        self._keeper = asyncio.create_task(self._keep())

    async def wait_up(self, timeout: float = READY_SECONDS) -> bool:
        """Waits for the server; tells whether it came."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._up.wait(), timeout)
        return self.up

    async def send(self, request: Request, target: str, context: Mapping[str, Any]) -> Answering:
        """Passes a request on and waits for the answer's head.

        Args:
            request: The request.
            target: Its path and query, as it came.
            context: Its `requestContext`.

        Raises:
            UnavailableError: There is no server to answer, or it died before it did.
        """
        headers = CIMultiDict(
            (name, value)
            for name, value in request.headers
            if name.lower() not in HOP_BY_HOP and name.lower() not in _ADAPTERS_OWN
        )
        headers["x-amzn-request-context"] = json.dumps(context)
        headers["x-amzn-lambda-context"] = json.dumps(self._lambda_context(request.id))
        headers["X-Forwarded-For"] = request.source_ip
        headers["X-Forwarded-Proto"] = "http"
        return Answering(
            await self._ask(
                request.method,
                target,
                headers=headers,
                data=request.body or None,
                allow_redirects=False,
            )
        )

    async def aclose(self) -> None:
        """Ends the server."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        await self._session.close()

    async def _ask(self, method: str, target: str, **more: Any) -> aiohttp.ClientResponse:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            if not self.up and not await self.wait_up(deadline - time.monotonic()):
                raise UnavailableError(f"{self.name} does not start")
            url = URL(f"http://127.0.0.1:{self._port}{target}", encoded=True)
            try:
                return await self._session.request(method, url, **more)
            except aiohttp.ClientConnectorError as error:
                # It has died and nobody has noticed yet; it cannot have seen the request.
                if time.monotonic() > deadline:
                    raise UnavailableError(f"{self.name} cannot be reached") from error
                await asyncio.sleep(_POLL_SECONDS)
            except (aiohttp.ClientError, TimeoutError) as error:
                # Whoever tries again at once shall find the next server, not the dying one.
                await asyncio.sleep(_DYING_SECONDS)
                raise UnavailableError(f"{self.name} did not answer") from error

    def _lambda_context(self, request_id: str) -> dict[str, Any]:
        return {
            "request_id": request_id,
            "deadline": int((time.time() + self._function.timeout) * 1000),
            "invoked_function_arn": function_arn(self.name),
            "xray_trace_id": None,
            "client_context": None,
            "identity": None,
            "env_config": {
                "function_name": self.name,
                "memory": self._function.memory,
                "version": "$LATEST",
                "log_stream": "local",
                "log_group": f"/aws/lambda/{self.name}",
            },
        }

    async def _keep(self) -> None:
        deaths = 0
        while True:
            await asyncio.sleep(_RESTART_SECONDS[min(deaths, len(_RESTART_SECONDS) - 1)])
            started = time.monotonic()
            # Chosen anew: another program may have taken the last one.
            self._port = _free_port()
            environment = {**self._environment, "PORT": str(self._port)}
            process = await child.spawn(self._command, cwd=self._root, environment=environment)
            exit_code = asyncio.create_task(process.wait())
            try:
                await self._watch(exit_code)
            finally:
                self._up.clear()
                await self._bury(process, exit_code)
            deaths = 1 if time.monotonic() - started > _SETTLED_SECONDS else deaths + 1
            _log.error("%s: its server ended with status %s", self.name, process.returncode)

    async def _watch(self, exit_code: asyncio.Task[int]) -> None:
        path = self._function.environment.get("AWS_LWA_READINESS_CHECK_PATH", "/")
        while not exit_code.done() and not await self._answers(path):
            await asyncio.wait((exit_code,), timeout=_POLL_SECONDS)
        if not exit_code.done():
            self._up.set()
            await asyncio.wait((exit_code,))

    async def _answers(self, path: str) -> bool:
        try:
            async with self._session.get(f"http://127.0.0.1:{self._port}{path}") as response:
                return response.status < 500
        except (aiohttp.ClientError, TimeoutError):
            return False

    @staticmethod
    async def _bury(process: Process, exit_code: asyncio.Task[int]) -> None:
        child.kill(process)
        await exit_code


class Answering:
    """An answer whose body is still coming."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = CIMultiDict(
            (name, value)
            for name, value in response.headers.items()
            if name.lower() not in HOP_BY_HOP
        )

    async def read(self) -> bytes:
        """The next piece, as soon as there is one; empty at the end.

        Raises:
            UnavailableError: The server died over it.
        """
        try:
            return await self._response.content.readany()
        except aiohttp.ClientError as error:
            raise UnavailableError("the answer broke off") from error

    def close(self) -> None:
        """Gives the connection up; the server sees its client go if there was more to come."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
