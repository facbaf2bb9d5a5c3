"""A voice of one's own: uploaded, agreed to, refused, taken back, as a shop's program does it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fakes.sample_house import good_recording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Stack

pytestmark = pytest.mark.integration

VOICE = "/api/personalities/zac/voice"
PATIENCE_SECONDS = 30.0


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with stack.client() as opened:
        yield opened


def becomes(client: httpx.Client, sample_id: str, state: str) -> dict[str, Any]:
    """Asks until a sample is in a state."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        shown: dict[str, Any] = client.get(f"/api/personalities/zac/samples/{sample_id}").json()
        if shown["state"] == state:
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)


def spoken(client: httpx.Client) -> dict[str, Any]:
    """The receipt of a sentence."""
    answer = client.post("/api/speech", json={"text": "Hello.", "personality": "zac"})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = client.get(f"/api/receipts/{answer.headers['x-request-id']}").json()
    return found


def test_from_the_upload_to_the_tombstone(client: httpx.Client) -> None:
    headers = {"Content-Type": "audio/wav"}
    taken = client.post(VOICE, content=good_recording(), headers=headers)
    assert taken.status_code == 202, taken.text
    sample = taken.json()["id"]
    assert taken.headers["location"].endswith(f"/samples/{sample}")
    becomes(client, sample, "validated")
    assert client.get(VOICE).json()["sample"]["id"] == sample
    receipt = spoken(client)
    assert (receipt["sample_refused"], receipt["substituted"]) == ("consent_missing", True)

    agreed = client.post(
        f"{VOICE}/consent", json={"speaker": "Zac", "attested_by": "The owner", "language": "en"}
    )
    assert agreed.status_code == 201, agreed.text
    assert spoken(client)["sample_refused"] is None

    given = client.post(f"{VOICE}/uploads?activate=false").json()
    posted = httpx.post(given["url"], data=given["fields"], files={"file": good_recording(180.0)})
    assert posted.status_code == 204
    second = given["sample"]["id"]
    becomes(client, second, "validated")
    chosen = client.put(f"{VOICE}/sample", json={"id": second})
    assert chosen.json()["sample"]["refusal"] == "consent_missing"

    gone = client.delete(f"{VOICE}/consent")
    assert {each["id"] for each in gone.json()["samples"]} == {sample, second}
    for each in (sample, second):
        buried = becomes(client, each, "purged")
        assert (buried["report"], buried["windows"]) == (None, [])
    assert client.get(VOICE).json()["sample_path"] is None
    assert spoken(client)["sample_refused"] is None


def test_what_is_too_large_is_sent_another_way(client: httpx.Client) -> None:
    headers = {"Content-Type": "audio/wav"}
    for size in (5 * 2**20, 11 * 2**20):
        refused = client.post(VOICE, content=bytes(size), headers=headers)
        assert refused.status_code == 413
        assert "/voice/uploads" in refused.json()["detail"]


def test_what_came_as_text_is_refused(client: httpx.Client) -> None:
    headers = {"Content-Type": "text/plain"}
    assert client.post(VOICE, content=b"RIFF", headers=headers).status_code == 415
