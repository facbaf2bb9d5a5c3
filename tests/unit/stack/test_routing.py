from __future__ import annotations

import pytest

from routing import Router
from template import Route

ROUTER = Router(
    Route(method=method, path=path, function="F", mock_headers={})
    for method, path in (
        ("GET", "/api/personalities/{personality_id}"),
        ("GET", "/api/personalities/special"),
        ("GET", "/api/personalities"),
        ("POST", "/api/personalities"),
        ("GET", "/files/{path+}"),
    )
)


@pytest.mark.parametrize(
    ("method", "path", "route", "parameters"),
    [
        ("GET", "/api/personalities", "/api/personalities", {}),
        ("POST", "/api/personalities", "/api/personalities", {}),
        ("GET", "/api/personalities/special", "/api/personalities/special", {}),
        (
            "GET",
            "/api/personalities/shant%C3%A9%2Fo",
            "/api/personalities/{personality_id}",
            {"personality_id": "shanté/o"},
        ),
        ("GET", "/files/a/b", "/files/{path+}", {"path": "a/b"}),
    ],
)
def test_finds_the_route(method: str, path: str, route: str, parameters: dict[str, str]) -> None:
    found = ROUTER.find(method, path)
    assert found is not None
    assert (found[0].path, found[1]) == (route, parameters)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/personalities"),
        ("GET", "/api/personalities/a/b"),
        ("GET", "/api/personalities/"),
        ("GET", "/"),
        ("GET", "/apixpersonalities"),
    ],
)
def test_finds_no_other(method: str, path: str) -> None:
    assert ROUTER.find(method, path) is None
