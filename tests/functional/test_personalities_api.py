"""The personalities API, from API Gateway's event to its answer."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.clock import FakeClock
from fakes.events import REQUEST_ID, lambda_context, rest_event
from fakes.personalities import FakePersonalities
from voice_gateway.domain.limits import MAX_BODY_BYTES
from voice_gateway.domain.personality import Personality
from voice_gateway.handlers.personalities import create_app
from voice_gateway.handlers.rest import serve
from voice_gateway.observability import logger
from voice_gateway.services.personalities import PersonalityService

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)
SHOP = {"tenant": "shop", "scopes": "personalities:read personalities:write", "key_id": "0" * 12}
OTHER = {**SHOP, "tenant": "other"}
SECRET = "das-sagt-niemand"


class Answer:
    """An answer, read the way a client reads it, and held to what every answer promises."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.status = int(raw["statusCode"])
        self.headers = {k.lower(): v[0] for k, v in raw["multiValueHeaders"].items()}
        self.text = str(raw["body"])
        self.json: Any = json.loads(self.text)
        assert self.headers["x-request-id"] == REQUEST_ID
        assert self.headers["access-control-allow-origin"] == "*"
        assert "location" in self.headers["access-control-expose-headers"]
        assert "Traceback" not in self.text
        assert '.py"' not in self.text
        if self.status >= 400:
            assert self.headers["content-type"] == "application/problem+json"
            assert self.json["status"] == self.status
            assert self.json["request_id"] == REQUEST_ID
        else:
            assert self.headers["content-type"] == "application/json"

    @property
    def fields(self) -> list[str]:
        return [error["field"] for error in self.json.get("errors", ())]


class Client:
    def __init__(self) -> None:
        self.repository = FakePersonalities()
        self._app = create_app(PersonalityService(self.repository, FakeClock(NOW)))

    def send(
        self,
        method: str,
        url: str,
        *,
        body: str | bytes | None = None,
        authorizer: Mapping[str, object] | None = SHOP,
    ) -> Answer:
        event = rest_event(method, url, body=body, authorizer=authorizer)
        return Answer(serve(self._app, event, lambda_context()))

    def post(self, body: object, **kwargs: Any) -> Answer:
        return self.send("POST", "/api/personalities", body=json.dumps(body), **kwargs)

    def get(self, path: str = "", **kwargs: Any) -> Answer:
        return self.send("GET", f"/api/personalities{path}", **kwargs)


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
            "speed": 1.1,
            "pitch": -0.5,
            "quality": "highest",
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
        app = create_app(PersonalityService(FakePersonalities(), FakeClock()))
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
        def unreadable(tenant_id: str, personality_id: str) -> Personality:
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


class TestWhoMayCall:
    @pytest.mark.parametrize("authorizer", [None, {}, {"tenant": ""}, {"scopes": SHOP["scopes"]}])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_nobody_is_not_signed_in(
        self, client: Client, method: str, authorizer: Mapping[str, object] | None
    ) -> None:
        answer = client.send(method, "/api/personalities", body="{", authorizer=authorizer)
        assert answer.status == 401

    @pytest.mark.parametrize(
        ("method", "path", "scopes"),
        [
            ("GET", "", "personalities:write"),
            ("GET", "/marcel", "speech:read"),
            ("GET", "", ""),
            ("GET", "", "personalities:readonly"),
            ("POST", "", "personalities:read"),
        ],
    )
    def test_a_key_without_the_scope_may_not(
        self, client: Client, method: str, path: str, scopes: str
    ) -> None:
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

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
    def test_other_methods_are_told_which_there_are(self, client: Client, method: str) -> None:
        answer = client.send(method, "/api/personalities")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")
        answer = client.send(method, "/api/personalities/marcel")
        assert (answer.status, answer.headers["allow"]) == (405, "GET")


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
        def explode(personality: Personality) -> None:
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

    @settings(deadline=None)
    @given(st.binary(max_size=200) | st.text(max_size=200))
    def test_no_bytes_break_it(self, body: bytes | str) -> None:
        assert Client().send("POST", "/api/personalities", body=body).status in (400, 422)
