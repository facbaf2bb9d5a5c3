"""A Lambda REQUEST authorizer as API Gateway runs it: asked once a key, remembered, obeyed."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from proxy_events import authorizer_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lambda_runtime import LocalFunction
    from proxy_events import Request
    from template import Authorizer

_MAX_REMEMBERED: Final = 10_000


class RefusedError(Exception):
    """The request may not pass.

    Attributes:
        response: The gateway response that tells the caller, such as `UNAUTHORIZED`.
        status: Its status, unless the template says otherwise.
    """

    def __init__(self, response: str, status: int) -> None:
        super().__init__(response)
        self.response = response
        self.status = status


@dataclass(frozen=True, slots=True)
class _Policy:
    context: Mapping[str, str | int]
    allowed: tuple[str, ...]
    denied: tuple[str, ...]
    expires: float

    def allows(self, method_arn: str) -> bool:
        if any(_pattern(resource).fullmatch(method_arn) for resource in self.denied):
            return False
        return any(_pattern(resource).fullmatch(method_arn) for resource in self.allowed)


class RequestAuthorizer:
    """Decides who passes.

    Args:
        authorizer: What the template says of it.
        function: The function that is asked.
        now: Seconds that never go back.
    """

    def __init__(
        self,
        authorizer: Authorizer,
        function: LocalFunction,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authorizer = authorizer
        self._function = function
        self._now = now
        self._remembered: dict[tuple[str, ...], _Policy] = {}

    async def check(self, request: Request) -> Mapping[str, str | int]:
        """Lets a request pass.

        Returns:
            What the function is told of the caller: `requestContext.authorizer`.

        Raises:
            RefusedError: It may not pass, or nobody could say.
        """
        identity = tuple(request.header(name) or "" for name in self._authorizer.identity_headers)
        if not all(identity):
            raise RefusedError("UNAUTHORIZED", 401)
        policy = self._remembered.get(identity)
        if policy is None or policy.expires <= self._now():
            policy = await self._ask(request)
            if self._authorizer.ttl:
                self._remember(identity, policy)
        if not policy.allows(request.method_arn):
            raise RefusedError("ACCESS_DENIED", 403)
        return policy.context

    async def _ask(self, request: Request) -> _Policy:
        started = self._now()
        result = await self._function.invoke(authorizer_event(request))
        try:
            response = json.loads(result.payload)
            if result.failed:
                # This one word is the contract; any other failure is the authorizer's own.
                if response["errorMessage"] == "Unauthorized":
                    raise RefusedError("UNAUTHORIZED", 401)
                raise RefusedError("AUTHORIZER_FAILURE", 500)
            latency = round((self._now() - started) * 1000)
            return _policy(response, latency, self._now() + self._authorizer.ttl)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RefusedError("AUTHORIZER_CONFIGURATION_ERROR", 500) from error

    def _remember(self, identity: tuple[str, ...], policy: _Policy) -> None:
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[identity] = policy


def _policy(response: Mapping[str, Any], latency: int, expires: float) -> _Policy:
    context: dict[str, str | int] = {}
    for key, value in (response.get("context") or {}).items():
        if isinstance(value, bool):
            context[key] = str(value).lower()
        elif isinstance(value, str | int | float):
            context[key] = str(value)
        else:
            raise TypeError("an authorizer's context holds plain values only")
    allowed: list[str] = []
    denied: list[str] = []
    for statement in response["policyDocument"]["Statement"]:
        if not any(
            _pattern(action).fullmatch("execute-api:Invoke")
            for action in _listed(statement["Action"])
        ):
            continue
        effects = {"Allow": allowed, "Deny": denied}
        effects[statement["Effect"]].extend(_listed(statement["Resource"]))
    context["principalId"] = str(response["principalId"])
    context["integrationLatency"] = latency
    return _Policy(context, tuple(allowed), tuple(denied), expires)


def _listed(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    """IAM's wildcards: `*` is anything, `?` any one character."""
    return re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
