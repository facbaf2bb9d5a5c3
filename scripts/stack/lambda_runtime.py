"""Lambda on this machine: AWS's own runtime client in real processes, and the API that it polls.

Each process has a Runtime API of its own, as each execution environment on AWS has: the client
knows it by `host:port` alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

import child
from layout import ACCOUNT, REGION

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping
    from pathlib import Path

    from template import Function

MAX_PAYLOAD: Final = 6 * 1024 * 1024
"""Bytes, of a request and of an answer."""
INIT_SECONDS: Final = 30.0
"""Longer than Lambda's 10: a busy laptop imports slowly, and that is no bug of the function."""
_RUNTIME_API: Final = "/2018-06-01/runtime"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """What an invocation came to."""

    payload: bytes
    """The handler's answer, or a JSON object with `errorType` and `errorMessage`."""
    failed: bool = False


class LocalFunction:
    """One function: a pool of its processes, each answering one event at a time.

    Args:
        function: What the template says of it.
        python: The interpreter to run.
        root: The folder that stands for the deployed code.
        environment: Variables beside the template's, such as where AWS is.
        concurrency: How many events may be at work at once; further ones wait.
    """

    def __init__(
        self,
        function: Function,
        *,
        python: Path,
        root: Path,
        environment: Mapping[str, str],
        concurrency: int = 4,
    ) -> None:
        self._function = function
        self._command = (python, "-m", "awslambdaric", function.handler)
        self._root = root
        self._environment = {
            **environment,
            **runtime_environment(function, root),
            **function.environment,
        }
        self._slots = asyncio.Semaphore(concurrency)
        self._idle: list[_Worker] = []
        self._workers: set[_Worker] = set()

    @property
    def name(self) -> str:
        """The function's logical id."""
        return self._function.name

    async def warm(self) -> Result | None:
        """Starts a process before anybody waits for it; returns why it could not, if so."""
        async with self._slots:
            try:
                worker = await self._worker()
            except _InitError as error:
                return error.result
            self._idle.append(worker)
        return None

    async def invoke(self, payload: bytes) -> Result:
        """Hands an event to the function and waits for its answer."""
        if len(payload) > MAX_PAYLOAD:
            return _failure(
                "RequestEntityTooLarge", f"Request must be smaller than {MAX_PAYLOAD} bytes"
            )
        async with self._slots:
            try:
                worker = await self._worker()
            except _InitError as error:
                return error.result
            try:
                result = await worker.run(payload, self._function.timeout)
            except BaseException:
                await self._discard(worker)
                raise
            if worker.alive:
                self._idle.append(worker)
            else:
                await self._discard(worker)
        if len(result.payload) > MAX_PAYLOAD:
            return _failure(
                "Function.ResponseSizeTooLarge",
                f"Response payload size exceeded maximum allowed payload size ({MAX_PAYLOAD} "
                "bytes).",
            )
        return result

    async def aclose(self) -> None:
        """Ends every process."""
        await asyncio.gather(*(self._discard(worker) for worker in list(self._workers)))

    async def _worker(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            _log.warning("%s: an idle process had died", self.name)
            await self._discard(worker)
        worker = _Worker(self.name)
        self._workers.add(worker)
        try:
            await worker.start(self._command, self._root, self._environment)
        except BaseException:
            await self._discard(worker)
            raise
        return worker

    async def _discard(self, worker: _Worker) -> None:
        self._workers.discard(worker)
        await worker.aclose()


def runtime_environment(function: Function, root: Path) -> dict[str, str]:
    """The variables that Lambda itself sets."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        # Lambda puts the code's root on the path and nothing of ours.
        "PYTHONPATH": str(root),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "LAMBDA_TASK_ROOT": str(root),
        "_HANDLER": function.handler,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": function.log_level,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    }


class _InitError(Exception):
    """A process ended before it asked for its first event."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.payload.decode(errors="replace"))
        self.result = result


@dataclass(slots=True)
class _Invocation:
    request_id: str
    payload: bytes
    deadline_ms: int
    answer: asyncio.Future[Result]


class _Worker:
    """One process and its Runtime API."""

    def __init__(self, function_name: str) -> None:
        self._function_name = function_name
        self._events: asyncio.Queue[_Invocation] = asyncio.Queue()
        self._current: _Invocation | None = None
        self._ready = asyncio.Event()
        self._init_failure: Result | None = None
        self._runner: web.ServerRunner | None = None
        self._process: Process | None = None
        self._exit: asyncio.Task[int] | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and child.alive(self._process)

    async def start(
        self, command: tuple[str | Path, ...], root: Path, environment: Mapping[str, str]
    ) -> None:
        """Starts the process and waits until it asks for an event.

        Raises:
            _InitError: It ended, or did not ask in time.
        """
        # A process that is gone will never take the event that its poll still waits for.
        server = web.Server(self._serve, access_log=None, handler_cancellation=True)
        runner = self._runner = web.ServerRunner(server, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        process = self._process = await child.spawn(
            command,
            cwd=root,
            environment={**environment, "AWS_LAMBDA_RUNTIME_API": f"{host}:{port}"},
        )
        self._exit = asyncio.create_task(process.wait())
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait(
                (ready, self._exit), timeout=INIT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
        if self._ready.is_set():
            return
        if self._init_failure is None:
            code = process.returncode
            self._init_failure = (
                _failure("Sandbox.Timedout", f"Init took longer than {INIT_SECONDS:.0f} seconds")
                if code is None
                else _failure("Runtime.ExitError", f"Runtime exited during init: status {code}")
            )
        raise _InitError(self._init_failure)

    async def run(self, payload: bytes, timeout: float) -> Result:
        """Hands the process one event; it is dead afterwards if it overran or crashed."""
        assert self._exit is not None
        request_id = str(uuid.uuid4())
        invocation = _Invocation(
            request_id,
            payload,
            int((time.time() + timeout) * 1000),
            asyncio.get_running_loop().create_future(),
        )
        self._current = invocation
        self._events.put_nowait(invocation)
        try:
            await asyncio.wait(
                (invocation.answer, self._exit),
                timeout=timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            self._current = None
        if invocation.answer.done():
            return invocation.answer.result()
        if self._exit.done():
            return _failure(
                "Runtime.ExitError",
                f"RequestId: {request_id} Error: Runtime exited with error: "
                f"exit status {self._exit.result()}",
            )
        await self._end()
        return _failure(
            "Sandbox.Timedout",
            f"RequestId: {request_id} Error: Task timed out after {timeout:.2f} seconds",
        )

    async def aclose(self) -> None:
        await self._end()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _end(self) -> None:
        if self._process is not None and self._exit is not None:
            child.kill(self._process)
            await self._exit

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        action = request.path.removeprefix(_RUNTIME_API)
        if action == "/invocation/next":
            return await self._next()
        body = await _read(request)
        if action == "/init/error":
            self._init_failure = Result(body, failed=True)
        else:
            _, _, request_id, outcome = action.split("/")
            self._answer(request_id, Result(body, failed=outcome == "error"))
        return web.json_response({"status": "OK"}, status=202)

    async def _next(self) -> web.Response:
        self._ready.set()
        invocation = await self._events.get()
        return web.Response(
            body=invocation.payload,
            content_type="application/json",
            headers={
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": function_arn(self._function_name),
                "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000;Sampled=0",
            },
        )

    def _answer(self, request_id: str, result: Result) -> None:
        current = self._current
        if current and current.request_id == request_id and not current.answer.done():
            current.answer.set_result(result)


def function_arn(name: str) -> str:
    """A function's ARN on the local AWS."""
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def _failure(error_type: str, message: str) -> Result:
    return Result(
        json.dumps({"errorType": error_type, "errorMessage": message}).encode(), failed=True
    )


async def _read(request: web.BaseRequest) -> bytes:
    # Not `request.read()`, which refuses more than a megabyte.
    body = bytearray()
    with contextlib.suppress(ConnectionResetError):
        async for chunk in request.content.iter_any():
            body += chunk
    return bytes(body)
