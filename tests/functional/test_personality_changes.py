"""The personalities API: one of them, from its reading to its end."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

import pytest

from fakes.personality_client import BAD_CHARACTERS, NOW, OTHER, ROUTES, WHOLE, Client
from voice_gateway.domain.personality import Personality

SECRET = "das-sagt-niemand"


@pytest.fixture
def client() -> Client:
    return Client()


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


class TestReplace:
    def test_what_is_left_out_is_as_if_it_never_was(self, client: Client) -> None:
        client.post(WHOLE)
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
        before = client.post(WHOLE).json
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
        before = client.post(WHOLE).json
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
