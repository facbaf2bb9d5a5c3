"""What is kept of the audio, and that it goes when it is told to, through the whole stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def _hits(client: httpx.Client, personality: str) -> int:
    body = {"text": "Kept for a day.", "personality": personality, "strict": True}
    answer = client.post("/api/speech", json=body)
    assert answer.status_code == 200, answer.text
    receipt = client.get(f"/api/receipts/{answer.headers['x-request-id']}").json()
    hits: int = receipt["cache_hits"]
    return hits


def test_what_one_personality_spoke_is_forgotten_and_the_others_stays(client: httpx.Client) -> None:
    for personality in ("marcel", "zac"):
        _hits(client, personality)
        assert _hits(client, personality) == 1
    purged = client.delete("/api/cache", params={"personality": "marcel"})
    assert purged.status_code == 200
    assert purged.json()["purged"] >= 1
    assert [_hits(client, "marcel"), _hits(client, "zac")] == [0, 1]
    assert client.delete("/api/cache", params={"personality": "Marcel!"}).status_code == 422
    assert client.delete("/api/cache").json()["purged"] >= 2
    assert _hits(client, "zac") == 0
