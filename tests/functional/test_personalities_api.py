"""The personalities API: who may call it, and what it says to everything else."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.events import REQUEST_ID
from fakes.personality_client import OTHER, ROUTES, SHOP, WHOLE, Client
from voice_gateway.observability import logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voice_gateway.domain.personality import Personality

SECRET = "das-sagt-niemand"


@pytest.fixture
def client() -> Client:
    return Client()


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
        before = client.post(WHOLE)
        answer = client.patch("/marcel", patch)
        assert answer.status in (200, 400, 422)
        after = client.get("/marcel")
        assert after.json == (answer.json if answer.status == 200 else before.json)

    @settings(deadline=None)
    @given(st.binary(max_size=200) | st.text(max_size=200))
    def test_no_bytes_break_it(self, body: bytes | str) -> None:
        assert Client().send("POST", "/api/personalities", body=body).status in (400, 422)
