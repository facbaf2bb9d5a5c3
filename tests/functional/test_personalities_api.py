"""The personalities API, from API Gateway's event to its answer."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.clock import FakeClock
from fakes.events import REQUEST_ID, lambda_context, rest_event
from fakes.personalities import FakePersonalities
from fakes.samples import FakeSamples
from fakes.tenants import FakeTenants
from fakes.voice_matches import FakeVoiceMatches
from voice_gateway.domain.limits import MAX_BODY_BYTES
from voice_gateway.domain.personality import Personality
from voice_gateway.domain.tiers import Plan, Tier
from voice_gateway.handlers.personalities import create_app
from voice_gateway.handlers.rest import serve
from voice_gateway.observability import logger
from voice_gateway.services.chosen_samples import ChosenSamples
from voice_gateway.services.personalities import PersonalityService

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)
SHOP = {"tenant": "shop", "scopes": "personalities:read personalities:write", "key_id": "0" * 12}
OTHER = {**SHOP, "tenant": "other"}
SECRET = "das-sagt-niemand"
ROUTES = [
    ("GET", ""),
    ("POST", ""),
    ("GET", "/marcel"),
    ("PUT", "/marcel"),
    ("PATCH", "/marcel"),
    ("DELETE", "/marcel"),
    ("GET", "/marcel/voice"),
    ("PUT", "/marcel/voice"),
    ("GET", "/marcel/versions"),
    ("POST", "/marcel/restore"),
]


BAD_CHARACTERS: list[tuple[dict[str, object], str]] = [
    ({"traits": None}, "traits"),
    ({"traits": {"warmth": 101}}, "traits.warmth"),
    ({"traits": {"humour": -1}}, "traits.humour"),
    ({"traits": {"formality": 50.5}}, "traits.formality"),
    ({"traits": {"energy": "50"}}, "traits.energy"),
    ({"traits": {"expertise": True}}, "traits.expertise"),
    ({"traits": {"charm": 50}}, "traits.charm"),
    ({"traits": {"words": ["w" * 41]}}, "traits.words.0"),
    ({"traits": {"words": ["  "]}}, "traits.words.0"),
    ({"traits": {"words": ["two\nlines"]}}, "traits.words.0"),
    ({"traits": {"words": [f"w{n}" for n in range(21)]}}, "traits.words"),
    ({"traits": {"words": ["Calm", "calm"]}}, "traits.words"),
    ({"traits": {"words": "calm"}}, "traits.words"),
    ({"greeting": "g" * 501}, "greeting"),
    ({"greeting": 5}, "greeting"),
    ({"system_prompt": "p" * 8001}, "system_prompt"),
    ({"system_prompt": "You are {nmae}."}, "system_prompt"),
    ({"system_prompt": "You are {}."}, "system_prompt"),
    ({"system_prompt": "You are {0}."}, "system_prompt"),
    ({"system_prompt": "{name.__class__}"}, "system_prompt"),
    ({"system_prompt": "{name[0]}"}, "system_prompt"),
    ({"system_prompt": "{name!r}"}, "system_prompt"),
    ({"system_prompt": "{name:>10}"}, "system_prompt"),
    ({"system_prompt": "{name:{shop}}"}, "system_prompt"),
    ({"system_prompt": "a { b"}, "system_prompt"),
    ({"system_prompt": "a } b"}, "system_prompt"),
    ({"phrases": ["Hi.", "HI."]}, "phrases"),
    ({"phrases": [""]}, "phrases.0"),
    ({"phrases": ["p" * 301]}, "phrases.0"),
    ({"phrases": [f"{n}" for n in range(51)]}, "phrases"),
    ({"lexicon": {"english!": {}}}, "lexicon.english!.[key]"),
    ({"lexicon": {"en": {"": "x"}}}, "lexicon.en..[key]"),
    ({"lexicon": {"en": {" THC": "x"}}}, "lexicon.en. THC.[key]"),
    ({"lexicon": {"en": {"w" * 65: "x"}}}, f"lexicon.en.{'w' * 65}.[key]"),
    ({"lexicon": {"en": {"THC": ""}}}, "lexicon.en.THC"),
    ({"lexicon": {"en": {"THC": "x" * 129}}}, "lexicon.en.THC"),
    ({"lexicon": {"en": {"THC": "a\nb"}}}, "lexicon.en.THC"),
    ({"lexicon": {"en": ["THC"]}}, "lexicon.en"),
    ({"lexicon": {"en": {}, "EN": {}}}, "lexicon"),
    ({"lexicon": {"en": {f"w{n}": "x" for n in range(201)}}}, "lexicon"),
    ({"lexicon": {f"en-{n:04}": {} for n in range(21)}}, "lexicon"),
    ({"language": "en"}, "language"),
    ({"deleted_at": None}, "deleted_at"),
]


class Answer:
    """An answer, read the way a client reads it, and held to what every answer promises."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.status = int(raw["statusCode"])
        self.headers = {k.lower(): v[0] for k, v in raw["multiValueHeaders"].items()}
        self.text = str(raw["body"])
        self.json: Any = json.loads(self.text) if self.status != 304 else None
        assert self.headers["x-request-id"] == REQUEST_ID
        assert self.headers["access-control-allow-origin"] == "*"
        assert "location" in self.headers["access-control-expose-headers"]
        assert "Traceback" not in self.text
        # A line of a stack trace; the name of a caller's own field may be anything.
        assert 'File \\"' not in self.text
        if self.status >= 400:
            assert self.headers["content-type"] == "application/problem+json"
            assert self.json["status"] == self.status
            assert self.json["request_id"] == REQUEST_ID
        elif self.status == 304:
            assert self.text == ""
            assert "content-type" not in self.headers
        else:
            assert self.headers["content-type"] == "application/json"

    @property
    def fields(self) -> list[str]:
        return [error["field"] for error in self.json.get("errors", ())]


class Client:
    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.repository = FakePersonalities(clock=self.clock)
        self.tenants = FakeTenants(Plan(tier=Tier.PRO))
        self.samples = FakeSamples()
        self.matches = FakeVoiceMatches()
        self._app = create_app(
            PersonalityService(
                self.repository, self.clock, tenants=self.tenants, sleep=lambda _: None
            ),
            ChosenSamples(self.samples),
            self.matches,
        )

    def send(
        self,
        method: str,
        url: str,
        *,
        body: str | bytes | None = None,
        authorizer: Mapping[str, object] | None = SHOP,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        event = rest_event(method, url, body=body, authorizer=authorizer, headers=headers)
        return Answer(serve(self._app, event, lambda_context()))

    def post(self, body: object, **kwargs: Any) -> Answer:
        return self.send("POST", "/api/personalities", body=json.dumps(body), **kwargs)

    def get(self, path: str = "", **kwargs: Any) -> Answer:
        return self.send("GET", f"/api/personalities{path}", **kwargs)

    def put(self, path: str, body: object, **kwargs: Any) -> Answer:
        return self.send("PUT", f"/api/personalities{path}", body=json.dumps(body), **kwargs)

    def patch(self, path: str, body: object, **kwargs: Any) -> Answer:
        return self.send("PATCH", f"/api/personalities{path}", body=json.dumps(body), **kwargs)

    def delete(self, path: str, **kwargs: Any) -> Answer:
        return self.send("DELETE", f"/api/personalities{path}", **kwargs)

    def restore(self, path: str, **kwargs: Any) -> Answer:
        return self.send("POST", f"/api/personalities{path}/restore", **kwargs)


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


class TestGet:
    def test_another_tenants_is_as_good_as_absent(self, client: Client) -> None:
        client.post({"name": "Marcel"}, authorizer=OTHER)
        theirs = client.get("/marcel")
        absent = client.get("/nobody")
        assert theirs.status == 404
        assert theirs.text == absent.text

    @pytest.mark.parametrize(
        "path",
        ["/Marcel", "/marcel%0A", "/a.b", "/TENANT#x", "/" + "m" * 3000, "/..", "/é", "/%00"],
    )
    def test_what_can_be_no_id_is_absent(self, client: Client, path: str) -> None:
        client.post({"name": "Marcel"})
        assert client.get(path).status == 404

    def test_a_document_that_cannot_be_read_is_our_fault(self, client: Client) -> None:
        def unreadable(tenant_id: str, personality_id: str, **_: bool) -> Personality:
            return Personality.model_validate_json(f'{{"id": "{SECRET}", "name": 5}}')

        client.repository.get = unreadable  # type: ignore[method-assign]
        answer = client.get("/marcel")
        assert answer.status == 500
        assert SECRET not in answer.text


class TestList:
    @pytest.fixture
    def client(self) -> Client:
        client = Client()
        for number in range(25):
            client.post({"name": f"P{number:02}"})
        client.post({"name": "Theirs"}, authorizer=OTHER)
        return client

    def test_goes_by_pages_of_twenty(self, client: Client) -> None:
        first = client.get()
        assert len(first.json["personalities"]) == 20
        second = client.get(f"?cursor={first.json['next_cursor']}")
        assert [p["id"] for p in second.json["personalities"]] == [f"p{n}" for n in range(20, 25)]
        assert second.json["next_cursor"] is None

    def test_goes_by_pages_of_any_size(self, client: Client) -> None:
        seen, query = [], "?limit=7"
        while query:
            answer = client.get(query)
            seen += [p["id"] for p in answer.json["personalities"]]
            cursor = answer.json["next_cursor"]
            query = f"?limit=7&cursor={cursor}" if cursor else ""
        assert seen == [f"p{n:02}" for n in range(25)]

    @pytest.mark.parametrize(
        "limit", ["0", "-1", "101", "ten", "", "1.5", "NaN", "9" * 5000, "1e2"]
    )
    def test_refuses_a_bad_limit(self, client: Client, limit: str) -> None:
        answer = client.get(f"?limit={limit}")
        assert (answer.status, answer.fields) == (422, ["limit"])

    @pytest.mark.parametrize("cursor", ["", "x", "AAAA", "é", "%00", "p01", "A" * 9000])
    def test_refuses_a_bad_cursor(self, client: Client, cursor: str) -> None:
        answer = client.get(f"?cursor={cursor}")
        assert (answer.status, answer.fields) == (422, ["cursor"])

    def test_refuses_another_tenants_cursor(self, client: Client) -> None:
        cursor = client.get("?limit=3").json["next_cursor"]
        assert client.get(f"?cursor={cursor}", authorizer=OTHER).status == 422


class TestCharacter:
    WHOLE: ClassVar[dict[str, Any]] = {
        "name": "Marcel",
        "description": "Laid-back.",
        "traits": {
            "warmth": 85,
            "humour": 60,
            "formality": 0,
            "energy": 30,
            "expertise": 100,
            "words": ["patient", "dry wit"],
        },
        "greeting": "Hey, welcome in.\nTake your time.",
        "system_prompt": "You are {name} of {shop}: {traits}. {{Braces}} stay. {description}"
        "{greeting}{phrases}{language}",
        "phrases": ["No rush.", "Start low, go slow."],
        "lexicon": {"en": {"THC": "T H C"}, "fr-CA": {"CBD": "cé-bé-dé"}},
    }

    def test_is_kept_whole(self, client: Client) -> None:
        answer = client.post(self.WHOLE)
        assert answer.status == 201, answer.text
        got = client.get("/marcel").json
        assert {name: got[name] for name in self.WHOLE} == self.WHOLE

    def test_is_neither_warm_nor_cold_when_nothing_is_said(self, client: Client) -> None:
        traits = client.post({"name": "M"}).json["traits"]
        assert traits.pop("words") == []
        assert set(traits.values()) == {50}

    def test_says_which_placeholders_there_are(self, client: Client) -> None:
        answer = client.post({"name": "M", "system_prompt": "You are {nmae}."})
        assert "{name}, {shop}" in answer.json["errors"][0]["message"]


class TestReplace:
    def test_what_is_left_out_is_as_if_it_never_was(self, client: Client) -> None:
        client.post(TestCharacter.WHOLE)
        client.clock.advance(60)
        answer = client.put("/marcel", {"name": "Marcel II"})
        assert (answer.status, answer.headers["etag"]) == (200, '"2"')
        assert answer.json == client.get("/marcel").json
        assert answer.json["greeting"] == ""
        assert answer.json["version"] == 2
        assert answer.json["id"] == "marcel"
        assert datetime.fromisoformat(answer.json["created_at"]) == NOW
        assert datetime.fromisoformat(answer.json["updated_at"]) == NOW + timedelta(minutes=1)

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "name"),
            ({"name": "M", "id": "m"}, "id"),
            ({"name": "M", "version": 1}, "version"),
            (
                {"name": "M", "voice_config": {"sample_path": "tenants/other/s.wav"}},
                "voice_config.sample_path",
            ),
            *(({"name": "M", **body}, field) for body, field in BAD_CHARACTERS),
            ([], "body"),
        ],
    )
    def test_names_the_wrong_field(self, client: Client, body: object, field: str) -> None:
        client.post({"name": "Marcel"})
        answer = client.put("/marcel", body)
        assert answer.status == 422
        assert field in answer.fields
        assert client.get("/marcel").json["version"] == 1

    def test_makes_no_new_one(self, client: Client) -> None:
        assert client.put("/marcel", {"name": "Marcel"}).status == 404


class TestPatch:
    def test_changes_what_it_names(self, client: Client) -> None:
        before = client.post(TestCharacter.WHOLE).json
        patch = {
            "greeting": "Yo.",
            "traits": {"warmth": 1},
            "lexicon": {"en": {"THC": None, "g": "grams"}, "fr-CA": None},
            "phrases": ["Only this."],
            "description": None,
        }
        answer = client.patch("/marcel", patch)
        assert answer.status == 200, answer.text
        assert answer.json["greeting"] == "Yo."
        assert answer.json["traits"] == {**before["traits"], "warmth": 1}
        assert answer.json["lexicon"] == {"en": {"g": "grams"}}
        assert answer.json["phrases"] == ["Only this."]
        assert answer.json["description"] == ""
        assert answer.json["system_prompt"] == before["system_prompt"]
        assert (answer.json["version"], answer.headers["etag"]) == (2, '"2"')
        assert client.get("/marcel").json == answer.json

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"name": None}, "name"),
            ({"id": "m"}, "id"),
            ({"version": 5}, "version"),
            ({"colour": "red"}, "colour"),
            ({"voice_config": {"speed": 9}}, "voice_config.speed"),
            ({"voice_config": {"speed": 1e400}}, "voice_config.speed"),
            ({"voice_config": {"speed": float("nan")}}, "voice_config.speed"),
            ({"voice_config": {"sample_path": "x"}}, "voice_config.sample_path"),
            *((body, field) for body, field in BAD_CHARACTERS if None not in body.values()),
            ([], "body"),
            (None, "body"),
            ("name", "body"),
        ],
    )
    def test_names_the_wrong_field(self, client: Client, body: object, field: str) -> None:
        client.post({"name": "Marcel"})
        answer = client.patch("/marcel", body)
        assert answer.status == 422
        assert field in answer.fields
        assert client.get("/marcel").json["version"] == 1

    @pytest.mark.parametrize("body", [None, "", "{", b"\xff", "[" * 100_000, '{"a":' * 10_000])
    def test_says_when_the_body_is_not_json(self, client: Client, body: str | bytes | None) -> None:
        client.post({"name": "Marcel"})
        answer = client.send("PATCH", "/api/personalities/marcel", body=body)
        assert (answer.status, answer.fields) == (400, ["body"])

    def test_is_applied_again_when_somebody_was_faster(self, client: Client) -> None:
        client.post({"name": "Marcel"})
        client.repository.overtaken = 5
        answer = client.patch("/marcel", {"greeting": "Yo."})
        assert (answer.status, answer.json["version"]) == (200, 2)

    def test_gives_up_when_somebody_is_always_faster(self, client: Client) -> None:
        client.post({"name": "Marcel"})
        client.repository.overtaken = 1_000
        assert client.patch("/marcel", {"greeting": "Yo."}).status == 409
        assert client.get("/marcel").json["version"] == 1


class TestConditions:
    @pytest.fixture
    def client(self) -> Client:
        client = Client()
        client.post({"name": "Marcel"})
        client.patch("/marcel", {"greeting": "Yo."})
        return client

    WRITES: ClassVar[list[tuple[str, str, str | None]]] = [
        ("PUT", "", '{"name": "M"}'),
        ("PATCH", "", "{}"),
        ("PUT", "/voice", "{}"),
        ("DELETE", "", None),
        ("POST", "/restore", None),
    ]

    @pytest.mark.parametrize(("method", "path", "body"), WRITES)
    @pytest.mark.parametrize("tag", ['"1"', '"3"', 'W/"2"', '"02"', '"two"', '"1", "3"', '""'])
    def test_a_stale_write_is_refused(
        self, client: Client, method: str, path: str, body: str | None, tag: str
    ) -> None:
        url = f"/api/personalities/marcel{path}"
        answer = client.send(method, url, body=body, headers={"If-Match": tag})
        assert (answer.status, answer.fields) == (412, ["if-match"])
        assert client.get("/marcel").json["version"] == 2

    @pytest.mark.parametrize(("method", "path", "body"), WRITES[:-1])
    @pytest.mark.parametrize("tag", ['"2"', '"1", "2"', "*", ' "2" '])
    def test_a_fresh_write_is_taken(
        self, client: Client, method: str, path: str, body: str | None, tag: str
    ) -> None:
        url = f"/api/personalities/marcel{path}"
        answer = client.send(method, url, body=body, headers={"if-match": tag})
        assert (answer.status, answer.headers["etag"]) == (200, '"3"')

    @pytest.mark.parametrize(("method", "path", "body"), WRITES)
    @pytest.mark.parametrize("tag", ["2", "", '"2', "W/2", '"a b"', '"2",', "é"])
    def test_what_is_no_tag_is_named(
        self, client: Client, method: str, path: str, body: str | None, tag: str
    ) -> None:
        url = f"/api/personalities/marcel{path}"
        answer = client.send(method, url, body=body, headers={"If-Match": tag})
        assert (answer.status, answer.fields) == (422, ["if-match"])

    def test_a_condition_holds_while_others_write(self, client: Client) -> None:
        client.repository.overtaken = 3
        answer = client.patch("/marcel", {"greeting": "Hey."}, headers={"If-Match": '"2"'})
        assert (answer.status, answer.json["version"]) == (200, 3)

    @pytest.mark.parametrize("path", ["/marcel", "/marcel/voice"])
    @pytest.mark.parametrize("tag", ['"2"', 'W/"2"', '"1", "2"', "*"])
    def test_what_is_known_is_not_sent(self, client: Client, path: str, tag: str) -> None:
        answer = client.get(path, headers={"If-None-Match": tag})
        assert (answer.status, answer.headers["etag"]) == (304, '"2"')

    @pytest.mark.parametrize("path", ["/marcel", "/marcel/voice"])
    @pytest.mark.parametrize("tag", ['"1"', "2", "", "nonsense"])
    def test_what_is_new_is_sent(self, client: Client, path: str, tag: str) -> None:
        answer = client.get(path, headers={"If-None-Match": tag})
        assert (answer.status, answer.headers["etag"]) == (200, '"2"')


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


class TestDelete:
    def test_takes_it_away_and_says_until_when_it_can_come_back(self, client: Client) -> None:
        client.post({"name": "Marcel"})
        answer = client.delete("/marcel")
        assert (answer.status, answer.headers["etag"]) == (200, '"2"')
        until = (NOW + timedelta(days=30)).replace(microsecond=0)
        assert datetime.fromisoformat(answer.json["restorable_until"]) == until
        assert datetime.fromisoformat(answer.json["deleted_at"]) == NOW
        assert client.get().json["personalities"] == []
        for method, path in ROUTES[2:-1]:
            body = "{}" if path.endswith("voice") else '{"name": "M"}'
            assert client.send(method, f"/api/personalities{path}", body=body).status == 404
        [listed] = client.get("?deleted=true").json["personalities"]
        assert listed == answer.json

    def test_its_id_is_kept_for_it(self, client: Client) -> None:
        client.post({"name": "Marcel"})
        client.delete("/marcel")
        answer = client.post({"name": "Marcel"})
        assert (answer.status, answer.fields) == (409, ["id"])
        assert "restored" in answer.json["detail"]

    def test_comes_back_as_it_was(self, client: Client) -> None:
        before = client.post(TestCharacter.WHOLE).json
        client.delete("/marcel")
        client.clock.advance(30 * 86400 - 1)
        answer = client.restore("/marcel")
        assert (answer.status, answer.headers["etag"]) == (200, '"3"')
        changed = {"version", "updated_at"}
        assert {k: v for k, v in answer.json.items() if k not in changed} == {
            k: v for k, v in before.items() if k not in changed
        }
        again = client.restore("/marcel")
        assert (again.status, again.json) == (200, answer.json)
        assert client.get("?deleted=true").json["personalities"] == []

    def test_is_gone_after_thirty_days(self, client: Client) -> None:
        client.post({"name": "Marcel"})
        client.delete("/marcel")
        client.clock.advance(30 * 86400)
        assert client.restore("/marcel").status == 404
        assert client.get("?deleted=true").json["personalities"] == []
        assert client.post({"name": "Marcel"}).status == 201
        versions = client.get("/marcel/versions").json["versions"]
        assert [v["version"] for v in versions] == [1]

    @pytest.mark.parametrize("path", ["/nobody", "/Marcel", "/%00"])
    def test_what_is_not_there_cannot_be_restored(self, client: Client, path: str) -> None:
        assert client.restore(path).status == 404


class TestVoice:
    def test_is_a_part_of_the_personality(self, client: Client) -> None:
        made = client.post({"name": "Marcel", "greeting": "Yo."})
        assert client.get("/marcel/voice").json == {
            **made.json["voice_config"],
            "sample": None,
            "matches": None,
        }
        answer = client.put("/marcel/voice", {"quality": "fast", "language": "fr"})
        assert (answer.status, answer.headers["etag"]) == (200, '"2"')
        assert (answer.json["quality"], answer.json["language"]) == ("fast", "fr")
        after = client.get("/marcel").json
        assert {**after["voice_config"], "sample": None, "matches": None} == answer.json
        assert answer.json == client.get("/marcel/voice").json
        # What was given may be sent back as it is.
        assert client.put("/marcel/voice", answer.json).json == answer.json
        assert after["greeting"] == "Yo."

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"speed": 0}, "speed"),
            ({"sped": 1}, "sped"),
            ({"advanced": {"tau": 1}}, "advanced.tau"),
            ({"sample_path": "tenants/other/s.wav"}, "voice_config.sample_path"),
            (None, "body"),
        ],
    )
    def test_names_the_wrong_field(self, client: Client, body: object, field: str) -> None:
        client.post({"name": "Marcel"})
        answer = client.put("/marcel/voice", body)
        assert (answer.status, answer.fields) == (422, [field])


class TestVersions:
    @pytest.fixture
    def client(self) -> Client:
        client = Client()
        client.post({"name": "Marcel"})
        for number in range(2, 6):
            client.patch("/marcel", {"greeting": f"Number {number}."})
        client.delete("/marcel")
        client.restore("/marcel")
        return client

    def test_holds_every_write_the_newest_first(self, client: Client) -> None:
        answer = client.get("/marcel/versions")
        versions = answer.json["versions"]
        assert [v["version"] for v in versions] == [7, 6, 5, 4, 3, 2, 1]
        assert [v["deleted_at"] is None for v in versions][:3] == [True, False, True]
        assert [v["greeting"] for v in versions][2:] == [
            *(f"Number {number}." for number in (5, 4, 3, 2)),
            "",
        ]
        assert versions[0] == client.get("/marcel").json

    def test_goes_by_pages(self, client: Client) -> None:
        seen, query = [], "?limit=3"
        while query:
            answer = client.get(f"/marcel/versions{query}")
            seen += [v["version"] for v in answer.json["versions"]]
            cursor = answer.json["next_cursor"]
            query = f"?limit=3&cursor={cursor}" if cursor else ""
        assert seen == [7, 6, 5, 4, 3, 2, 1]

    @pytest.mark.parametrize(
        ("query", "field"), [("limit=0", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor")]
    )
    def test_refuses_a_bad_query(self, client: Client, query: str, field: str) -> None:
        answer = client.get(f"/marcel/versions?{query}")
        assert (answer.status, answer.fields) == (422, [field])


class TestFilters:
    @pytest.fixture
    def client(self) -> Client:
        client = Client()
        for name, language, quality in (
            ("Marcel", "en", "high"),
            ("Shanté", "fr-CA", "fast"),
            ("Shannon", "en-US", "fast"),
        ):
            client.post({"name": name, "voice_config": {"language": language, "quality": quality}})
        client.post({"name": "Shadow"})
        client.delete("/shadow")
        return client

    @pytest.mark.parametrize(
        ("query", "ids"),
        [
            ("name=sha", ["shannon", "shante"]),
            ("name=SHANT%C3%89", ["shante"]),
            ("name=shante", ["shante"]),
            ("language=en", ["marcel", "shannon"]),
            ("language=fr", ["shante"]),
            ("quality=fast&name=s&language=en", ["shannon"]),
            ("deleted=true", ["shadow"]),
            ("deleted=false", ["marcel", "shannon", "shante"]),
            ("name=zz", []),
        ],
    )
    def test_find(self, client: Client, query: str, ids: list[str]) -> None:
        assert [p["id"] for p in client.get(f"?{query}").json["personalities"]] == ids

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("name=", "name"),
            ("name=" + "x" * 81, "name"),
            ("name=%00", "name"),
            ("language=", "language"),
            ("language=english!", "language"),
            ("quality=ultra", "quality"),
            ("deleted=maybe", "deleted"),
        ],
    )
    def test_refuse_nonsense(self, client: Client, query: str, field: str) -> None:
        answer = client.get(f"?{query}")
        assert (answer.status, answer.fields) == (422, [field])


class TestWhoMayCall:
    @pytest.mark.parametrize("authorizer", [None, {}, {"tenant": ""}, {"scopes": SHOP["scopes"]}])
    @pytest.mark.parametrize(("method", "path"), ROUTES)
    def test_nobody_is_not_signed_in(
        self, client: Client, method: str, path: str, authorizer: Mapping[str, object] | None
    ) -> None:
        url = f"/api/personalities{path}"
        answer = client.send(method, url, body="{", authorizer=authorizer)
        assert answer.status == 401

    @pytest.mark.parametrize(("method", "path"), ROUTES[2:])
    def test_another_tenants_is_as_good_as_absent(
        self, client: Client, method: str, path: str
    ) -> None:
        client.post({"name": "Marcel"}, authorizer=OTHER)
        body = {"PUT": '{"name": "M"}', "PATCH": '{"name": "M"}'}.get(method, "")
        body = "{}" if path.endswith("voice") else body
        theirs = client.send(method, f"/api/personalities{path}", body=body)
        absent = client.send(
            method, f"/api/personalities{path.replace('marcel', 'nobody')}", body=body
        )
        assert theirs.status == 404
        assert theirs.text == absent.text
        assert client.get("/marcel", authorizer=OTHER).json["version"] == 1

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    @pytest.mark.parametrize("scopes", ["", "speech:read", "personalities:readonly", None])
    def test_a_key_without_the_scope_may_not(
        self, client: Client, method: str, path: str, scopes: str | None
    ) -> None:
        if scopes is None:
            scopes = f"personalities:{'write' if method == 'GET' else 'read'}"
        answer = client.send(
            method,
            f"/api/personalities{path}",
            body="{",
            authorizer={"tenant": "shop", "scopes": scopes},
        )
        assert answer.status == 403
        assert "personalities:" in answer.json["detail"]


class TestElsewhere:
    @pytest.mark.parametrize("path", ["/", "/api", "/api/personality", "/api/personalities/a/b"])
    def test_nothing_is_there(self, client: Client, path: str) -> None:
        assert client.send("GET", path).status == 404

    def test_a_trailing_slash_does_no_harm(self, client: Client) -> None:
        answer = client.send("POST", "/api/personalities/", body='{"name": "M"}')
        assert answer.headers["location"] == "/prod/api/personalities/m"

    @pytest.mark.parametrize(
        ("path", "allowed"),
        [
            ("", "GET, POST"),
            ("/marcel", "GET, PUT, PATCH, DELETE"),
            ("/marcel/voice", "GET, PUT"),
            ("/marcel/versions", "GET"),
            ("/marcel/restore", "POST"),
        ],
    )
    def test_other_methods_are_told_which_there_are(
        self, client: Client, path: str, allowed: str
    ) -> None:
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"} - set(
            allowed.split(", ")
        ):
            answer = client.send(method, f"/api/personalities{path}")
            assert (answer.status, answer.headers["allow"]) == (405, allowed)


class TestTrouble:
    def test_a_silent_table_is_told_as_such(self, client: Client) -> None:
        client.repository.broken = True
        assert client.get().status == 503
        assert client.post({"name": "Marcel"}).status == 503

    def test_no_setting_makes_it_log_the_event(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("POWERTOOLS_LOGGER_LOG_EVENT", "true")
        monkeypatch.setenv("POWERTOOLS_DEV", "true")
        monkeypatch.setenv("POWERTOOLS_DEBUG", "true")
        client = Client()
        lines: list[str] = []
        keep = logging.Handler()
        keep.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
        logger().addHandler(keep)
        try:
            client.post({"name": "Marcel", "description": SECRET})
        finally:
            logger().removeHandler(keep)
        captured = capsys.readouterr()
        assert SECRET not in "".join(lines) + captured.out + captured.err

    def test_the_unforeseen_is_logged_without_the_customers_words(
        self, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        def explode(personality: Personality, *_: object, **__: object) -> None:
            raise RuntimeError(personality.description)

        client.repository.create = explode  # type: ignore[method-assign]
        log = logger()
        records: list[str] = []

        class Keep(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                records.append(log.registered_formatter.format(record))

        keep = Keep()
        log.addHandler(keep)
        try:
            answer = client.post({"name": "Marcel", "description": SECRET})
        finally:
            log.removeHandler(keep)
        assert answer.status == 500
        assert SECRET not in answer.text
        [line] = [record for record in records if "request failed" in record]
        entry = json.loads(line)
        assert entry["correlation_id"] == REQUEST_ID
        assert entry["error"] == "RuntimeError"
        assert any("test_personalities_api.py" in place for place in entry["where"])
        assert SECRET not in "".join(records)
        assert SECRET not in caplog.text


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_FIELDS = ("provider", "fallback_chain", "sample_path", "language", "speed", "pitch", "quality")
_NEARLY = st.fixed_dictionaries(
    {"name": _JSON | st.text(max_size=90)},
    optional={
        "id": _JSON | st.from_regex(r"[a-z0-9-]{1,64}"),
        "description": _JSON,
        "voice_config": _JSON | st.dictionaries(st.sampled_from(_FIELDS), _JSON),
        "traits": _JSON | st.dictionaries(st.sampled_from(("warmth", "words")), _JSON),
        "system_prompt": st.text(alphabet="{}names!:[.]", max_size=12),
        "phrases": st.lists(st.text(max_size=4), max_size=4),
        "lexicon": _JSON | st.dictionaries(st.sampled_from(("en", "EN", "fr")), _JSON),
    },
)


class TestAnything:
    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=300)
    @given(_JSON | _NEARLY)
    def test_no_json_breaks_it(self, body: object) -> None:
        client = Client()
        answer = client.post(body)
        assert answer.status in (201, 400, 422)
        if answer.status == 201:
            assert client.get(f"/{answer.json['id']}").json == answer.json

    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=300)
    @given(_JSON | _NEARLY)
    def test_no_patch_breaks_it(self, patch: object) -> None:
        client = Client()
        before = client.post(TestCharacter.WHOLE)
        answer = client.patch("/marcel", patch)
        assert answer.status in (200, 400, 422)
        after = client.get("/marcel")
        assert after.json == (answer.json if answer.status == 200 else before.json)

    @settings(deadline=None)
    @given(st.binary(max_size=200) | st.text(max_size=200))
    def test_no_bytes_break_it(self, body: bytes | str) -> None:
        assert Client().send("POST", "/api/personalities", body=body).status in (400, 422)
