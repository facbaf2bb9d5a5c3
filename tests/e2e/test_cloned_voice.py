"""A voice of one's own, cloned: from the recording to the model that speaks in it, and out of it.

The weights are small and random, so what is heard is noise; the road is the real one.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from fakes.sample_house import good_recording

from .conftest import stack_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Stack

pytestmark = pytest.mark.integration

CLONERS = {
    "styletts2": "highest",
    "xtts_v2": "high",
}
"""Model → the quality whose chain begins with it."""
PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def cloning_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    local = tmp_path_factory.mktemp("cloning")
    nothing_fetched = {"VOICE_WEIGHTS": str(local / "weights")}
    own = {f"{model.upper()}_{key}": "" for model in CLONERS for key in ("CHECKPOINT", "CACHE_DIR")}
    with stack_in(local, VOICE_CLONING_MODELS=",".join(CLONERS), **nothing_fetched, **own) as stack:
        yield stack


@pytest.fixture
def client(cloning_stack: Stack) -> Iterator[httpx.Client]:
    with cloning_stack.client() as opened:
        yield opened


def speak(client: httpx.Client, personality: str, quality: str, text: str) -> dict[str, Any]:
    """Speaks, and returns the receipt; what is heard must be something."""
    body = {"text": text, "personality": personality, "quality": quality, "format": "pcm"}
    with client.stream("POST", "/api/speech", json=body) as answer:
        heard = b"".join(answer.iter_bytes())
    assert answer.status_code == 200, heard
    assert np.abs(np.frombuffer(heard, "<i2")).max() > 1000
    receipt: dict[str, Any] = client.get(f"/api/receipts/{answer.headers['x-request-id']}").json()
    assert receipt["complete"], receipt
    return receipt


def served(receipt: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Who spoke, in which voice, how many sentences."""
    return [(turn["provider"], turn["voice"], turn["sentences"]) for turn in receipt["served"]]


def wait_for(client: httpx.Client, path: str, **wanted: Any) -> None:
    """Asks until an answer has these fields."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not wanted.items() <= (shown := client.get(path).json()).items():
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)


def conditioning(stack: Stack, model: str) -> tuple[int, int]:
    """How often a model found a voice among those it knows, and how often not."""
    port = stack.environment["VOICE_TRITON_METRICS_PORT"]
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    counts = [
        re.findall(rf'^voice_conditioning_{kind}_total{{.*model="{model}".*}} (\S+)$', text, re.M)
        for kind in ("hits", "misses")
    ]
    hits, misses = (int(float(found[0])) for found in counts)
    return hits, misses


def kept(stack: Stack, model: str) -> list[Path]:
    """The files that a model made of voices."""
    folder = stack.local / "state" / "conditioning" / model
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("model", "quality"), CLONERS.items())
def test_from_a_recording_to_the_cloned_voice_and_back(
    cloning_stack: Stack, client: httpx.Client, model: str, quality: str
) -> None:
    # The seed's call: a personality, and its sample.
    made = client.post("/api/personalities", json={"name": f"Ada {model}"})
    assert made.status_code == 201, made.text
    here, name = made.headers["location"], made.json()["id"]
    headers = {"Content-Type": "audio/wav"}
    taken = client.post(f"{here}/voice", content=good_recording(), headers=headers)
    assert taken.status_code == 202, taken.text
    sample = taken.headers["location"]
    # Validated, and then chosen.
    wait_for(client, sample, state="validated", activate=False)

    # Nobody has agreed yet: somebody else's voice is heard, and nothing is made of the recording.
    refused = speak(client, name, quality, "Who is this?")
    assert (refused["sample_refused"], refused["substituted"]) == ("consent_missing", True)
    assert "clone" not in {voice for _, voice, _ in served(refused)}
    assert (conditioning(cloning_stack, model), kept(cloning_stack, model)) == ((0, 0), [])

    agreed = client.post(
        f"{here}/voice/consent",
        json={"speaker": "Ada", "attested_by": "The owner", "language": "en"},
    )
    assert agreed.status_code == 201, agreed.text
    cloned = speak(client, name, quality, "Hello there. This is my own voice.")
    assert cloned["asked"]["provider"] == model
    assert served(cloned) == [(model, "clone", 2)], cloned["attempts"]
    assert (cloned["sample_refused"], cloned["substituted"]) == (None, False)
    hits, misses = conditioning(cloning_stack, model)
    assert misses > 0
    assert len(kept(cloning_stack, model)) == 1

    # Another text needs no second look at the recording.
    again = speak(client, name, quality, "And this is what I say next.")
    assert served(again) == [(model, "clone", 1)]
    assert (again["substituted"], again["cache_hits"]) == (False, 0)
    assert conditioning(cloning_stack, model) == (hits + 1, misses)

    assert client.delete(f"{here}/voice/consent").status_code == 200
    parted = speak(client, name, quality, "Is that still me?")
    assert "clone" not in {voice for _, voice, _ in served(parted)}
    wait_for(client, sample, state="purged")
    assert kept(cloning_stack, model) == []


def test_status_says_that_it_is_noise(cloning_stack: Stack) -> None:
    told = cloning_stack.run("status")
    assert told.returncode == 0, told.stdout + told.stderr
    for model in CLONERS:
        assert f"{model}: alive, but speaks noise" in told.stdout
