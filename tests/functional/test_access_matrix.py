"""Every route of template.yaml, tried by everybody who may not: all denied, nothing told.

The routes come from the template; what each asks for is declared here, so that a route that nobody
declared fails the first test.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

import layout
import template
from fakes.api_keys import FakeApiKeys
from fakes.authorizations import RecordingAuthorizations
from fakes.budgets import FakeBudgets
from fakes.clock import FakeClock
from fakes.events import REQUEST_ID, authorizer_event, lambda_context, rest_event
from fakes.issuer import (
    AUDIENCE,
    ISSUER,
    JWKS_URL,
    FakeIssuer,
    expired_token,
    token,
    unsigned_token,
)
from fakes.providers import ScriptedProvider
from fakes.receipts import FakeReceipts
from fakes.routing import routed
from fakes.sample_house import SampleHouse, good_recording
from fakes.speaking import speech_service
from fakes.usage import FakeUsage
from fakes.voice_matches import FakeVoiceMatches
from voice_gateway.adapters.jwt_verifier import JwtVerifier, RemoteKeySet
from voice_gateway.adapters.system_clock import SystemClock
from voice_gateway.domain.access import ROLE_SCOPES, ApiKey, Role, Scope
from voice_gateway.domain.personality import Character, VoiceConfig
from voice_gateway.handlers import account, costs, personalities, speech, voice_samples
from voice_gateway.handlers.authorizer import authorize
from voice_gateway.handlers.rest import serve
from voice_gateway.providers.registry import ProviderRegistry
from voice_gateway.services.api_keys import ApiKeyService
from voice_gateway.services.authorization import AuthorizationService, hash_key, mint_key
from voice_gateway.services.budgets import BudgetService
from voice_gateway.services.chosen_samples import ChosenSamples
from voice_gateway.services.costs import CostService
from voice_gateway.services.personalities import PersonalityService
from voice_gateway.services.quota import CharacterQuota
from voice_gateway.services.usage import UsageService
from voice_gateway.services.voice_consents import ConsentStatement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECRET: Final = "nobody-elses-business"
"""Stands in everything that the shop owns."""
DEPLOYMENT: Final = template.deployment(template.translate(), layout.template_parameters(), {})
ROUTES: Final = {(r.method, r.path): r.function for r in DEPLOYMENT.api.routes if r.function}


@dataclass(frozen=True, slots=True)
class Access:
    """What a route asks for.

    Attributes:
        scope: The right to use it.
        body: A good one.
        names: The shop's thing that the request names, in the path or in the body; whoever does
            not own it is told that there is none.
    """

    scope: Scope
    body: Mapping[str, Any] | bytes | None = None
    names: str | None = None


_READ, _WRITE = Scope.PERSONALITIES_READ, Scope.PERSONALITIES_WRITE
_ONE = "/api/personalities/{personality_id}"
ACCESS: Final[Mapping[tuple[str, str], Access]] = {
    ("GET", "/api/personalities"): Access(_READ),
    ("POST", "/api/personalities"): Access(_WRITE, {"name": "New"}),
    ("GET", _ONE): Access(_READ, names="marcel"),
    ("PUT", _ONE): Access(_WRITE, {"name": "Marcel"}, names="marcel"),
    ("PATCH", _ONE): Access(_WRITE, {"greeting": "Yo."}, names="marcel"),
    ("DELETE", _ONE): Access(_WRITE, names="marcel"),
    ("GET", f"{_ONE}/voice"): Access(_READ, names="marcel"),
    ("PUT", f"{_ONE}/voice"): Access(_WRITE, {"quality": "fast"}, names="marcel"),
    ("POST", f"{_ONE}/voice"): Access(_WRITE, good_recording(), names="marcel"),
    ("DELETE", f"{_ONE}/voice"): Access(_WRITE, names="marcel"),
    ("POST", f"{_ONE}/voice/uploads"): Access(_WRITE, names="marcel"),
    ("PUT", f"{_ONE}/voice/sample"): Access(_WRITE, {"id": "{sample}"}, names="marcel"),
    ("GET", f"{_ONE}/voice/consent"): Access(_READ, names="marcel"),
    ("POST", f"{_ONE}/voice/consent"): Access(
        _WRITE,
        {"speaker": "Zoé", "attested_by": "Max", "sample_id": "{sample}"},
        names="marcel",
    ),
    ("DELETE", f"{_ONE}/voice/consent"): Access(Scope.CONSENT_REVOKE, names="marcel"),
    ("GET", f"{_ONE}/samples"): Access(_READ, names="marcel"),
    ("GET", f"{_ONE}/samples/{{sample_id}}"): Access(_READ, names="sample"),
    ("DELETE", f"{_ONE}/samples/{{sample_id}}"): Access(_WRITE, names="sample"),
    ("GET", "/api/consent-texts"): Access(_READ),
    ("GET", f"{_ONE}/versions"): Access(_READ, names="marcel"),
    ("POST", f"{_ONE}/restore"): Access(_WRITE, names="marcel"),
    ("POST", "/api/speech"): Access(
        Scope.SPEECH_WRITE, {"text": "Hi.", "personality": "marcel"}, names="marcel"
    ),
    ("POST", "/api/speech/estimate"): Access(
        Scope.SPEECH_READ, {"text": "Hi.", "personality": "marcel"}, names="marcel"
    ),
    ("POST", f"{_ONE}/voice/match"): Access(_WRITE, names="marcel"),
    ("GET", "/api/providers"): Access(Scope.SPEECH_READ),
    ("DELETE", "/api/cache"): Access(Scope.CACHE_PURGE),
    ("GET", "/api/receipts/{request_id}"): Access(Scope.SPEECH_READ, names="receipt"),
    ("GET", "/api/costs"): Access(Scope.COSTS_READ),
    ("GET", "/api/stats"): Access(Scope.COSTS_READ),
    ("GET", "/api/budget"): Access(Scope.COSTS_READ),
    ("PUT", "/api/budget"): Access(Scope.COSTS_WRITE, {"monthly_usd": 10}),
    ("GET", "/api/usage"): Access(Scope.USAGE_READ),
    ("GET", "/api/keys"): Access(Scope.KEYS_READ),
    ("POST", "/api/keys"): Access(Scope.KEYS_WRITE, {"name": "till", "scopes": ["speech:read"]}),
    ("DELETE", "/api/keys/{key_id}"): Access(Scope.KEYS_WRITE, names="key"),
    ("POST", "/api/keys/{key_id}/rotate"): Access(Scope.KEYS_WRITE, names="key"),
}
CHANGES_NOTHING: Final = {("POST", "/api/speech/estimate")}
"""Questions that are too long for a URL."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def without_its_name(self, request_id: str = REQUEST_ID) -> bytes:
        """The body, without the id that every request has of its own."""
        return self.body.replace(request_id.encode(), b"")


@dataclass
class House:
    """Every function, in memory, behind the authorizer; with what the shop owns."""

    clock: FakeClock = field(default_factory=FakeClock)
    keys: FakeApiKeys = field(default_factory=FakeApiKeys)
    invoked: list[str] = field(default_factory=list)
    """The functions that got to see a request."""

    def __post_init__(self) -> None:
        samples = SampleHouse(clock=self.clock, personality_id=None)
        tenants, stored = samples.tenants, samples.repository
        usage = FakeUsage(stored.stock)
        service = PersonalityService(stored, self.clock, tenants=tenants)
        marcel = Character(
            name=f"Marcel {SECRET}",
            voice_config=VoiceConfig.model_validate({"quality": "medium"}),
        )
        service.create("shop", marcel, personality_id="marcel")
        keys = ApiKeyService(self.keys, self.clock)
        receipts = FakeReceipts(self.clock)
        budgets = BudgetService(FakeBudgets(), receipts, self.clock)
        self._rest = {
            "PersonalitiesFunction": personalities.create_app(
                service, ChosenSamples(samples.samples), FakeVoiceMatches()
            ),
            "SamplesFunction": voice_samples.create_app(samples.api, samples.consents),
            "AccountFunction": account.create_app(keys, UsageService(tenants, usage, self.clock)),
            "CostsFunction": costs.create_app(CostService(receipts, receipts, budgets, self.clock)),
        }
        piper = ScriptedProvider("piper")
        registry = ProviderRegistry({"piper": lambda: piper, "espeak": lambda: piper})
        self._speech = speech_service(
            stored,
            registry,
            routed(registry, SystemClock()),
            SystemClock(),
            receipts=receipts,
            budgets=budgets,
            samples=ChosenSamples(samples.samples),
            quota=CharacterQuota(tenants, usage, self.clock),
        )
        observer = RecordingAuthorizations()
        issuer = RemoteKeySet(JWKS_URL, self.clock, observer, FakeIssuer().fetch)
        self._authorization = AuthorizationService(
            self.keys,
            self.clock,
            observer,
            tokens=JwtVerifier(issuer=ISSUER, audience=AUDIENCE, keys=issuer),
        )
        self.own_key = self.key("shop")
        self.things = {
            "marcel": "marcel",
            "key": keys.create("shop", name=SECRET, scopes=["speech:read"], held=Scope)[0].id,
            "sample": samples.validated(activate=False).id,
        }
        agreed = ConsentStatement(
            speaker=SECRET, attested_by="Max", by="key-1", sample_id=samples.validated().id
        )
        samples.consents.give("shop", "marcel", agreed)
        spoken = self.ask(
            ("POST", "/api/speech"),
            f"Bearer {self.own_key}",
            body={"text": "Hi.", "personality": "marcel"},
        )
        assert spoken.status == 200
        self.things["receipt"] = spoken.headers["x-request-id"]

    def key(self, tenant_id: str, scopes: frozenset[str] = frozenset(Scope), **more: Any) -> str:
        """A new key."""
        key = mint_key(tenant_id)
        made = {"tenant_id": tenant_id, "key_hash": hash_key(key), "scopes": scopes}
        self.keys.create(ApiKey(**made, created_at=self.clock.now(), **more))
        return key

    def send(
        self, route: tuple[str, str], authorization: str | None, *, absent: bool = False
    ) -> Answer:
        """Uses a route as it is meant to be used.

        Args:
            route: Its method and path.
            authorization: The header.
            absent: Name a thing that nobody has.
        """
        access = ACCESS[route]
        thing = "0" * 12 if absent else self.things.get(access.names or "", "")
        body = access.body
        if isinstance(body, dict) and "personality" in body:
            body = {**body, "personality": thing}
        if isinstance(body, dict):
            sample = self.things.get("sample", "")
            body = {k: sample if v == "{sample}" else v for k, v in body.items()}
        return self.ask(route, authorization, thing=thing, body=body)

    def ask(
        self,
        route: tuple[str, str],
        authorization: str | None,
        *,
        thing: str = "",
        body: Mapping[str, Any] | bytes | None = None,
    ) -> Answer:
        """What API Gateway does: asks the authorizer, then the function."""
        method, path = route
        # The last name in the path is the thing's; what stands before it is the shop's own.
        here = re.sub(r"\{(?!.*\{)\w+\}", thing, path).replace("{personality_id}", "marcel")
        headers = {} if authorization is None else {"Authorization": authorization}
        if not authorization:
            return Answer(401, {}, b"")  # API Gateway asks nobody
        try:
            policy = authorize(
                self._authorization, authorizer_event(headers, method=method, path=here)
            )
        except Exception as error:
            assert str(error) == "Unauthorized"
            return Answer(401, {}, b"")
        function = ROUTES[route] or ""
        self.invoked.append(function)
        if function == "SpeechFunction":
            return asyncio.run(self._stream(method, here, policy["context"], body))
        text = json.dumps(body) if isinstance(body, dict) else body
        event = rest_event(method, here, body=text, authorizer=policy["context"], headers=headers)
        answer = serve(self._rest[function], event, lambda_context())
        told = {k.lower(): v[0] for k, v in answer["multiValueHeaders"].items()}
        return Answer(answer["statusCode"], told, answer["body"].encode())

    async def _stream(
        self,
        method: str,
        path: str,
        found: Mapping[str, str],
        body: Mapping[str, Any] | bytes | None,
    ) -> Answer:
        context = {"requestId": REQUEST_ID, "authorizer": found}
        app = speech.create_app(self._speech)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://voice"
            ) as client,
        ):
            answer = await client.request(
                method, path, json=body, headers={"x-amzn-request-context": json.dumps(context)}
            )
        return Answer(answer.status_code, dict(answer.headers), answer.content)


STRANGERS: Final[Mapping[str, Callable[[House], str | None]]] = {
    "no key": lambda _: None,
    "an empty header": lambda _: "",
    "no scheme": lambda house: house.own_key,
    "another scheme": lambda house: f"Basic {house.own_key}",
    "a malformed key": lambda house: f"Bearer {house.own_key[:-30]}",
    "a key that nobody made": lambda _: f"Bearer {mint_key('shop')}",
    "a key that claims another tenant": lambda house: (
        f"Bearer {house.key('other').replace('pv_other_', 'pv_shop_')}"
    ),
    "the key's hash": lambda house: f"Bearer pv_shop_{hash_key(house.own_key)}",
    "a revoked key": lambda house: f"Bearer {house.key('shop', revoked_at=house.clock.now())}",
    "an expired key": lambda house: f"Bearer {house.key('shop', expires_at=house.clock.now())}",
    "an expired token": lambda _: f"Bearer {expired_token()}",
    "a token for another audience": lambda _: f"Bearer {token(aud='other')}",
    "a token of another issuer": lambda _: f"Bearer {token(iss='https://other.example')}",
    "an unsigned token": lambda _: f"Bearer {unsigned_token()}",
    "a spoilt token": lambda _: f"Bearer {token()[:-6]}AAAAAA",
    "a token without a tenant": lambda _: f"Bearer {token(tenant=None)}",
    "a token for an impossible tenant": lambda _: f"Bearer {token(tenant='shop#x')}",
    "a token for many tenants": lambda _: f"Bearer {token(tenant=['shop'])}",
}


@pytest.fixture
def house() -> House:
    made = House()
    made.invoked.clear()
    return made


each_route = pytest.mark.parametrize("route", ROUTES, ids=" ".join)


def test_every_route_has_its_expectation() -> None:
    assert set(ROUTES) == set(ACCESS)


@each_route
def test_whoever_may_gets_in(route: tuple[str, str]) -> None:
    house = House()
    assert house.send(route, f"Bearer {house.own_key}").status < 300
    assert House().send(route, f"Bearer {token(role='admin')}").status < 300


@each_route
@pytest.mark.parametrize("stranger", STRANGERS)
def test_strangers_reach_no_function(house: House, route: tuple[str, str], stranger: str) -> None:
    assert house.send(route, STRANGERS[stranger](house)).status == 401
    assert house.invoked == []


@each_route
def test_without_the_scope_nobody_gets_in(house: House, route: tuple[str, str]) -> None:
    scopes = frozenset(Scope) - {ACCESS[route].scope}
    key, none = house.key("shop", scopes), house.key("shop", frozenset())
    for authorization in (key, none, token(role=None), token(role="owner"), token(role=7)):
        there = house.send(route, f"Bearer {authorization}")
        nowhere = house.send(route, f"Bearer {authorization}", absent=True)
        assert there.status == 403
        assert there.headers["content-type"] == "application/problem+json"
        # Nor is anybody told whether it would have been there.
        assert there.body == nowhere.body
        assert SECRET.encode() not in there.body


@each_route
@pytest.mark.parametrize("role", Role)
def test_a_role_may_what_its_scopes_say(house: House, route: tuple[str, str], role: Role) -> None:
    answer = house.send(route, f"Bearer {token(role=role.value)}")
    allowed = ACCESS[route].scope in ROLE_SCOPES[role]
    assert (answer.status < 300) if allowed else (answer.status == 403)
    if role is Role.VIEWER:
        assert not allowed or route[0] == "GET" or route in CHANGES_NOTHING


@each_route
@pytest.mark.parametrize("how", ["key", "token"])
def test_another_tenants_things_are_not_there(
    house: House, route: tuple[str, str], how: str
) -> None:
    credential = house.key("other") if how == "key" else token(tenant="other")
    answer = house.send(route, f"Bearer {credential}")
    assert SECRET.encode() not in answer.body
    assert b"shop" not in answer.body
    if ACCESS[route].names is None:
        # Their own list, or a new thing of their own.
        assert answer.status < 300
        return
    nowhere = house.send(route, f"Bearer {credential}", absent=True)
    assert (answer.status, nowhere.status) == (404, 404)
    assert answer.headers == nowhere.headers
    assert answer.without_its_name() == nowhere.without_its_name()
    # And the shop's are as they were.
    assert house.send(route, f"Bearer {house.own_key}").status < 300
