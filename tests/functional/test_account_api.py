"""Keys and usage, from API Gateway's event to its answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from fakes.api_keys import FakeApiKeys
from fakes.authorizations import RecordingAuthorizations
from fakes.clock import FakeClock
from fakes.events import authorizer_event, lambda_context, rest_event
from fakes.personalities import FakePersonalities
from fakes.samples import FakeSamples
from fakes.tenants import FakeTenants
from fakes.usage import FakeUsage
from fakes.voice_matches import FakeVoiceMatches
from voice_gateway.domain.access import ROLE_SCOPES, Role, Scope
from voice_gateway.domain.personality import Character
from voice_gateway.domain.tiers import Allowance, Overrides, Plan, Tier
from voice_gateway.handlers.account import create_app
from voice_gateway.handlers.authorizer import authorize
from voice_gateway.handlers.personalities import create_app as create_personalities_app
from voice_gateway.handlers.rest import serve
from voice_gateway.services.api_keys import ApiKeyService
from voice_gateway.services.authorization import AuthorizationService, hash_key
from voice_gateway.services.chosen_samples import ChosenSamples
from voice_gateway.services.personalities import PersonalityService
from voice_gateway.services.usage import UsageService

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
ADMIN = {"tenant": "shop", "scopes": " ".join(Scope), "key_id": "0" * 12}
OTHER = {**ADMIN, "tenant": "other"}
DAY = 86_400


class Answer:
    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.status = int(raw["statusCode"])
        self.headers = {k.lower(): v[0] for k, v in raw["multiValueHeaders"].items()}
        self.json: Any = json.loads(raw["body"])
        problem = self.headers["content-type"] == "application/problem+json"
        assert problem == (self.status >= 400)

    @property
    def fields(self) -> list[str]:
        return [error["field"] for error in self.json.get("errors", ())]


class Client:
    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.keys = FakeApiKeys()
        self.tenants = FakeTenants()
        self.personalities = FakePersonalities(clock=self.clock)
        self.usage = FakeUsage(self.personalities.stock)
        self.observer = RecordingAuthorizations()
        self._app = create_app(
            ApiKeyService(self.keys, self.clock, sleep=lambda _: None),
            UsageService(self.tenants, self.usage, self.clock),
        )
        self.authorization = AuthorizationService(self.keys, self.clock, self.observer)

    def send(
        self,
        method: str,
        url: str,
        body: object = None,
        authorizer: Mapping[str, object] | None = ADMIN,
    ) -> Answer:
        text = None if body is None else json.dumps(body)
        event = rest_event(method, url, body=text, authorizer=authorizer)
        return Answer(serve(self._app, event, lambda_context()))

    def create(self, **changes: Any) -> dict[str, Any]:
        body = {"name": "till", "scopes": ["speech:write"], **changes}
        answer = self.send("POST", "/api/keys", body)
        assert answer.status == 201
        made: dict[str, Any] = answer.json
        return made

    def opens(self, key: str) -> bool:
        return self.authorization.identify(f"Bearer {key}") is not None


@pytest.fixture
def client() -> Client:
    return Client()


class TestKeys:
    def test_a_new_key_is_shown_once_and_opens_what_it_should(self, client: Client) -> None:
        made = client.create(name=" Kasse 1 ", scopes=["speech:write", "speech:read"])
        assert made["name"] == "Kasse 1"
        assert made["scopes"] == ["speech:read", "speech:write"]
        assert made["id"] == hash_key(made["key"])[:12]
        event = authorizer_event({"authorization": f"Bearer {made['key']}"})
        context = authorize(client.authorization, event)["context"]
        assert context == {
            "tenant": "shop",
            "scopes": "speech:read speech:write",
            "key_id": made["id"],
        }
        listed = client.send("GET", "/api/keys")
        assert [key["id"] for key in listed.json["keys"]] == [made["id"]]
        assert made["key"] not in json.dumps(listed.json)
        assert hash_key(made["key"]) not in json.dumps(listed.json)

    def test_what_is_secret_is_not_kept_on_the_way(self, client: Client) -> None:
        body = {"name": "till", "scopes": ["speech:write"]}
        answer = client.send("POST", "/api/keys", body)
        assert answer.headers["cache-control"] == "no-store"

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": "   "}, "name"),
            ({"name": "x" * 81}, "name"),
            ({"name": "a\nb"}, "name"),
            ({"name": None}, "name"),
            ({"scopes": []}, "scopes"),
            ({"scopes": ["everything"]}, "scopes.0"),
            ({"scopes": "speech:write"}, "scopes"),
            ({"scopes": None}, "scopes"),
            ({"expires_at": "2026-03-01T09:00:00Z"}, "expires_at"),
            ({"expires_at": "2027-01-01T00:00:00"}, "expires_at"),
            ({"expires_at": "soon"}, "expires_at"),
            ({"expires_at": 4_000_000_000}, "expires_at"),
            ({"key": "pv_shop_mine"}, "key"),
        ],
    )
    def test_refuses_what_can_be_no_key(
        self, client: Client, change: dict[str, Any], field: str
    ) -> None:
        body = {"name": "till", "scopes": ["speech:write"], **change}
        answer = client.send("POST", "/api/keys", body)
        assert answer.status == 422
        assert answer.fields[0].startswith(field.partition(".")[0])
        assert client.send("GET", "/api/keys").json["keys"] == []

    def test_nobody_hands_on_what_they_do_not_have(self, client: Client) -> None:
        little = {**ADMIN, "scopes": "keys:write speech:read"}
        body = {"name": "more", "scopes": ["speech:read", "personalities:write"]}
        answer = client.send("POST", "/api/keys", body, authorizer=little)
        assert (answer.status, answer.fields) == (403, ["scopes"])
        strong = client.create(scopes=["personalities:write"])
        rotated = client.send("POST", f"/api/keys/{strong['id']}/rotate", authorizer=little)
        assert rotated.status == 403
        assert client.opens(strong["key"])

    def test_a_key_ends(self, client: Client) -> None:
        made = client.create(expires_at="2026-03-01T10:00:00+00:00")
        client.clock.advance(3599)
        assert client.opens(made["key"])
        client.clock.advance(1)
        assert not client.opens(made["key"])

    def test_a_revoked_key_opens_nothing_from_then_on(self, client: Client) -> None:
        made = client.create()
        revoked = client.send("DELETE", f"/api/keys/{made['id']}")
        assert (revoked.status, revoked.json["revoked_at"]) == (200, "2026-03-01T09:00:00Z")
        assert not client.opens(made["key"])
        client.clock.advance(60)
        again = client.send("DELETE", f"/api/keys/{made['id']}")
        assert (again.status, again.json) == (200, revoked.json)

    def test_a_replaced_key_is_good_for_a_day(self, client: Client) -> None:
        old = client.create(name="till", scopes=["speech:read", "speech:write"])
        new = client.send("POST", f"/api/keys/{old['id']}/rotate")
        assert new.status == 201
        assert new.json["key"] != old["key"]
        for name in ("name", "scopes", "expires_at"):
            assert new.json[name] == old[name]
        assert client.opens(old["key"])
        assert client.opens(new.json["key"])
        client.clock.advance(DAY)
        assert not client.opens(old["key"])
        assert client.opens(new.json["key"])
        shown = {key["id"]: key for key in client.send("GET", "/api/keys").json["keys"]}
        assert shown[old["id"]]["replaced_by"] == new.json["id"]

    @pytest.mark.parametrize("grace", [0, 1, 7 * DAY])
    def test_the_grace_is_the_callers_choice(self, client: Client, grace: int) -> None:
        old = client.create()
        body = {"grace_seconds": grace}
        assert client.send("POST", f"/api/keys/{old['id']}/rotate", body).status == 201
        if grace:
            client.clock.advance(grace - 1)
            assert client.opens(old["key"])
            client.clock.advance(1)
        assert not client.opens(old["key"])

    @pytest.mark.parametrize("grace", [-1, 7 * DAY + 1, 1.5, "1", None])
    def test_the_grace_has_bounds(self, client: Client, grace: object) -> None:
        old = client.create()
        answer = client.send("POST", f"/api/keys/{old['id']}/rotate", {"grace_seconds": grace})
        assert (answer.status, answer.fields) == (422, ["grace_seconds"])

    def test_a_rotation_makes_no_life_longer(self, client: Client) -> None:
        old = client.create(expires_at=(NOW + timedelta(hours=2)).isoformat())
        client.clock.advance(3600)
        new = client.send("POST", f"/api/keys/{old['id']}/rotate", {"grace_seconds": 7 * DAY})
        # The old one ends when it would have; the new one lives as long as the old one was given.
        assert new.json["expires_at"] == "2026-03-01T12:00:00Z"
        client.clock.advance(3600)
        assert not client.opens(old["key"])
        assert client.opens(new.json["key"])

    @pytest.mark.parametrize("how", ["revoked", "replaced", "ended"])
    def test_a_dead_key_has_no_successor(self, client: Client, how: str) -> None:
        old = client.create(expires_at=(NOW + timedelta(hours=2)).isoformat())
        match how:
            case "revoked":
                client.send("DELETE", f"/api/keys/{old['id']}")
            case "replaced":
                client.send("POST", f"/api/keys/{old['id']}/rotate")
            case _:
                client.clock.advance(2 * 3600)
        assert client.send("POST", f"/api/keys/{old['id']}/rotate").status == 409

    @pytest.mark.parametrize(
        "odd", ["0" * 12, "x", "0" * 64, "KEY%23", "%00", "..", "0" * 11 + "A"]
    )
    def test_there_is_no_other_key(self, client: Client, odd: str) -> None:
        client.create()
        assert client.send("DELETE", f"/api/keys/{odd}").status == 404
        assert client.send("POST", f"/api/keys/{odd}/rotate").status == 404

    def test_lists_in_pages(self, client: Client) -> None:
        made = sorted(client.create()["id"] for _ in range(3))
        first = client.send("GET", "/api/keys?limit=2").json
        rest = client.send("GET", f"/api/keys?limit=2&cursor={first['next_cursor']}").json
        assert [key["id"] for key in (*first["keys"], *rest["keys"])] == made
        assert rest["next_cursor"] is None
        stolen = client.send("GET", f"/api/keys?cursor={first['next_cursor']}", authorizer=OTHER)
        assert (stolen.status, stolen.fields) == (422, ["cursor"])

    def test_when_it_was_used_is_noted_once_an_hour(self, client: Client) -> None:
        made = client.create()

        def last_used() -> str | None:
            (key,) = client.send("GET", "/api/keys").json["keys"]
            used: str | None = key["last_used_at"]
            return used

        assert last_used() is None
        client.opens(made["key"])
        client.clock.advance(3599)
        client.opens(made["key"])
        assert last_used() == "2026-03-01T09:00:00Z"
        client.clock.advance(1)
        client.opens(made["key"])
        assert last_used() == "2026-03-01T10:00:00Z"

    def test_a_use_that_cannot_be_noted_still_counts(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = client.create()
        note = client.keys.note_use

        def fails(*args: Any) -> None:
            client.keys.broken = True
            try:
                note(*args)
            finally:
                client.keys.broken = False

        monkeypatch.setattr(client.keys, "note_use", fails)
        assert client.opens(made["key"])
        assert client.observer.not_noted == [made["id"]]


class TestUsage:
    def test_tells_the_tier_its_limits_and_what_is_used(self, client: Client) -> None:
        client.tenants.put("shop", Plan(tier=Tier.BASIC, overrides=Overrides(characters=1000)))
        service = PersonalityService(client.personalities, client.clock, tenants=client.tenants)
        service.create("shop", Character(name="Ida"))
        service.create("shop", Character(name="Marcel"), counted=False)
        client.usage.take("shop", "2026-03", Allowance.CHARACTERS, 400, limit=1000)
        client.usage.take("shop", "2026-02", Allowance.CHARACTERS, 999, limit=1000)
        client.usage.take("shop", "2026-03", Allowance.TRIAL_CHARACTERS, 7, limit=1000)
        resets_at = "2026-04-01T00:00:00Z"
        assert client.send("GET", "/api/usage").json == {
            "tier": "basic",
            "personalities": {"limit": 10, "usage": 1},
            "samples": {"limit": 5, "usage": 0},
            "characters": {"limit": 1000, "usage": 400, "resets_at": resets_at},
            "trial_characters": {"limit": 20_000, "usage": 7, "resets_at": resets_at},
            "concurrent_jobs": 2,
            "cloning": True,
        }

    def test_of_a_tenant_nobody_knows_tells_the_free_tier(self, client: Client) -> None:
        answer = client.send("GET", "/api/usage", authorizer=OTHER).json
        assert (answer["tier"], answer["characters"]["usage"]) == ("free", 0)

    def test_over_the_limit_the_refusal_tells_the_same(self, client: Client) -> None:
        service = PersonalityService(client.personalities, client.clock, tenants=client.tenants)
        app = create_personalities_app(service, ChosenSamples(FakeSamples()), FakeVoiceMatches())

        def create(number: int) -> Answer:
            body = json.dumps({"name": f"P {number}"})
            event = rest_event("POST", "/api/personalities", body=body, authorizer=ADMIN)
            return Answer(serve(app, event, lambda_context()))

        assert [create(number).status for number in range(4)] == [201, 201, 201, 402]
        refused = create(5).json
        assert {name: refused[name] for name in ("tier", "limit", "usage", "resets_at")} == {
            "tier": "free",
            "limit": 3,
            "usage": 3,
            "resets_at": None,
        }
        usage = client.send("GET", "/api/usage").json["personalities"]
        assert usage == {"limit": 3, "usage": 3}


def test_every_role_may_what_the_one_below_may() -> None:
    viewer, editor, admin = (ROLE_SCOPES[role] for role in Role)
    assert viewer < editor < admin == set(Scope)
    assert all(scope.endswith(":read") for scope in viewer)
