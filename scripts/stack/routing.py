"""Finds the route of a request, as a REST API does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from template import Route

_PARAMETER: Final = re.compile(r"\{(\w+)(\+?)\}")


class Router:
    """The routes of an API, a path's fixed words before its parameters."""

    def __init__(self, routes: Iterable[Route]) -> None:
        # `{` sorts after every letter, so `/a/b` is asked before `/a/{c}`.
        self._routes = [
            (route, re.compile(_expression(route.path)))
            for route in sorted(routes, key=lambda route: route.path)
        ]

    def find(self, method: str, raw_path: str) -> tuple[Route, Mapping[str, str]] | None:
        """Returns the route and the decoded path parameters; None where there is no such route."""
        for route, expression in self._routes:
            if route.method in (method, "X-AMAZON-APIGATEWAY-ANY-METHOD"):
                match = expression.fullmatch(raw_path)
                if match:
                    return route, {name: unquote(part) for name, part in match.groupdict().items()}
        return None


def _expression(path: str) -> str:
    parts: list[str] = []
    end = 0
    for match in _PARAMETER.finditer(path):
        name, greedy = match.groups()
        parts += [
            re.escape(path[end : match.start()]),
            f"(?P<{name}>{'.+' if greedy else '[^/]+'})",
        ]
        end = match.end()
    return "".join([*parts, re.escape(path[end:])])
