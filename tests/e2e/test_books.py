"""What was spoken is in the books, through the whole stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from .conftest import Stack

pytestmark = pytest.mark.integration


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with stack.client() as opened:
        yield opened


def _get(client: httpx.Client, path: str) -> dict[str, Any]:
    found = client.get(path)
    assert found.status_code == 200, found.text
    body: dict[str, Any] = found.json()
    return body


def test_answers_are_in_the_ledger_and_the_figures_at_once(client: httpx.Client) -> None:
    body = {"text": "One. Two.", "personality": "zac"}
    costs, figures = _get(client, "/api/costs"), _get(client, "/api/stats?window=1h")
    estimate = client.post("/api/speech/estimate", json=body).json()
    assert estimate["characters"] == 8
    # The same text again would come from the cache, and count nothing.
    for text in (body["text"], "Red. Tan."):
        assert client.post("/api/speech", json={**body, "text": text}).status_code == 200
    later = _get(client, "/api/costs")
    assert later["total"]["requests"] == costs["total"]["requests"] + 2
    assert later["personalities"]["zac"]["characters"] >= 16
    assert later["total"]["cost_usd"] == 0  # nothing here costs anything
    assert _get(client, "/api/stats?window=1h")["requests"] == figures["requests"] + 2
    assert _get(client, "/api/stats?window=30d")["first_audio_ms"]["p50"] > 0


def test_a_budget_that_is_spent_mutes_nobody(client: httpx.Client) -> None:
    told = client.put("/api/budget", json={"monthly_usd": 0})
    assert (told.status_code, told.json()["state"]) == (200, "hard")
    try:
        # The speech function may remember for a few seconds that there was none.
        answer = client.post("/api/speech", json={"text": "Hello.", "personality": "marcel"})
        assert answer.status_code == 200
    finally:
        assert client.put("/api/budget", json={"monthly_usd": None}).json()["state"] is None
