from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from lambda_runtime import Result
from proxy_events import Request
from request_authorizer import RefusedError, RequestAuthorizer
from template import Authorizer, Route

if TYPE_CHECKING:
    from lambda_runtime import LocalFunction

AUTHORIZER = Authorizer(name="Keys", function="Keys", ttl=300, identity_headers=("authorization",))


class FakeFunction:
    """Answers each event with the next answer, or the last one for ever."""

    def __init__(self, *answers: Any, failed: bool = False) -> None:
        self.answers = list(answers)
        self.failed = failed
        self.events: list[dict[str, Any]] = []

    async def invoke(self, payload: bytes) -> Result:
        self.events.append(json.loads(payload))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return Result(json.dumps(answer).encode(), self.failed)


class FakeTime:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def request(key: str | None = "k", method: str = "GET", path: str = "/api/x") -> Request:
    return Request(
        method=method,
        path=path,
        query=(),
        headers=(("Authorization", key),) if key is not None else (),
        body=b"secret",
        source_ip="127.0.0.1",
        route=Route(method=method, path=path, function="F", mock_headers={}),
        path_parameters={},
        stage="live",
    )


def policy(*statements: tuple[str, Any], **context: Any) -> dict[str, Any]:
    return {
        "principalId": "demo",
        "policyDocument": {
            "Statement": [
                {"Action": "execute-api:Invoke", "Effect": effect, "Resource": resource}
                for effect, resource in statements
            ]
        },
        "context": context,
    }


def authorizer(function: FakeFunction, now: FakeTime | None = None) -> RequestAuthorizer:
    return RequestAuthorizer(AUTHORIZER, cast("LocalFunction", function), now or FakeTime())


async def refusal(function: FakeFunction, asked: Request) -> tuple[str, int]:
    with pytest.raises(RefusedError) as caught:
        await authorizer(function).check(asked)
    return caught.value.response, caught.value.status


async def test_hands_on_the_context_as_text() -> None:
    function = FakeFunction(policy(("Allow", "*"), tenant="demo", limit=3, paid=True))
    context = dict(await authorizer(function).check(request()))
    assert isinstance(context.pop("integrationLatency"), int)
    assert context == {"tenant": "demo", "limit": "3", "paid": "true", "principalId": "demo"}


async def test_asks_about_the_method_without_the_body() -> None:
    function = FakeFunction(policy(("Allow", "*")))
    await authorizer(function).check(request(method="POST"))
    (event,) = function.events
    assert event["type"] == "REQUEST"
    assert event["methodArn"] == "arn:aws:execute-api:us-east-1:000000000000:local/live/POST/api/x"
    assert event["headers"]["Authorization"] == "k"
    assert "secret" not in json.dumps(event)


@pytest.mark.parametrize("key", [None, ""])
async def test_refuses_unasked_who_brings_no_key(key: str | None) -> None:
    function = FakeFunction(policy(("Allow", "*")))
    assert await refusal(function, request(key)) == ("UNAUTHORIZED", 401)
    assert function.events == []


@pytest.mark.parametrize(
    "statements",
    [
        (),
        (("Deny", "*"),),
        (("Allow", "*"), ("Deny", "*/GET/*")),
        (("Allow", "arn:aws:execute-api:*:*:local/live/POST/*"),),
        (("Allow", ["*/GET/api/y", "*/GET/api/xx"]),),
    ],
)
async def test_refuses_what_no_policy_allows(statements: Any) -> None:
    assert await refusal(FakeFunction(policy(*statements)), request()) == ("ACCESS_DENIED", 403)


@pytest.mark.parametrize(
    "resource", ["*", "arn:aws:execute-api:us-east-1:*/live/*/*", "*/GET/api/?", ["no", "*/api/x"]]
)
async def test_lets_pass_what_a_policy_allows(resource: Any) -> None:
    await authorizer(FakeFunction(policy(("Allow", resource)))).check(request())


@pytest.mark.parametrize(
    ("answer", "failed", "expected"),
    [
        ({"errorMessage": "Unauthorized"}, True, ("UNAUTHORIZED", 401)),
        ({"errorMessage": "unauthorized"}, True, ("AUTHORIZER_FAILURE", 500)),
        ({"errorType": "Sandbox.Timedout", "errorMessage": "x"}, True, ("AUTHORIZER_FAILURE", 500)),
        ({"principalId": "x"}, False, ("AUTHORIZER_CONFIGURATION_ERROR", 500)),
        (policy(("Maybe", "*")), False, ("AUTHORIZER_CONFIGURATION_ERROR", 500)),
        (policy(("Allow", "*"), scopes=["a"]), False, ("AUTHORIZER_CONFIGURATION_ERROR", 500)),
        (None, False, ("AUTHORIZER_CONFIGURATION_ERROR", 500)),
    ],
)
async def test_knows_failures(answer: Any, failed: bool, expected: tuple[str, int]) -> None:
    assert await refusal(FakeFunction(answer, failed=failed), request()) == expected


async def test_remembers_an_answer_for_its_time_and_key() -> None:
    now = FakeTime()
    function = FakeFunction(policy(("Allow", "*"), call="1"), policy(("Deny", "*")))
    door = authorizer(function, now)
    for _ in range(3):
        assert (await door.check(request()))["call"] == "1"
    assert len(function.events) == 1
    now.now += 300
    with pytest.raises(RefusedError):
        await door.check(request())
    with pytest.raises(RefusedError):
        await door.check(request("other"))
    assert len(function.events) == 3


async def test_does_not_remember_an_unknown_key() -> None:
    function = FakeFunction({"errorMessage": "Unauthorized"}, failed=True)
    door = authorizer(function)
    for _ in range(2):
        with pytest.raises(RefusedError):
            await door.check(request())
    assert len(function.events) == 2
