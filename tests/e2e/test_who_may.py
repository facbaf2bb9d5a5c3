"""Who may do what, at the real gateway with the real authorizer in its own process."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

import layout
import template

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from .conftest import Stack

pytestmark = pytest.mark.integration

DEPLOYMENT: Final = template.deployment(template.translate(), layout.template_parameters(), {})
ADMINS: Final = ("/api/keys", "/api/usage", "/api/costs", "/api/stats", "/api/budget")
ROUTES: Final = [(r.method, r.path) for r in DEPLOYMENT.api.routes if r.function]
BODIES: Final = {
    ("PUT", "/api/personalities/{personality_id}"): {"name": "Marcel"},
    ("PUT", "/api/personalities/{personality_id}/voice"): {},
    ("PATCH", "/api/personalities/{personality_id}"): {},
    ("PUT", "/api/personalities/{personality_id}/voice/sample"): {"id": "0" * 32},
    ("POST", "/api/personalities/{personality_id}/voice/consent"): {
        "speaker": "Zac",
        "attested_by": "The owner",
    },
}
"""Good ones, of the routes that would refuse none at all before they look for anything."""

UPLOAD: Final = ("POST", "/api/personalities/{personality_id}/voice")


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with stack.client() as opened:
        yield opened


def token(stack: Stack, *options: str) -> str:
    made = stack.run("token", *options)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def ask(
    client: httpx.Client, route: tuple[str, str], credential: str, thing: str
) -> httpx.Response:
    method, path = route
    speech = {"text": "Hi.", "personality": thing}
    headers = {"Authorization": f"Bearer {credential}" if credential else ""}
    address = re.sub(r"\{\w+\}", thing, path)
    if route == UPLOAD:
        headers["Content-Type"] = "audio/wav"
        return client.request(method, address, content=b"RIFF", headers=headers)
    body = speech if path.startswith("/api/speech") else BODIES.get(route)
    return client.request(method, address, json=body, headers=headers)


def test_strangers_are_turned_away_at_every_door(stack: Stack, client: httpx.Client) -> None:
    good = token(stack, "--role", "admin")
    head, body, _ = good.split(".")
    strangers = {
        "no key": "",
        "malformed": "pv_demo_short",
        "unknown": "pv_demo_" + "x" * 43,
        "expired": token(stack, "--role", "admin", "--hours", "-1"),
        "spoilt": f"{head}.{body}.{'A' * 86}",
        "unsigned": f"eyJhbGciOiJub25lIiwia2lkIjoibG9jYWwifQ.{body}.",
    }
    for route in ROUTES:
        for stranger, credential in strangers.items():
            answer = ask(client, route, credential, "marcel")
            assert answer.status_code == 401, (route, stranger)
            assert answer.headers["content-type"] == "application/problem+json"


def test_another_tenants_admin_finds_nothing(stack: Stack, client: httpx.Client) -> None:
    other = token(stack, "--role", "admin", "--tenant", "other")
    for route in ROUTES:
        if "{" not in route[1] and not route[1].startswith("/api/speech"):
            continue
        there = ask(client, route, other, "marcel")
        nowhere = ask(client, route, other, "nobody")
        assert (there.status_code, nowhere.status_code) == (404, 404), route
        told = [
            answer.content.replace(answer.headers["x-request-id"].encode(), b"")
            for answer in (there, nowhere)
        ]
        assert told[0] == told[1]


def test_a_viewer_reads_and_no_more(stack: Stack, client: httpx.Client) -> None:
    viewer = token(stack, "--role", "viewer")
    for route in ROUTES:
        status = ask(client, route, viewer, "marcel").status_code
        if route == ("POST", "/api/speech/estimate"):
            assert status == 200, route  # a question, too long for a URL
        elif route[0] == "GET" and not route[1].startswith(ADMINS):
            assert status in (200, 404), route
        else:
            assert status == 403, route


def test_a_key_is_made_used_and_revoked(client: httpx.Client) -> None:
    body = {"name": "till", "scopes": ["personalities:read"]}
    made = client.post("/api/keys", json=body).json()
    unused = client.post("/api/keys", json=body).json()
    little = {"Authorization": f"Bearer {made['key']}"}
    assert client.get("/api/personalities", headers=little).status_code == 200
    assert client.get("/api/keys", headers=little).status_code == 403
    for key in (made, unused):
        assert client.delete(f"/api/keys/{key['id']}").status_code == 200
    # One that the gateway has just let in stays known to it for a minute; this one it never saw.
    never = {"Authorization": f"Bearer {unused['key']}"}
    assert client.get("/api/personalities", headers=never).status_code == 401


def test_what_was_spoken_is_counted_apart_from_trials(client: httpx.Client) -> None:
    def used() -> tuple[int, int]:
        usage = client.get("/api/usage").json()
        return usage["characters"]["usage"], usage["trial_characters"]["usage"]

    before = used()
    body = {"text": " Hi. You. ", "personality": "marcel"}
    assert client.post("/api/speech", json=body).status_code == 200
    assert client.post("/api/speech", json={**body, "purpose": "trial"}).status_code == 200
    assert used() == (before[0] + 7, before[1] + 7)


def test_make_prints_a_token(stack: Stack, client: httpx.Client) -> None:
    made = subprocess.run(
        ["make", "token", "ROLE=editor"],
        cwd=layout.ROOT,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    editor = {"Authorization": f"Bearer {made.stdout.strip()}"}
    assert client.get("/api/personalities", headers=editor).status_code == 200
    assert client.get("/api/keys", headers=editor).status_code == 403
