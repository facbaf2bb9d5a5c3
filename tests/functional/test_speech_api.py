from __future__ import annotations

import asyncio
import io
import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fakes.audio_cache import FakeAudioCache
from fakes.budgets import FakeBudgets
from fakes.clock import FakeClock
from fakes.levels import FakeVoiceLevels
from fakes.observer import RecordingObserver
from fakes.personalities import FakePersonalities
from fakes.providers import ScriptedProvider, tone
from fakes.receipts import FakeReceipts
from fakes.routing import routed
from fakes.samples import FakeSamples
from fakes.speaking import speech_service
from fakes.tenants import FakeTenants
from fakes.usage import FakeUsage
from voice_gateway.adapters.system_clock import SystemClock
from voice_gateway.domain.errors import FailureReason, ProviderError, StorageUnavailableError
from voice_gateway.domain.personality import Personality, VoiceConfig
from voice_gateway.domain.speech import ProviderCapabilities
from voice_gateway.domain.tiers import Allowance, Overrides, Plan, Tier
from voice_gateway.handlers.speech import BrokenOffError, create_app
from voice_gateway.providers.cached import CachedProvider
from voice_gateway.providers.registry import ProviderRegistry
from voice_gateway.services.budgets import BudgetService
from voice_gateway.services.chosen_samples import ChosenSamples
from voice_gateway.services.quota import CharacterQuota

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette

NOW = FakeClock().now()
MONTH = "2026-03"
SPEAK = "/api/speech"
ENGLISH = ProviderCapabilities(languages=frozenset({"en"}))


class House:
    """The speech function, with everything behind it in memory."""

    def __init__(self) -> None:
        self.piper = ScriptedProvider("piper", ENGLISH)
        self.floor = ScriptedProvider(
            "espeak", ProviderCapabilities(languages=frozenset({"en", "de"}), pitch=True)
        )
        self.personalities = FakePersonalities(
            Personality(
                id="marcel",
                tenant_id="demo",
                name="Marcel",
                voice_config=VoiceConfig.model_validate(
                    {"quality": "medium", "voices": {"piper": "budtender/marcel"}}
                ),
                created_at=NOW,
                updated_at=NOW,
            )
        )
        self.samples = FakeSamples()
        self.receipts = FakeReceipts(FakeClock())
        self.observer = RecordingObserver()
        self.tenants = FakeTenants(Plan(tier=Tier.PRO))
        self.usage = FakeUsage()
        registry = ProviderRegistry({"piper": lambda: self.piper, "espeak": lambda: self.floor})
        self.cache = FakeAudioCache()
        self.levels = FakeVoiceLevels()
        self.budgets = FakeBudgets()
        router = routed(registry, SystemClock())
        self.service = speech_service(
            self.personalities,
            registry,
            router,
            SystemClock(),
            samples=ChosenSamples(self.samples),
            receipts=self.receipts,
            budgets=BudgetService(self.budgets, self.receipts, FakeClock()),
            quota=CharacterQuota(self.tenants, self.usage, FakeClock()),
            router=CachedProvider(router, registry, self.cache, self.levels, SystemClock()),
            cache=self.cache,
            levels=self.levels,
            observer=self.observer,
        )
        self.app = create_app(self.service)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with signed_in(house.app) as opened:
        yield opened


def signed_in(app: Starlette, **authorizer: str) -> httpx.AsyncClient:
    found = {"tenant": "demo", "scopes": "speech:write speech:read", **authorizer}
    context = {"requestId": "req-1", "authorizer": found}

    return _Client(
        app,
        transport=httpx.ASGITransport(app, raise_app_exceptions=False),
        base_url="http://voice",
        headers={"x-amzn-request-context": json.dumps(context)},
    )


class _Client(httpx.AsyncClient):
    """Runs the app's lifespan around itself."""

    def __init__(self, app: Starlette, **more: Any) -> None:
        super().__init__(**more)
        self._lifespan = app.router.lifespan_context(app)

    async def __aenter__(self) -> _Client:
        await self._lifespan.__aenter__()
        await super().__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await super().__aexit__(*error)
        await self._lifespan.__aexit__(None, None, None)


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    assert body["request_id"] == "req-1"
    assert "Traceback" not in response.text
    return body


def fields(response: httpx.Response) -> set[str]:
    return {error["field"] for error in problem(response)["errors"]}


async def test_speaks_and_leaves_a_receipt(client: httpx.AsyncClient, house: House) -> None:
    answer = await client.post(SPEAK, json={"text": "Hi. How are you?", "personality": "marcel"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["x-speech-provider"] == "piper"
    assert answer.headers["x-speech-voice"] == "budtender/marcel"
    samples, rate = soundfile.read(io.BytesIO(answer.content))
    assert rate == 24_000
    # Two sentences of 0.2 s and the pause between them.
    assert samples.shape == (pytest.approx(0.7 * rate, abs=0.02 * rate),)

    receipt = (await client.get(f"/api/receipts/{answer.headers['x-request-id']}")).json()
    assert receipt["asked"] == {
        "provider": "piper",
        "voice": "budtender/marcel",
        "quality": "medium",
    }
    assert receipt["served"] == [
        {"provider": "piper", "voice": "budtender/marcel", "sentences": 2, "match": None}
    ]
    assert (receipt["substituted"], receipt["complete"]) == (False, True)
    assert receipt["characters"] == len("Hi.") + len("How are you?")
    assert receipt["audio_seconds"] == pytest.approx(len(samples) / rate, abs=0.01)
    assert 0 < receipt["first_audio_ms"] <= receipt["total_ms"]
    assert [r.request_id for _, r in house.observer.receipts] == ["req-1"]


async def test_the_first_audio_leaves_before_the_last_sentence_is_made(house: House) -> None:
    """Ten sentences; the tenth is made only once the first bytes have left the app."""
    left = asyncio.Event()

    class Gated(ScriptedProvider):
        async def synthesize(self, request):  # type: ignore[no-untyped-def]
            async for chunk in super().synthesize(request):
                if chunk.sentence == len(request.sentences) - 1:
                    await left.wait()
                yield chunk

    house.piper = Gated("piper", ENGLISH)
    body = {"text": "A sentence. " * 10, "personality": "marcel"}
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and message["body"]:
            left.set()

    await _asgi(house.app, body, send)
    assert sum(bool(m.get("body")) for m in sent) > 1
    receipt = house.observer.receipts[0][1]
    assert receipt.complete
    assert receipt.sentences == 10


async def _asgi(
    app: Starlette, body: dict[str, Any], send: Any, hang_up: asyncio.Event | None = None
) -> None:
    context = {
        "requestId": "req-1",
        "authorizer": {"tenant": "demo", "scopes": "speech:write speech:read"},
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": SPEAK,
        "raw_path": SPEAK.encode(),
        "query_string": b"",
        "headers": [(b"x-amzn-request-context", json.dumps(context).encode())],
    }
    messages = iter([{"type": "http.request", "body": json.dumps(body).encode()}])

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        await (hang_up or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async with app.router.lifespan_context(app):
        await app(scope, receive, send)


async def test_the_floor_speaks_when_the_chain_is_down(
    client: httpx.AsyncClient, house: House
) -> None:
    house.piper.fail_with = ProviderError("piper", FailureReason.UNAVAILABLE, "Triton is away")
    answer = await client.post(SPEAK, json={"text": "Hi.", "personality": "marcel"})
    assert answer.headers["x-speech-provider"] == "espeak"
    receipt = (await client.get("/api/receipts/req-1")).json()
    assert receipt["substituted"] is True
    assert [(a["provider"], a["outcome"], a["reason"]) for a in receipt["attempts"]] == [
        ("piper", "failed", "unavailable"),
        ("xtts_v2", "passed_over", "not_configured"),
        ("google", "passed_over", "not_configured"),
        ("espeak", "served", None),
    ]


async def test_strict_fails_rather_than_substitutes(
    client: httpx.AsyncClient, house: House
) -> None:
    house.piper.fail_with = ProviderError("piper", FailureReason.QUOTA, "used up")
    body = {"text": "Hi.", "personality": "marcel", "strict": True}
    answer = await client.post(SPEAK, json=body)
    assert answer.status_code == 503
    assert [a["reason"] for a in problem(answer)["attempts"]] == ["quota"]
    assert house.floor.asked == []


async def test_a_forced_provider_bypasses_the_chain(
    client: httpx.AsyncClient, house: House
) -> None:
    body = {"text": "Hi.", "personality": "marcel", "provider": "espeak", "language": "de"}
    answer = await client.post(SPEAK, json=body)
    assert answer.headers["x-speech-provider"] == "espeak"
    assert house.piper.asked == []
    receipt = (await client.get("/api/receipts/req-1")).json()
    assert receipt["substituted"] is False


async def test_a_pinned_voice_speaks_its_own_language_only(
    client: httpx.AsyncClient, house: House
) -> None:
    body = {"text": "Hallo.", "personality": "marcel", "provider": "espeak"}
    german = await client.post(SPEAK, json={**body, "language": "de"})
    british = await client.post(SPEAK, json={**body, "provider": "piper", "language": "en-GB"})
    assert german.headers["x-speech-voice"] == "espeak-default"
    assert british.headers["x-speech-voice"] == "budtender/marcel"


async def test_breaking_off_in_the_middle_continues_and_tells(
    client: httpx.AsyncClient, house: House
) -> None:
    house.piper.fail_with = ProviderError("piper", FailureReason.UNAVAILABLE, "gone")
    house.piper.fail_at = (1, 1)
    answer = await client.post(SPEAK, json={"text": "One. Two. Three.", "personality": "marcel"})
    assert answer.status_code == 200
    assert house.floor.asked == [("Three.",)]
    receipt = (await client.get("/api/receipts/req-1")).json()
    assert [(s["provider"], s["sentences"]) for s in receipt["served"]] == [
        ("piper", 2),
        ("espeak", 1),
    ]
    assert receipt["complete"] is False
    assert receipt["substituted"] is True


async def test_settings_of_the_request_win_over_the_personality(
    client: httpx.AsyncClient, house: House
) -> None:
    body = {"text": "Hi.", "personality": "marcel", "quality": "fast", "pitch": 2.0, "speed": 2}
    assert (await client.post(SPEAK, json=body)).status_code == 200
    receipt = (await client.get("/api/receipts/req-1")).json()
    assert receipt["asked"]["quality"] == "fast"
    assert receipt["not_applied"] == ["pitch"]


@pytest.mark.parametrize("audio_format", ["wav", "mp3", "opus", "flac", "pcm"])
async def test_every_format_comes_as_its_own_media_type(
    client: httpx.AsyncClient, audio_format: str
) -> None:
    body = {"text": "Hi. There.", "personality": "marcel", "format": audio_format}
    answer = await client.post(SPEAK, json=body)
    kind = {"mp3": "mpeg", "opus": "ogg"}.get(audio_format, audio_format)
    assert answer.headers["content-type"].startswith(f"audio/{kind}")
    assert answer.headers["x-ai-generated"] == "true"
    assert len(answer.content) > 1000


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"text": ""}, "text"),
        ({"text": "   \n"}, "text"),
        ({"text": "... 😀"}, "text"),
        ({"text": "a " * 500_000}, "text"),
        ({"text": None}, "text"),
        ({"text": 3}, "text"),
        ({"text": ["Hi"]}, "text"),
        ({"personality": "NOPE!"}, "personality"),
        ({"personality": None}, "personality"),
        ({"provider": "polly"}, "provider"),
        ({"provider": "azure"}, "provider"),
        ({"provider": "piper", "language": "de"}, "language"),
        ({"language": "xx"}, "language"),
        ({"language": "klingon language"}, "language"),
        ({"language": ""}, "language"),
        ({"quality": "best"}, "quality"),
        ({"speed": 0}, "speed"),
        ({"speed": -1}, "speed"),
        ({"speed": 99}, "speed"),
        ({"speed": "fast"}, "speed"),
        ({"speed": float("nan")}, "speed"),
        ({"speed": float("inf")}, "speed"),
        ({"pitch": float("nan")}, "pitch"),
        ({"pitch": 40}, "pitch"),
        ({"advanced": {"alpha": 2}}, "advanced.alpha"),
        ({"advanced": {"diffusion_steps": 1.5}}, "advanced.diffusion_steps"),
        ({"advanced": {"gamma": 1}}, "advanced.gamma"),
        ({"format": "aac"}, "format"),
        ({"format": "opus", "sample_rate": 44_100}, "sample_rate"),
        ({"sample_rate": 1}, "sample_rate"),
        ({"sample_rate": 24_000.5}, "sample_rate"),
        ({"strict": "yes"}, "strict"),
        ({"purpose": "fun"}, "purpose"),
        ({"strict": True, "quality": "highest"}, "strict"),
        ({"voice": "alloy"}, "voice"),
    ],
)
async def test_bad_input_names_its_field(
    client: httpx.AsyncClient, change: dict[str, Any], field: str
) -> None:
    body = {"text": "Hi.", "personality": "marcel", **change}
    answer = await client.post(SPEAK, content=json.dumps(body))
    assert answer.status_code == 422
    assert fields(answer) == {field}


@pytest.mark.parametrize("body", [b"", b"not json", b"{", b'{"text": "\xff"}', b'"\\ud800"'])
async def test_a_body_that_is_no_json_says_so(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(SPEAK, content=body)
    assert answer.status_code in (400, 422)
    assert fields(answer) == {"body"}


async def test_a_body_without_end_is_too_large(client: httpx.AsyncClient) -> None:
    answer = await client.post(SPEAK, content=b'{"text": "' + b"a" * 3_000_000 + b'"}')
    assert answer.status_code == 413
    assert fields(answer) == {"body"}


async def test_an_unknown_personality_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.post(SPEAK, json={"text": "Hi.", "personality": "nobody"})
    assert answer.status_code == 404
    assert fields(answer) == {"personality"}


async def test_a_deleted_personality_does_not_speak(
    house: House, client: httpx.AsyncClient
) -> None:
    marcel = house.personalities.get("demo", "marcel")
    house.personalities.replace(marcel, marcel.deleted(NOW))
    answer = await client.post(SPEAK, json={"text": "Hi.", "personality": "marcel"})
    assert answer.status_code == 404
    assert fields(answer) == {"personality"}


async def test_another_tenant_s_things_are_not_there(house: House) -> None:
    async with signed_in(house.app) as ours:
        await ours.post(SPEAK, json={"text": "Hi.", "personality": "marcel"})
    async with signed_in(house.app, tenant="other") as theirs:
        answer = await theirs.post(SPEAK, json={"text": "Hi.", "personality": "marcel"})
        assert answer.status_code == 404
        assert (await theirs.get("/api/receipts/req-1")).status_code == 404


@pytest.mark.parametrize(("tenant", "scopes", "status"), [("", "", 401), ("demo", "x", 403)])
async def test_without_a_right_nothing_is_spoken(
    house: House, tenant: str, scopes: str, status: int
) -> None:
    async with signed_in(house.app, tenant=tenant, scopes=scopes) as client:
        answer = await client.post(SPEAK, json={"text": "Hi.", "personality": "marcel"})
    assert answer.status_code == status
    problem(answer)


async def test_unknown_addresses_and_methods(client: httpx.AsyncClient) -> None:
    missing, wrong = await client.get("/api/nothing"), await client.get(SPEAK)
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert wrong.headers["allow"] == "POST"
    problem(missing)
    problem(wrong)


async def test_a_table_that_is_away_is_a_503(client: httpx.AsyncClient, house: House) -> None:
    house.personalities.broken = True
    answer = await client.post(SPEAK, json={"text": "Hi.", "personality": "marcel"})
    assert answer.status_code == 503
    problem(answer)


async def test_a_receipt_that_cannot_be_stored_does_not_spoil_the_audio(
    client: httpx.AsyncClient, house: House
) -> None:
    house.receipts.broken = True
    answer = await client.post(SPEAK, json={"text": "Hi.", "personality": "marcel"})
    assert answer.status_code == 200
    assert house.observer.lost == ["req-1"]


async def test_a_failure_of_no_known_kind_tells_nothing(
    client: httpx.AsyncClient, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "the customer's words"
    house.personalities.get = _raise(RuntimeError(secret))  # type: ignore[method-assign]
    answer = await client.post(SPEAK, json={"text": secret, "personality": "marcel"})
    assert answer.status_code == 500
    problem(answer)
    (record,) = caplog.records
    assert vars(record)["error"] == "RuntimeError"
    assert secret not in answer.text + str(vars(record))


async def test_a_stored_document_that_cannot_be_read_is_our_fault(
    client: httpx.AsyncClient, house: House
) -> None:
    with pytest.raises(ValidationError) as unreadable:
        VoiceConfig.model_validate({"speed": 0})
    house.personalities.get = _raise(unreadable.value)  # type: ignore[method-assign]
    answer = await client.post(SPEAK, json={"text": "Hi.", "personality": "marcel"})
    assert answer.status_code == 500
    problem(answer)


def _raise(error: Exception) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


async def test_hanging_up_ends_the_work_and_keeps_the_receipt(house: House) -> None:
    house.piper.hang_at = (1, 0)

    class HungUpError(Exception):
        pass

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            raise HungUpError

    with pytest.raises(BrokenOffError):
        await _asgi(house.app, {"text": "One. Two.", "personality": "marcel"}, send)
    assert house.piper.closed == 1
    await house.service.aclose()
    ((_, receipt),) = house.observer.receipts
    assert receipt.complete is False
    assert receipt.attempts[0].reason == "cancelled"


async def test_hanging_up_before_the_first_byte_ends_the_work(house: House) -> None:
    """FLAC is sent when it is whole, so nothing leaves while there is still work to end."""
    begun = asyncio.Event()

    class Slow(ScriptedProvider):
        async def synthesize(self, request):  # type: ignore[no-untyped-def]
            begun.set()
            async for chunk in super().synthesize(request):
                yield chunk

    house.piper = Slow("piper", ENGLISH, hang_at=(1, 0))
    body = {"text": "One. Two.", "personality": "marcel", "format": "flac"}
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await _asgi(house.app, body, send, hang_up=begun)
    assert sent[0]["status"] == 499
    assert house.piper.closed == 1
    await house.service.aclose()
    assert house.receipts.get("demo", "req-1").attempts[0].reason == "cancelled"


async def test_a_forced_provider_whose_quota_is_used_up_says_when_to_come_back(
    client: httpx.AsyncClient, house: House
) -> None:
    house.piper.fail_with = ProviderError(
        "piper", FailureReason.QUOTA, "used up", retry_after_seconds=90.5
    )
    body = {"text": "One.", "personality": "marcel", "provider": "piper"}
    for asked in (1, 1):
        response = await client.post(SPEAK, json=body)
        assert response.status_code == 503
        assert 89 <= int(response.headers["retry-after"]) <= 91
        assert response.json()["retry_after"] == int(response.headers["retry-after"])
        assert len(house.piper.asked) == asked
    (attempt,) = response.json()["attempts"]
    assert attempt["reason"] == "breaker_open"
    assert attempt["detail"].startswith("quota until ")


async def test_a_text_that_nobody_can_pronounce_names_the_text(
    client: httpx.AsyncClient, house: House
) -> None:
    house.piper.audio = house.floor.audio = np.zeros(800, np.float32)
    answer = await client.post(SPEAK, json={"text": "ᚠᚢᚦ", "personality": "marcel"})
    assert answer.status_code == 422
    assert fields(answer) == {"text"}


async def test_an_answer_that_never_was_is_counted(client: httpx.AsyncClient, house: House) -> None:
    house.piper.fail_with = ProviderError("piper", FailureReason.UNAVAILABLE, "away")
    body = {"text": "Hi.", "personality": "marcel", "strict": True}
    assert (await client.post(SPEAK, json=body)).status_code == 503
    assert house.observer.mute == ["req-1"]


@pytest.mark.parametrize(
    ("asked", "spoken", "substituted"),
    [
        ("budtender/marcel", "budtender/marcel", False),
        ("budtender/0", "budtender/marcel", False),
        ("budtender", "budtender/marcel", False),
        ("kristin/0", "kristin", False),
        ("budtender/marcel", "budtender/shante", True),
        ("budtender/marcel", "ryan", True),
    ],
)
async def test_a_voice_is_a_substitute_if_it_is_not_the_one_asked_for(
    client: httpx.AsyncClient, house: House, asked: str, spoken: str, substituted: bool
) -> None:
    voices = VoiceConfig.model_validate({"quality": "medium", "voices": {"piper": asked}})
    house.personalities.create(
        Personality(
            id="other",
            tenant_id="demo",
            name="Other",
            voice_config=voices,
            created_at=NOW,
            updated_at=NOW,
        )
    )
    house.piper.voice = spoken
    await client.post(SPEAK, json={"text": "Hi.", "personality": "other"})
    assert (await client.get("/api/receipts/req-1")).json()["substituted"] is substituted


async def test_health_needs_no_key(house: House) -> None:
    transport = httpx.ASGITransport(house.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://voice") as client:
        assert (await client.get("/healthz")).status_code == 204


_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
_names = st.sampled_from(["text", "personality", "language", "speed", "format", "advanced", "x"])


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(_names, _values) | _values)
def test_no_body_is_ever_our_fault(body: object) -> None:
    async def ask() -> httpx.Response:
        async with signed_in(House().app) as client:
            return await client.post(SPEAK, content=json.dumps(body))

    assert asyncio.run(ask()).status_code < 500


async def test_sixteen_callers_at_once_each_get_their_own(house: House) -> None:
    async def length(client: httpx.AsyncClient, sentences: int) -> int:
        body = {"text": "A b. " * sentences, "personality": "marcel", "format": "pcm"}
        return len((await client.post(SPEAK, json=body)).content)

    async with signed_in(house.app) as client:
        alone = [await length(client, n) for n in range(1, 5)]
        together = await asyncio.gather(*(length(client, 1 + i % 4) for i in range(16)))
    assert together == alone * 4


def test_the_fake_s_tone_is_audible() -> None:
    assert abs(tone(0.1)).max() == pytest.approx(0.5, abs=0.01)


async def test_a_page_of_the_allowed_origin_may_read_every_answer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGIN", "https://shop.example")
    async with signed_in(create_app(house.service)) as client:
        for answer in (
            await client.post(SPEAK, json={"text": "Hi.", "personality": "marcel"}),
            await client.post(SPEAK, json={}),
            await client.get("/nowhere"),
            await client.get("/api/receipts/nobody"),
        ):
            assert answer.headers["access-control-allow-origin"] == "https://shop.example"
            exposed = answer.headers["access-control-expose-headers"].split(", ")
            assert {"x-request-id", "link", "x-speech-provider", "x-speech-voice"} <= set(exposed)


def used(house: House) -> dict[str, int]:
    return {allowance.value: count for allowance, count in house.usage.used("demo", MONTH).items()}


async def test_what_was_spoken_is_counted(client: httpx.AsyncClient, house: House) -> None:
    """Of the text as it is spoken: its sentences, without the spaces around them."""
    answer = await client.post(SPEAK, json={"text": "  Hi.   You. ", "personality": "marcel"})
    assert answer.status_code == 200
    receipt = (await client.get("/api/receipts/req-1")).json()
    assert (receipt["characters"], receipt["characters_counted"]) == (7, 7)
    assert receipt["purpose"] == "live"
    assert used(house) == {"characters": 7, "trial_characters": 0}


async def test_a_trial_draws_on_its_own_allowance(client: httpx.AsyncClient, house: House) -> None:
    house.tenants.put("demo", Plan(overrides=Overrides(characters=0, trial_characters=5)))
    body = {"text": "Hi.", "personality": "marcel", "purpose": "trial"}
    assert (await client.post(SPEAK, json=body)).status_code == 200
    assert used(house) == {"characters": 0, "trial_characters": 3}
    refused = await client.post(SPEAK, json=body)
    assert (refused.status_code, problem(refused)["limit"]) == (429, 5)
    assert (await client.post(SPEAK, json={**body, "purpose": "live"})).status_code == 429


async def test_over_the_limit_nobody_speaks(client: httpx.AsyncClient, house: House) -> None:
    house.tenants.put("demo", Plan(overrides=Overrides(characters=10)))
    body = {"text": "Hi there.", "personality": "marcel"}
    assert (await client.post(SPEAK, json=body)).status_code == 200
    refused = await client.post(SPEAK, json=body)
    assert refused.status_code == 429
    told = problem(refused)
    assert (told["tier"], told["limit"], told["usage"]) == ("free", 10, 9)
    assert told["resets_at"] == "2026-04-01T00:00:00Z"
    # From nine in the morning of the first of March.
    assert refused.headers["retry-after"] == str(31 * 86_400 - 9 * 3600 + 1)
    assert len(house.piper.asked) == 1
    assert used(house)["characters"] == 9


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"personality": "nobody"}, 404),
        ({"text": "... 😀"}, 422),
        ({"language": "xx"}, 422),
        ({"strict": True}, 503),
    ],
)
async def test_nothing_spoken_is_nothing_counted(
    house: House, body: dict[str, Any], status: int
) -> None:
    house.piper.fail_with = ProviderError("piper", FailureReason.UNAVAILABLE, "away")
    async with signed_in(house.app) as client:
        answer = await client.post(SPEAK, json={"text": "Hi.", "personality": "marcel", **body})
    assert answer.status_code == status
    assert used(house) == {"characters": 0, "trial_characters": 0}


async def test_hanging_up_counts_what_was_spoken_until_then(house: House) -> None:
    house.piper.hang_at = (1, 0)

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            raise ConnectionError

    with pytest.raises(BrokenOffError):
        await _asgi(house.app, {"text": "One. Two.", "personality": "marcel"}, send)
    await house.service.aclose()
    assert used(house)["characters"] == len("One.")


async def test_hanging_up_while_characters_are_reserved_counts_nothing(house: House) -> None:
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    take = house.usage.take

    def slow(*args: Any, **kwargs: Any) -> int | None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(10)
        return take(*args, **kwargs)

    house.usage.take = slow  # type: ignore[method-assign]

    async def send(_: dict[str, Any]) -> None:
        go_on.set()

    await _asgi(house.app, {"text": "One.", "personality": "marcel"}, send, hang_up=begun)
    assert used(house)["characters"] == 0
    assert house.piper.asked == []


async def test_many_at_once_stay_within_the_limit(house: House) -> None:
    house.tenants.put("demo", Plan(overrides=Overrides(characters=5 * len("Hi there."))))
    body = {"text": "Hi there.", "personality": "marcel"}
    async with signed_in(house.app) as client:
        answers = await asyncio.gather(*(client.post(SPEAK, json=body) for _ in range(20)))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {200: 5, 429: 15}
    assert used(house)["characters"] == 5 * len("Hi there.")


async def test_a_count_that_cannot_be_mended_does_not_spoil_the_audio(
    client: httpx.AsyncClient, house: House
) -> None:
    house.usage.correct = _raise(StorageUnavailableError("away"))  # type: ignore[method-assign]
    answer = await client.post(SPEAK, json={"text": " Hi. ", "personality": "marcel"})
    assert answer.status_code == 200
    assert house.observer.overcounted == ["req-1"]


async def test_without_the_meter_nobody_speaks(client: httpx.AsyncClient, house: House) -> None:
    house.usage.broken = True
    answer = await client.post(SPEAK, json={"text": "Hi.", "personality": "marcel"})
    assert answer.status_code == 503
    assert house.piper.asked == []


class TestCache:
    async def test_the_second_time_it_is_there_and_the_receipt_says_so(
        self, client: httpx.AsyncClient, house: House
    ) -> None:
        house.piper.seconds = 1.0
        house.piper.capabilities = ProviderCapabilities(
            languages=frozenset({"en"}), usd_per_million_characters=10.0
        )
        body = {"text": "Hi. How are you?", "personality": "marcel", "format": "pcm"}
        texts = ("Hi. How are you?", "Hi. How are you?", "Hi. Fine, and you?")
        answers = [await client.post(SPEAK, json={**body, "text": text}) for text in texts]
        receipts = [receipt.model_dump(mode="json") for _, receipt in house.observer.receipts]
        assert [r["cache_hits"] for r in receipts] == [0, 2, 1]
        assert [r["cost_saved_usd"] for r in receipts] == pytest.approx([0, 150e-6, 30e-6])
        assert [r["cost_usd"] for r in receipts] == pytest.approx([150e-6, 0, 140e-6])
        assert all(r["complete"] and not r["substituted"] for r in receipts)
        assert [a["outcome"] for a in receipts[2]["attempts"]] == ["cached", "served"]
        assert receipts[2]["served"] == [
            {"provider": "piper", "voice": "budtender/marcel", "sentences": 2, "match": None}
        ]
        first, second = (np.frombuffer(a.content, "<i2").astype(float) for a in answers[:2])
        assert first.size == second.size
        # The voice's gain was guessed the first time, as in every answer that short.
        assert np.abs(first - second).max() < 400

    async def test_the_same_master_serves_every_format(
        self, client: httpx.AsyncClient, house: House
    ) -> None:
        house.piper.seconds = 1.0
        for audio_format in ("wav", "mp3", "flac", "mulaw"):
            body = {"text": "Hi.", "personality": "marcel", "format": audio_format}
            answer = await client.post(SPEAK, json={**body, "channels": 2})
            assert answer.status_code == 200
        assert len(house.piper.asked) == 1

    async def test_changed_settings_are_heard(
        self, client: httpx.AsyncClient, house: House
    ) -> None:
        house.piper.seconds = 1.0
        body = {"text": "Hi.", "personality": "marcel"}
        for more in ({}, {"speed": 1.2}, {"advanced": {"alpha": 0.9}}, {"language": "en-gb"}):
            assert (await client.post(SPEAK, json={**body, **more})).status_code == 200
        assert len(house.piper.asked) == 4


class TestLexicon:
    def teach(self, house: House, **words: str) -> None:
        marcel = house.personalities.get("demo", "marcel")
        knowing = {"lexicon": {"en": words}, "version": marcel.version + 1}
        house.personalities.replace(marcel, marcel.model_copy(update=knowing))

    async def test_a_changed_pronunciation_is_spoken_and_not_taken_from_the_cache(
        self, client: httpx.AsyncClient, house: House
    ) -> None:
        house.piper.seconds = 1.0
        body = {"text": "Some THC. Hi.", "personality": "marcel"}
        await client.post(SPEAK, json=body)
        self.teach(house, THC="T H C")
        await client.post(SPEAK, json=body)
        assert house.piper.asked == [("Some THC.", "Hi."), ("Some T H C.",)]
        receipt = house.observer.receipts[-1][1]
        assert (receipt.cache_hits, receipt.characters) == (1, len("Some T H C.Hi."))
        counted = house.usage.used("demo", MONTH)[Allowance.CHARACTERS]
        assert counted == len("Some THC.Hi." + "Some T H C.Hi.")

    async def test_does_not_make_a_text_longer_than_a_text_may_be(
        self, client: httpx.AsyncClient, house: House
    ) -> None:
        self.teach(house, g="grams " * 20 + "of it")
        answer = await client.post(SPEAK, json={"text": "g " * 1000, "personality": "marcel"})
        assert answer.status_code == 422
        assert fields(answer) == {"text"}
        assert house.piper.asked == []


async def test_the_telephone_gets_what_it_speaks(client: httpx.AsyncClient, house: House) -> None:
    body = {"text": "Hi.", "personality": "marcel", "format": "mulaw"}
    answer = await client.post(SPEAK, json=body)
    assert answer.headers["content-type"] == "audio/basic"
    assert len(answer.content) == pytest.approx(0.2 * 8000, abs=0.1 * 8000)
    assert house.observer.receipts[-1][1].sample_rate == 8000
    stereo = await client.post(SPEAK, json={**body, "sample_rate": 16_000, "channels": 2})
    assert stereo.headers["content-type"] == "audio/PCMU; rate=16000; channels=2"
    assert fields(await client.post(SPEAK, json={**body, "channels": 3})) == {"channels"}
