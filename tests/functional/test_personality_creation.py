"""The personalities API: making one, once."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from fakes.clock import FakeClock
from fakes.events import lambda_context, rest_event
from fakes.personalities import FakePersonalities
from fakes.personality_client import BAD_CHARACTERS, NOW, OTHER, SHOP, WHOLE, Client
from fakes.samples import FakeSamples
from fakes.tenants import FakeTenants
from fakes.voice_matches import FakeVoiceMatches
from voice_gateway.domain.limits import MAX_BODY_BYTES
from voice_gateway.handlers.personalities import create_app
from voice_gateway.handlers.rest import serve
from voice_gateway.services.chosen_samples import ChosenSamples
from voice_gateway.services.personalities import PersonalityService


@pytest.fixture
def client() -> Client:
    return Client()


class TestCreate:
    def test_answers_with_what_was_made_and_where(self, client: Client) -> None:
        answer = client.post({"name": "  Shanté O. ", "description": "Quick."})
        assert answer.status == 201
        assert answer.headers["location"] == "/prod/api/personalities/shante-o"
        assert answer.json["id"] == "shante-o"
        assert answer.json["name"] == "Shanté O."
        assert answer.json["version"] == 1
        assert datetime.fromisoformat(answer.json["created_at"]) == NOW
        assert answer.json["voice_config"]["quality"] == "high"
        assert "tenant" not in answer.text

    def test_keeps_the_whole_voice_config(self, client: Client) -> None:
        config = {
            "provider": "xtts_v2",
            "fallback_chain": ["xtts_v2", "styletts2", "piper"],
            "sample_path": "tenants/shop/samples/1/clean.wav",
            "language": "en",
            "gender": "male",
            "speed": 1.1,
            "pitch": -0.5,
            "quality": "highest",
            "optimize": "cost",
            "advanced": {"alpha": 0.3, "beta": 0.7, "diffusion_steps": 5, "embedding_scale": 1.0},
            "voices": {"piper": "budtender/marcel"},
        }
        client.post({"name": "Marcel", "voice_config": config})
        assert client.get("/marcel").json["voice_config"] == config

    def test_takes_an_id(self, client: Client) -> None:
        assert client.post({"name": "マルセル", "id": "marcel"}).json["id"] == "marcel"
        assert client.get("/marcel").json["name"] == "マルセル"

    def test_takes_a_body_in_base64(self, client: Client) -> None:
        body = json.dumps({"name": "Zoë"}, ensure_ascii=False).encode()
        assert client.send("POST", "/api/personalities", body=body).json["name"] == "Zoë"

    def test_refuses_a_body_that_is_not_utf_8(self, client: Client) -> None:
        body = '{"name": "Zoë"}'.encode("latin-1")
        answer = client.send("POST", "/api/personalities", body=body)
        assert (answer.status, answer.fields) == (400, ["body"])

    def test_refuses_an_id_that_is_taken(self, client: Client) -> None:
        client.post({"name": "Marcel"})
        answer = client.post({"name": "MARCEL!"})
        assert (answer.status, answer.fields) == (409, ["id"])

    def test_tenants_may_have_the_same_id(self, client: Client) -> None:
        assert client.post({"name": "Marcel"}).status == 201
        assert client.post({"name": "Marcel"}, authorizer=OTHER).status == 201

    @pytest.mark.parametrize(
        "name", ["Ünïcödé", "O'Neil", "日本語 A", "👩🏽‍🚀 1", "x" * 80, "é" * 80]
    )
    def test_takes_names_of_people(self, client: Client, name: str) -> None:
        answer = client.post({"name": name})
        assert (answer.status, answer.json["name"]) == (201, name)

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "name"),
            ({"name": None}, "name"),
            ({"name": 5}, "name"),
            ({"name": ["Marcel"]}, "name"),
            ({"name": ""}, "name"),
            ({"name": "   \t  "}, "name"),
            ({"name": "x" * 81}, "name"),
            ({"name": "two\nlines"}, "name"),
            ({"name": "nul\0"}, "name"),
            ({"name": "日本"}, "id"),
            ({"name": "👩🏽‍🚀"}, "id"),
            ({"name": "M", "id": ""}, "id"),
            ({"name": "M", "id": "Marcel"}, "id"),
            ({"name": "M", "id": "-m"}, "id"),
            ({"name": "M", "id": "m\n"}, "id"),
            ({"name": "M", "id": "m" * 65}, "id"),
            ({"name": "M", "id": "a/b"}, "id"),
            ({"name": "M", "id": 7}, "id"),
            ({"name": "M", "description": "x" * 2001}, "description"),
            ({"name": "M", "description": None}, "description"),
            ({"name": "M", "tenant_id": "other"}, "tenant_id"),
            *(({"name": "M", **body}, field) for body, field in BAD_CHARACTERS),
            ({"name": "M", "version": 9}, "version"),
            ({"name": "M", "path": "x"}, "path"),
            ({"name": "M", "voice_config": None}, "voice_config"),
            ({"name": "M", "voice_config": "high"}, "voice_config"),
            ({"name": "M", "voice_config": {"sped": 1}}, "voice_config.sped"),
            ({"name": "M", "voice_config": {"provider": "polly"}}, "voice_config.provider"),
            ({"name": "M", "voice_config": {"quality": "ultra"}}, "voice_config.quality"),
            ({"name": "M", "voice_config": {"language": "english!"}}, "voice_config.language"),
            ({"name": "M", "voice_config": {"speed": 0}}, "voice_config.speed"),
            ({"name": "M", "voice_config": {"speed": -1}}, "voice_config.speed"),
            ({"name": "M", "voice_config": {"speed": 4.01}}, "voice_config.speed"),
            ({"name": "M", "voice_config": {"speed": "1.5"}}, "voice_config.speed"),
            ({"name": "M", "voice_config": {"speed": True}}, "voice_config.speed"),
            ({"name": "M", "voice_config": {"speed": 1e400}}, "voice_config.speed"),
            ({"name": "M", "voice_config": {"speed": 10**400}}, "voice_config.speed"),
            ({"name": "M", "voice_config": {"speed": float("nan")}}, "voice_config.speed"),
            ({"name": "M", "voice_config": {"pitch": float("inf")}}, "voice_config.pitch"),
            ({"name": "M", "voice_config": {"pitch": -12.5}}, "voice_config.pitch"),
            (
                {"name": "M", "voice_config": {"advanced": {"alpha": float("-inf")}}},
                "voice_config.advanced.alpha",
            ),
            (
                {"name": "M", "voice_config": {"advanced": {"diffusion_steps": float("nan")}}},
                "voice_config.advanced.diffusion_steps",
            ),
            (
                {"name": "M", "voice_config": {"advanced": {"diffusion_steps": 0}}},
                "voice_config.advanced.diffusion_steps",
            ),
            (
                {"name": "M", "voice_config": {"fallback_chain": ["piper", "espeak", "piper"]}},
                "voice_config.fallback_chain",
            ),
            (
                {"name": "M", "voice_config": {"fallback_chain": []}},
                "voice_config.fallback_chain",
            ),
            (
                {"name": "M", "voice_config": {"fallback_chain": ["piper", "polly"]}},
                "voice_config.fallback_chain.1",
            ),
            (
                {"name": "M", "voice_config": {"voices": {"polly": "Joanna"}}},
                "voice_config.voices.polly.[key]",
            ),
            ({"name": "M", "voice_config": {"voices": {"piper": ""}}}, "voice_config.voices.piper"),
            (
                {"name": "M", "voice_config": {"sample_path": "tenants/other/samples/1/clean.wav"}},
                "voice_config.sample_path",
            ),
            (
                {"name": "M", "voice_config": {"sample_path": "tenants/shop/../other/s.wav"}},
                "voice_config.sample_path",
            ),
            (
                {"name": "M", "voice_config": {"sample_path": "x" * 1025}},
                "voice_config.sample_path",
            ),
            ([], "body"),
            ("Marcel", "body"),
            (None, "body"),
            (7, "body"),
        ],
    )
    def test_names_the_wrong_field(self, client: Client, body: object, field: str) -> None:
        answer = client.post(body)
        assert answer.status == 422, answer.text
        assert field in answer.fields
        assert field in answer.json["detail"] or field in ("id", "voice_config.sample_path")
        assert client.get().json["personalities"] == []

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "1" * 400])
    def test_refuses_what_is_no_number(self, client: Client, number: str) -> None:
        body = f'{{"name": "M", "voice_config": {{"speed": {number}}}}}'
        answer = client.send("POST", "/api/personalities", body=body)
        assert (answer.status, answer.fields) == (422, ["voice_config.speed"])

    def test_names_every_wrong_field(self, client: Client) -> None:
        answer = client.post({"voice_config": {"speed": 0, "pitch": 99}, "colour": "red"})
        assert set(answer.fields) == {
            "name",
            "colour",
            "voice_config.speed",
            "voice_config.pitch",
        }

    @pytest.mark.parametrize(
        "body",
        [
            None,
            "",
            " ",
            "name=Marcel",
            "{",
            '{"name": "M"',
            '{"name": "M",}',
            "{'name': 'M'}",
            '{"name": nan}',
            f'{{"name": {"1" * 5000}}}',
            '{"name": "M"} x',
            '{"name": "\\ud800"}',
            '{"name": "\ud800"}',
            '{"name": "a\nb"}',
            b"\xff\xfe",
            b'{"name": "\xff"}',
            "[" * 100_000,
            '{"a":' * 10_000,
        ],
    )
    def test_says_when_the_body_is_not_json(self, client: Client, body: str | bytes | None) -> None:
        answer = client.send("POST", "/api/personalities", body=body)
        assert answer.status == 400, answer.text
        assert "body" in answer.json["detail"]
        assert answer.fields == ["body"]

    def test_says_when_base64_is_none(self, client: Client) -> None:
        event = rest_event("POST", "/api/personalities", body="=?", authorizer=SHOP)
        app = create_app(
            PersonalityService(FakePersonalities(), FakeClock(), tenants=FakeTenants()),
            ChosenSamples(FakeSamples()),
            FakeVoiceMatches(),
        )
        answer = serve(app, {**event, "isBase64Encoded": True}, lambda_context())
        assert answer["statusCode"] == 400

    @pytest.mark.parametrize("as_bytes", [False, True])
    def test_refuses_a_body_that_nobody_needs(self, client: Client, as_bytes: bool) -> None:
        body = json.dumps({"name": "M", "description": "é" * MAX_BODY_BYTES}, ensure_ascii=False)
        answer = client.send("POST", "/api/personalities", body=body.encode() if as_bytes else body)
        assert (answer.status, answer.fields) == (413, ["body"])

    def test_ten_thousand_wrong_fields_do_not_come_back(self, client: Client) -> None:
        many = client.post({"name": "M", **{f"f{n}": 0 for n in range(10_000)}})
        assert many.status == 422
        assert len(many.text) < 10_000
        long = client.post({"name": "M", "f" * 100_000: 0})
        assert long.status == 422
        assert len(long.text) < 2_000


class TestCharacter:
    def test_is_kept_whole(self, client: Client) -> None:
        answer = client.post(WHOLE)
        assert answer.status == 201, answer.text
        got = client.get("/marcel").json
        assert {name: got[name] for name in WHOLE} == WHOLE

    def test_is_neither_warm_nor_cold_when_nothing_is_said(self, client: Client) -> None:
        traits = client.post({"name": "M"}).json["traits"]
        assert traits.pop("words") == []
        assert set(traits.values()) == {50}

    def test_says_which_placeholders_there_are(self, client: Client) -> None:
        answer = client.post({"name": "M", "system_prompt": "You are {nmae}."})
        assert "{name}, {shop}" in answer.json["errors"][0]["message"]


class TestOnceOnly:
    def test_a_repetition_has_the_same_answer(self, client: Client) -> None:
        key = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
        first = client.post({"name": "Marcel", "greeting": "Yo."}, headers=key)
        client.patch("/marcel", {"greeting": "Hey."})
        again = client.post({"greeting": "Yo.", "name": "Marcel"}, headers=key)
        assert (first.status, again.status) == (201, 201)
        assert again.text == first.text
        assert again.headers["idempotent-replayed"] == "true"
        assert "idempotent-replayed" not in first.headers
        for name in ("location", "etag"):
            assert again.headers[name] == first.headers[name]

    def test_another_body_is_a_mistake(self, client: Client) -> None:
        key = {"Idempotency-Key": "k"}
        client.post({"name": "Marcel"}, headers=key)
        answer = client.post({"name": "Zac"}, headers=key)
        assert (answer.status, answer.fields) == (422, ["idempotency-key"])
        assert client.get("/zac").status == 404

    def test_another_tenants_key_is_another(self, client: Client) -> None:
        key = {"Idempotency-Key": "k"}
        client.post({"name": "Marcel"}, headers=key)
        answer = client.post({"name": "Zac"}, headers=key, authorizer=OTHER)
        assert answer.status == 201

    def test_is_forgotten_after_a_day(self, client: Client) -> None:
        key = {"Idempotency-Key": "k"}
        client.post({"name": "Marcel"}, headers=key)
        client.clock.advance(86400)
        assert client.post({"name": "Zac"}, headers=key).status == 201

    @pytest.mark.parametrize("key", ["", " ", "a b", "k" * 256, "é", "a\tb"])
    def test_a_bad_key_is_named(self, client: Client, key: str) -> None:
        answer = client.post({"name": "Marcel"}, headers={"Idempotency-Key": key})
        assert (answer.status, answer.fields) == (422, ["idempotency-key"])
