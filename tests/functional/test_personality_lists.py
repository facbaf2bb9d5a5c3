"""The personalities API: pages of them, and of one's history."""

from __future__ import annotations

import pytest

from fakes.personality_client import OTHER, Client


@pytest.fixture
def client() -> Client:
    return Client()


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
