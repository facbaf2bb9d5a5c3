"""A client of the personalities API, over fakes, that holds every answer to its promises."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from fakes.clock import FakeClock
from fakes.events import REQUEST_ID, lambda_context, rest_event
from fakes.personalities import FakePersonalities
from fakes.samples import FakeSamples
from fakes.tenants import FakeTenants
from fakes.voice_matches import FakeVoiceMatches
from voice_gateway.domain.tiers import Plan, Tier
from voice_gateway.handlers.personalities import create_app
from voice_gateway.handlers.rest import serve
from voice_gateway.services.chosen_samples import ChosenSamples
from voice_gateway.services.personalities import PersonalityService

if TYPE_CHECKING:
    from collections.abc import Mapping


NOW: Final = datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)
SHOP: Final = {
    "tenant": "shop",
    "scopes": "personalities:read personalities:write",
    "key_id": "0" * 12,
}
OTHER: Final = {**SHOP, "tenant": "other"}
ROUTES: Final = [
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
"""Methods, and paths below `/api/personalities`."""
WHOLE: Final[dict[str, Any]] = {
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
BAD_CHARACTERS: Final[list[tuple[dict[str, object], str]]] = [
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
        self.json: Any = json.loads(self.text or "null")
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
    """Sends what API Gateway would, over services on fakes."""

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
