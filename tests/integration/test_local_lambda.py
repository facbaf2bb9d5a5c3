"""The local Lambda and the local API Gateway, with AWS's own runtime client in real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import layout
import template
from gateway import Gateway, serve
from lambda_runtime import LocalFunction
from processes import start_time
from template import Api, Authorizer, Deployment, Function, Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.integration

STANDINS = Path(__file__).parent / "standins"
PAUSE = 0.15
BEARER = {"Authorization": "Bearer good"}


def function(name: str, handler: str, timeout: float = 20.0, **environment: str) -> Function:
    return Function(
        name=name,
        handler=handler,
        runtime="python3.12",
        environment={"TABLE_NAME": "table", **environment},
        timeout=timeout,
        memory=512,
        log_level="INFO",
    )


@asynccontextmanager
async def local(
    handler: str = "crud.lambda_handler", **options: Any
) -> AsyncIterator[LocalFunction]:
    concurrency = options.pop("concurrency", 4)
    made = LocalFunction(
        function("Crud", handler, **options),
        python=Path(sys.executable),
        root=STANDINS,
        environment={},
        concurrency=concurrency,
    )
    try:
        yield made
    finally:
        await made.aclose()


async def ask(each: LocalFunction, action: str, **more: str) -> Any:
    result = await each.invoke(json.dumps({"action": action, **more}).encode())
    return result, json.loads(result.payload)


class TestLambda:
    async def test_answers_and_reuses_the_process(self) -> None:
        async with local() as each:
            result, first = await ask(each, "who")
            _, second = await ask(each, "who")
        assert not result.failed
        assert first["pid"] == second["pid"]
        assert 15_000 < first["left"] <= 20_000
        assert first["arn"] == "arn:aws:lambda:us-east-1:000000000000:function:Crud"
        assert (first["memory"], first["table"], first["home"]) == ("512", "table", None)
        assert first["cwd"] == str(STANDINS)

    async def test_an_exception_is_an_error_and_costs_no_process(self) -> None:
        async with local() as each:
            _, before = await ask(each, "who")
            result, error = await ask(each, "fail")
            _, after = await ask(each, "who")
        assert result.failed
        assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no such luck")
        assert error["stackTrace"]
        assert before["pid"] == after["pid"]

    async def test_an_overrun_is_killed_with_all_that_it_started(self, tmp_path: Path) -> None:
        pid_file = tmp_path / "pids"
        async with local(timeout=1.0) as each:
            started = time.monotonic()
            result, error = await ask(each, "hang", pid_file=str(pid_file))
            assert time.monotonic() - started < 5
            assert result.failed
            assert error["errorType"] == "Sandbox.Timedout"
            assert "Task timed out after 1.00 seconds" in error["errorMessage"]
            pids = [int(word) for word in pid_file.read_text(encoding="utf-8").split()]
            assert len(pids) == 2
            assert [await _dies(pid) for pid in pids] == [True, True]
            result, _ = await ask(each, "who")
            assert not result.failed

    async def test_a_crash_is_an_error_and_the_next_event_finds_a_new_process(self) -> None:
        async with local() as each:
            result, error = await ask(each, "crash")
            assert result.failed
            assert error["errorType"] == "Runtime.ExitError"
            assert "exit status 3" in error["errorMessage"]
            result, _ = await ask(each, "who")
            assert not result.failed

    async def test_a_process_killed_while_idle_is_replaced(self) -> None:
        async with local() as each:
            _, first = await ask(each, "who")
            os.kill(first["pid"], signal.SIGKILL)
            assert await _dies(first["pid"])
            result, second = await ask(each, "who")
        assert not result.failed
        assert first["pid"] != second["pid"]

    @pytest.mark.parametrize(
        ("handler", "error_type"),
        [
            ("nowhere.lambda_handler", "Runtime.ImportModuleError"),
            ("crud.nothing", "Runtime.HandlerNotFound"),
        ],
    )
    async def test_a_handler_that_is_not_there_says_so(self, handler: str, error_type: str) -> None:
        async with local(handler) as each:
            failure = await each.warm()
            result, error = await ask(each, "who")
        assert failure is not None
        assert result.failed
        assert error["errorType"] == error_type

    async def test_works_on_as_many_events_as_it_may(self) -> None:
        async with local(concurrency=2) as each:
            await asyncio.gather(ask(each, "nap"), ask(each, "nap"))
            started = time.monotonic()
            found = await asyncio.gather(*(ask(each, "nap") for _ in range(4)))
            elapsed = time.monotonic() - started
        assert len({answer["pid"] for _, answer in found}) == 2
        assert elapsed >= 0.6

    async def test_six_megabytes_are_the_end(self) -> None:
        async with local() as each:
            result, error = await ask(each, "big")
            assert result.failed
            assert error["errorType"] == "Function.ResponseSizeTooLarge"
            result, error = await ask(each, "who", filler="x" * (6 * 1024 * 1024))
            assert result.failed
            assert error["errorType"] == "RequestEntityTooLarge"

    async def test_closing_leaves_no_process(self) -> None:
        async with local() as each:
            _, answer = await ask(each, "who")
        assert await _dies(answer["pid"])


def deployment(mark: Path) -> Deployment:
    project = template.deployment(template.translate(), layout.template_parameters(), {})

    def route(method: str, path: str, name: str | None, **more: Any) -> Route:
        return Route(method=method, path=path, function=name, mock_headers={}, **more)

    secured: dict[str, Any] = {"authorizer": "Keys"}
    return Deployment(
        functions={
            "Crud": function("Crud", "crud.lambda_handler"),
            "Keys": function("Keys", "keys.lambda_handler"),
            "Web": function(
                "Web",
                "run.sh",
                AWS_LAMBDA_EXEC_WRAPPER="/opt/bootstrap",
                AWS_LWA_READINESS_CHECK_PATH="/healthz",
                MARK=str(mark),
            ),
        },
        api=Api(
            stage="live",
            routes=(
                route("POST", "/web/{action}", "Web", streaming=True, **secured),
                route("GET", "/web/{action}", "Web", streaming=True, **secured),
                route("POST", "/crud/{action}", "Crud", **secured),
                route("GET", "/crud/{action}", "Crud", **secured),
                route("GET", "/open/{action}", "Crud"),
                route("GET", "/hurried/{action}", "Crud", timeout=0.1),
                Route(
                    method="OPTIONS",
                    path="/crud/{action}",
                    function=None,
                    mock_headers={"Access-Control-Allow-Origin": "*"},
                ),
            ),
            authorizers={
                "Keys": Authorizer(
                    name="Keys", function="Keys", ttl=300, identity_headers=("authorization",)
                )
            },
            gateway_responses=project.api.gateway_responses,
            binary_media_types=frozenset({"audio/wav"}),
        ),
    )


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


@pytest.fixture
async def api(mark: Path) -> AsyncIterator[httpx.AsyncClient]:
    gateway = Gateway(deployment(mark), python=Path(sys.executable), root=STANDINS, environment={})
    runner = await serve(gateway, 0)
    port = runner.addresses[0][1]
    await gateway.start()
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=30.0, headers=BEARER
        ) as client:
            yield client
    finally:
        await runner.cleanup()
        await gateway.aclose()


def problem(response: httpx.Response) -> tuple[int, str]:
    body = response.json()
    assert body["status"] == response.status_code
    assert response.headers["content-type"] == "application/problem+json"
    assert body["request_id"] == response.headers["x-amzn-requestid"]
    return response.status_code, body["title"]


async def exchange(api: httpx.AsyncClient, sent: str) -> httpx.Response:
    """Sends what no client would, and reads the answer until the gateway hangs up."""
    reader, writer = await asyncio.open_connection(api.base_url.host, api.base_url.port)
    writer.write(sent.encode("latin-1"))
    received = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)


class TestDoor:
    async def test_lets_nobody_in_without_a_good_key(self, api: httpx.AsyncClient) -> None:
        del api.headers["Authorization"]
        nameless = await api.get("/crud/echo")
        assert problem(nameless) == (401, "Not signed in")
        assert nameless.headers["www-authenticate"] == "Bearer"
        wrong = await api.get("/crud/echo", headers={"Authorization": "Bearer unknown"})
        assert problem(wrong) == (401, "Not signed in")
        broken = await api.get("/crud/echo", headers={"Authorization": "Bearer broken"})
        assert problem(broken) == (500, "Something broke on our side")

    async def test_obeys_the_policy(self, api: httpx.AsyncClient) -> None:
        denied = await api.get("/crud/echo", headers={"Authorization": "Bearer denied"})
        assert problem(denied) == (403, "Not allowed")
        reader = {"Authorization": "Bearer reader"}
        assert (await api.get("/crud/echo", headers=reader)).status_code == 201
        assert problem(await api.post("/crud/echo", headers=reader)) == (403, "Not allowed")

    async def test_asks_once_a_key(self, api: httpx.AsyncClient) -> None:
        calls = []
        for path in ("/crud/echo", "/crud/echo?again", "/web/echo"):
            seen = (await api.get(path)).json()
            context = (
                json.loads(seen["headers"]["x-amzn-request-context"])
                if "web" in path
                else seen["requestContext"]
            )
            calls.append(context["authorizer"]["calls"])
        assert calls == ["1", "1", "1"]

    async def test_answers_what_is_not_there(self, api: httpx.AsyncClient) -> None:
        for response in (await api.get("/nowhere"), await api.delete("/crud/echo")):
            assert problem(response) == (404, "Not found")

    async def test_takes_ten_megabytes_and_no_more(self, api: httpx.AsyncClient) -> None:
        large = b"x" * (10 * 1024 * 1024 + 1)
        assert problem(await api.post("/web/echo", content=large)) == (413, "Too large")
        # A buffered function takes six, as the event that it gets.
        seven = b"x" * (7 * 1024 * 1024)
        assert problem(await api.post("/crud/echo", content=seven)) == (413, "Too large")

    @pytest.mark.parametrize(
        "head",
        [
            "GET /crud/" + "x" * 9000 + " HTTP/1.1",
            "GET /crud/echo HTTP/1.1\r\nX-Long: " + "x" * 20_000,
            "BREW /crud/echo HTTP/1.1",
            "POST /crud/echo HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
            "POST /crud/echo HTTP/1.1\r\nContent-Length: many",
            "GET /crud/echo HTTP/1.1\r\nno colon",
            "\x16\x03\x01",
        ],
    )
    async def test_answers_what_is_no_request(self, api: httpx.AsyncClient, head: str) -> None:
        response = await exchange(api, f"{head}\r\nHost: a\r\n\r\n")
        assert problem(response) == (400, "The request failed")
        assert response.headers["access-control-allow-origin"] == "*"
        assert (await api.get("/crud/echo")).status_code == 201

    async def test_answers_a_body_that_is_no_chunks(self, api: httpx.AsyncClient) -> None:
        head = "POST /crud/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked"
        response = await exchange(api, f"{head}\r\n\r\nzz\r\n")
        assert problem(response) == (400, "The request failed")

    async def test_answers_its_own_failure(
        self, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(*_: Any) -> None:
            raise ValueError("out of luck")

        monkeypatch.setattr(Gateway, "_route", fail)
        response = await api.get("/crud/echo")
        assert problem(response) == (500, "Something broke on our side")
        assert "luck" not in response.text

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "nonsense"])
    async def test_passes_a_body_on_as_it_came(self, api: httpx.AsyncClient, encoding: str) -> None:
        headers = {"Content-Encoding": encoding}
        buffered = await api.post("/crud/echo", content=b"plain", headers=headers)
        streamed = await api.post("/web/echo", content=b"plain", headers=headers)
        assert buffered.json()["body"] == streamed.json()["body"] == "plain"

    async def test_answers_a_preflight_by_itself(self, api: httpx.AsyncClient) -> None:
        del api.headers["Authorization"]
        response = await api.options("/crud/echo")
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == "*"


class TestBuffered:
    async def test_sends_the_event_of_a_rest_api(self, api: httpx.AsyncClient) -> None:
        response = await api.post("/crud/echo?a=1&a=2&b=%C3%A9", json={"name": "Shanté"})
        event = response.json()
        assert response.status_code == 201
        assert response.headers["x-one"] == "1"
        assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert event["resource"] == "/crud/{action}"
        assert (event["path"], event["httpMethod"]) == ("/crud/echo", "POST")
        assert event["pathParameters"] == {"action": "echo"}
        assert event["queryStringParameters"] == {"a": "2", "b": "é"}
        assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"], "b": ["é"]}
        assert json.loads(event["body"]) == {"name": "Shanté"}
        assert event["isBase64Encoded"] is False
        context = event["requestContext"]
        assert context["requestId"] == response.headers["x-amzn-requestid"]
        assert (context["stage"], context["path"]) == ("live", "/crud/echo")
        assert context["authorizer"]["tenant"] == "demo"
        assert context["authorizer"]["principalId"] == "demo"

    async def test_carries_bytes_as_base64(self, api: httpx.AsyncClient) -> None:
        sent = await api.post(
            "/crud/echo", content=b"\x00\xff", headers={"Content-Type": "audio/wav"}
        )
        assert (sent.json()["body"], sent.json()["isBase64Encoded"]) == ("AP8=", True)
        assert (await api.get("/crud/audio")).content == b"RIFF\xff\x00"

    async def test_mends_no_text_that_is_none(self, api: httpx.AsyncClient) -> None:
        event = (await api.post("/crud/echo", content="Zoë".encode("latin-1"))).json()
        assert (event["body"], event["isBase64Encoded"]) == ("Wm/r", True)

    @pytest.mark.parametrize("action", ["fail", "crash", "nonsense", "big"])
    async def test_a_failure_tells_nothing(self, api: httpx.AsyncClient, action: str) -> None:
        response = await api.get(f"/open/{action}")
        assert problem(response) == (502, "Something broke on our side")
        assert "luck" not in response.text

    async def test_does_not_wait_for_ever(self, api: httpx.AsyncClient) -> None:
        assert problem(await api.get("/hurried/nap")) == (504, "Something broke on our side")


class TestStreaming:
    async def test_passes_chunks_on_as_they_come(self, api: httpx.AsyncClient) -> None:
        arrivals = []
        async with api.stream("POST", "/web/speech", json={}) as response:
            assert response.headers["x-served"] == "standin"
            async for chunk in response.aiter_raw():
                arrivals.append((time.monotonic(), chunk))
        assert b"".join(chunk for _, chunk in arrivals) == b"".join(
            bytes([number]) * 100 for number in range(5)
        )
        # Five pieces with four pauses: whatever was held back would come together with the next.
        assert len(arrivals) >= 4
        assert arrivals[-1][0] - arrivals[0][0] > 3 * PAUSE

    async def test_tells_the_function_who_calls(self, api: httpx.AsyncClient) -> None:
        response = await api.post(
            "/web/echo?a=%20b",
            content="hello",
            headers={
                "x-amzn-request-context": '{"authorizer": {"tenant": "another"}}',
                "X-AMZN-Lambda-Context": "{}",
                "X-Own": "kept",
            },
        )
        seen = response.json()
        context = json.loads(seen["headers"]["x-amzn-request-context"])
        assert context["authorizer"]["tenant"] == "demo"
        assert context["requestId"] == response.headers["x-amzn-requestid"]
        deadline = json.loads(seen["headers"]["x-amzn-lambda-context"])["deadline"] / 1000
        assert 15 < deadline - time.time() <= 20
        assert seen["headers"]["x-own"] == "kept"
        assert (seen["body"], seen["path"], seen["query"]) == ("hello", "/web/echo", "a=%20b")

    async def test_a_client_that_hangs_up_ends_the_work(
        self, api: httpx.AsyncClient, mark: Path
    ) -> None:
        async with api.stream("POST", "/web/endless", json={}) as response:
            await anext(response.aiter_raw())
        started = time.monotonic()
        while not mark.exists():
            assert time.monotonic() - started < 3
            await asyncio.sleep(0.01)

    async def test_a_break_in_the_middle_is_no_end(self, api: httpx.AsyncClient) -> None:
        received = b""
        with pytest.raises(httpx.RemoteProtocolError):
            async with api.stream("POST", "/web/break", json={}) as response:
                async for chunk in response.aiter_raw():
                    received += chunk
        assert len(received) == 200

    async def test_a_dead_server_is_told_of_and_started_again(self, api: httpx.AsyncClient) -> None:
        assert problem(await api.post("/web/die")) == (502, "Something broke on our side")
        assert (await api.post("/web/echo", content="again")).json()["body"] == "again"

    async def test_serves_many_at_once(self, api: httpx.AsyncClient) -> None:
        started = time.monotonic()
        responses = await asyncio.gather(*(api.post("/web/speech") for _ in range(20)))
        assert all(len(response.content) == 500 for response in responses)
        assert time.monotonic() - started < 20 * 5 * PAUSE / 2


async def _dies(pid: int) -> bool:
    for _ in range(200):
        if start_time(pid) is None:
            return True
        await asyncio.sleep(0.01)
    return False
