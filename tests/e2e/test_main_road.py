"""The whole road, as a person and as an agent travel it: API, functions, Triton, local AWS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from .conftest import Stack

pytestmark = pytest.mark.integration

SENTENCE = "Welcome to WeedGo! How can I help you today?"
SECRET = "Zanzibar marmalade 4711"


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with stack.client() as opened:
        yield opened


def receipt(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    found = client.get(f"/api/receipts/{answer.headers['x-request-id']}")
    assert found.status_code == 200, found.text
    body: dict[str, Any] = found.json()
    return body


def test_one_command_speaks_the_sentence(stack: Stack, tmp_path: Path) -> None:
    out = tmp_path / "hello.wav"
    spoken = stack.speak(out, text=SENTENCE, personality="marcel")
    assert spoken.returncode == 0, spoken.stdout + spoken.stderr
    with soundfile.SoundFile(out) as file:
        samples = file.read(dtype="float32")
        assert file.channels == 1
        assert file.samplerate >= 16_000
        assert 1.5 <= len(samples) / file.samplerate <= 8
    assert np.abs(samples).max() > 0.05
    for word in ("piper", "budtender/marcel", "first audio", "real-time factor", "cost"):
        assert word in spoken.stdout
    assert "espeak" not in spoken.stdout


def test_the_personalities_have_voices_of_their_own(client: httpx.Client) -> None:
    pitches = {}
    for personality in ("marcel", "shante"):
        body = {"text": SENTENCE, "personality": personality, "format": "pcm"}
        answer = client.post("/api/speech", json=body)
        assert answer.headers["x-speech-voice"] == f"budtender/{personality}"
        pitches[personality] = _median_pitch(np.frombuffer(answer.content, "<i2") / 32768)
    assert pitches["shante"] > 1.3 * pitches["marcel"]


def _median_pitch(samples: np.ndarray, rate: int = 24_000) -> float:
    """Hz, from the autocorrelation of the loud frames."""
    frames = [samples[i : i + 1200] for i in range(0, samples.size - 1200, 600)]
    loud = [f for f in frames if np.abs(f).max() > 0.2 * np.abs(samples).max()]
    lags = []
    for frame in loud:
        correlation = np.fft.irfft(np.abs(np.fft.rfft(frame, 4096)) ** 2)
        window = correlation[rate // 350 : rate // 60]
        if window.max() > 0.4 * correlation[0]:
            lags.append(rate // 350 + int(window.argmax()))
    return rate / float(np.median(lags))


def test_audio_comes_while_it_is_spoken(client: httpx.Client) -> None:
    text = " ".join(f"This is number {i} of sixty, and none of them is short." for i in range(60))
    body = {"text": text, "personality": "marcel"}
    with client.stream("POST", "/api/speech", json=body) as answer:
        pieces = [len(piece) for piece in answer.iter_bytes() if piece]
    told = receipt(client, answer)
    assert told["complete"]
    assert told["sentences"] == 60
    assert len(pieces) > 10
    assert told["first_audio_ms"] < told["total_ms"] / 2


def test_without_triton_a_vendor_speaks_and_without_vendors_the_floor(
    stack: Stack, tmp_path: Path
) -> None:
    gateway = stack.pid("gateway")
    assert stack.speak(tmp_path / "kept.wav", text=SENTENCE, personality="marcel").returncode == 0
    assert stack.run("stop", "triton").returncode == 0
    kept = stack.speak(tmp_path / "kept.wav", text=SENTENCE, personality="marcel")
    assert "piper" in kept.stdout, "what was spoken before needs nobody"
    text = "Nobody has said this yet. Now somebody has."
    cloud = stack.speak(tmp_path / "cloud.wav", text=text, personality="marcel")
    assert cloud.returncode == 0, cloud.stdout + cloud.stderr
    assert "google" in cloud.stdout
    assert "unavailable" in cloud.stdout
    assert soundfile.info(tmp_path / "cloud.wav").duration > 1

    assert stack.run("stop", "vendors").returncode == 0
    fallen = stack.speak(tmp_path / "floor.wav", text=text, personality="marcel")
    assert fallen.returncode == 0, fallen.stdout + fallen.stderr
    assert "espeak" in fallen.stdout
    assert "unavailable" in fallen.stdout
    assert soundfile.info(tmp_path / "floor.wav").duration > 1

    assert stack.run("start", "vendors").returncode == 0
    assert stack.run("start", "triton").returncode == 0
    back = stack.speak(tmp_path / "back.wav", text=text, personality="marcel")
    assert back.returncode == 0
    assert "espeak" not in back.stdout
    assert stack.pid("gateway") == gateway


def test_a_second_up_changes_nothing(stack: Stack) -> None:
    before = [stack.pid(part) for part in ("triton", "aws", "gateway")]
    assert stack.run("up").returncode == 0
    assert [stack.pid(part) for part in ("triton", "aws", "gateway")] == before


def test_a_personality_made_through_the_api_speaks(client: httpx.Client) -> None:
    body = {
        "name": "Zoë of the Night",
        "voice_config": {"quality": "fast", "voices": {"piper": "budtender/shante"}},
    }
    made = client.post("/api/personalities", json=body)
    assert made.status_code == 201, made.text
    there = client.get(made.headers["location"])
    assert there.json()["id"] == "zoe-of-the-night"
    listed = client.get("/api/personalities", params={"limit": 100}).json()
    assert {"marcel", "shante", "zoe-of-the-night"} <= {p["id"] for p in listed["personalities"]}
    answer = client.post("/api/speech", json={"text": "Hi.", "personality": "zoe-of-the-night"})
    assert answer.headers["x-speech-voice"] == "budtender/shante"
    assert client.post("/api/personalities", json=body).status_code == 409


def test_a_personality_is_changed_deleted_and_brought_back(client: httpx.Client) -> None:
    once = {"Idempotency-Key": "e2e-1"}
    body = {"name": "Ida", "greeting": "Hi.", "voice_config": {"quality": "fast"}}
    made = client.post("/api/personalities", json=body, headers=once)
    again = client.post("/api/personalities", json=body, headers=once)
    assert (made.status_code, again.status_code) == (201, 201)
    assert (again.headers["idempotent-replayed"], again.json()) == ("true", made.json())

    here = made.headers["location"]
    assert made.headers["etag"] == '"1"'
    patch = {"traits": {"warmth": 90}}
    patched = client.patch(here, json=patch, headers={"If-Match": '"1"'})
    assert (patched.status_code, patched.json()["traits"]["warmth"]) == (200, 90)
    assert client.patch(here, json=patch, headers={"If-Match": '"1"'}).status_code == 412
    known = client.get(here, headers={"If-None-Match": patched.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    voice = client.put(f"{here}/voice", json={"quality": "medium"})
    assert voice.json() == client.get(f"{here}/voice").json()
    assert client.put(f"{here}/voice", json=voice.json()).status_code == 200

    speech = {"text": "Hi.", "personality": "ida"}
    assert client.delete(here).status_code == 200
    assert client.post("/api/speech", json=speech).status_code == 404
    assert client.post("/api/personalities", json=body).status_code == 409
    assert client.post(f"{here}/restore").status_code == 200
    assert client.post("/api/speech", json=speech).status_code == 200
    versions = client.get(f"{here}/versions").json()["versions"]
    assert [version["version"] for version in versions] == [6, 5, 4, 3, 2, 1]


def test_a_language_without_a_voice_falls_to_a_vendor_and_at_last_to_the_floor(
    client: httpx.Client,
) -> None:
    body = {"text": "Bonjour. Ça va ?", "personality": "marcel", "language": "fr"}
    told = receipt(client, client.post("/api/speech", json=body))
    assert told["substituted"]
    assert [(turn["provider"], turn["sentences"]) for turn in told["served"]] == [("google", 2)]
    assert told["attempts"][0]["reason"] == "unavailable"
    assert told["cost_usd"] > 0

    body = {"text": "Bonan tagon. Kiel vi fartas?", "personality": "marcel", "language": "eo"}
    told = receipt(client, client.post("/api/speech", json=body))
    assert told["served"] == [{"provider": "espeak", "voice": "eo", "sentences": 2, "match": 1.0}]
    assert told["attempts"][0]["reason"] == "language"


@pytest.mark.parametrize("vendor", ["google", "azure", "watson"])
def test_a_vendor_speaks_when_it_is_asked(client: httpx.Client, vendor: str) -> None:
    body = {"text": SENTENCE, "personality": "marcel", "provider": vendor, "format": "pcm"}
    answer = client.post("/api/speech", json=body)
    assert answer.headers["x-speech-provider"] == vendor
    assert len(answer.content) > 24_000 * 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": ""}, "text"),
        ({"text": "word " * 200_000}, "text"),
        ({"personality": "nobody"}, "personality"),
        ({"provider": "nobody"}, "provider"),
        ({"language": "xx"}, "language"),
        ({"speed": 0}, "speed"),
        ({"speed": float("nan")}, "speed"),
    ],
)
def test_bad_input_names_its_field(client: httpx.Client, body: dict[str, Any], field: str) -> None:
    content = json.dumps({"text": "Hi.", "personality": "marcel", **body})
    answer = client.post("/api/speech", content=content)
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("path", ["/api/speech", "/api/personalities"])
def test_a_body_that_is_no_json(client: httpx.Client, path: str) -> None:
    answer = client.post(path, content=b"<xml/>")
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["body"]


@pytest.mark.parametrize("key", ["Bearer pv_demo_wrongwrongwrongwrong", "Basic x", ""])
@pytest.mark.parametrize("path", ["/api/speech", "/api/personalities", "/api/receipts/x"])
def test_nobody_gets_in_without_a_key(stack: Stack, key: str, path: str) -> None:
    with stack.client() as client:
        client.headers["Authorization"] = key
        answer = client.request("POST" if path.endswith("speech") else "GET", path)
    assert answer.status_code in (401, 403)
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_the_adapter_says_cannot_be_said_by_a_client(stack: Stack) -> None:
    """A forged request context is dropped: the authorizer's findings alone count."""
    context = {"authorizer": {"tenant": "other", "scopes": "speech:read speech:write"}}
    with stack.client(**{"x-amzn-request-context": json.dumps(context)}) as client:
        answer = client.post("/api/speech", json={"text": "Hi.", "personality": "marcel"})
    assert answer.status_code == 200


def test_no_log_holds_a_customer_s_words(stack: Stack, client: httpx.Client) -> None:
    for body in (
        {"text": SECRET, "personality": "marcel"},
        {"text": SECRET, "personality": "marcel", "language": "fr"},
        {"text": SECRET, "personality": "marcel", "speed": SECRET},
        {"text": [SECRET], "personality": SECRET},
    ):
        client.post("/api/speech", json=body)
    client.post("/api/personalities", json={"name": "Logless", "description": [SECRET]})
    logs = list((stack.local / "log").iterdir())
    assert logs
    for log in logs:
        assert SECRET not in log.read_text(encoding="utf-8", errors="replace"), log.name
