from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.warnings import InsecureKeyLengthWarning

from fakes.authorizations import RecordingAuthorizations
from fakes.clock import FakeClock
from fakes.issuer import (
    AUDIENCE,
    ISSUER,
    JWKS_URL,
    FakeIssuer,
    claims,
    elliptic_key,
    expired_token,
    published,
    rsa_key,
    token,
    unsigned_token,
)
from voice_gateway.adapters.jwt_verifier import (
    FETCH_PAUSE_SECONDS,
    KEYS_KEPT_SECONDS,
    KEYS_LAST_SECONDS,
    JwtVerifier,
    RemoteKeySet,
)
from voice_gateway.domain.errors import KeySetUnavailableError


class Gate:
    def __init__(self, *keys: dict[str, Any]) -> None:
        self.clock = FakeClock()
        self.issuer = FakeIssuer(*keys)
        self.observer = RecordingAuthorizations()
        key_set = RemoteKeySet(JWKS_URL, self.clock, self.observer, self.issuer.fetch)
        self.verify = JwtVerifier(issuer=ISSUER, audience=AUDIENCE, keys=key_set).verify


@pytest.fixture
def gate() -> Gate:
    return Gate()


def signed(key: Any, algorithm: str, kid: object = "ec", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers={"kid": kid})


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def forged(header: dict[str, Any], secret: bytes) -> str:
    """A token signed by hand, which a library would refuse to make."""
    body = {**claims(), "iat": 0, "exp": 2**33}
    signing = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(body).encode())}"
    return f"{signing}.{encoded(hmac.digest(secret, signing.encode(), hashlib.sha256))}"


def test_takes_the_word_of_a_good_token(gate: Gate) -> None:
    found = gate.verify(token(role="editor", tenant="shop"))
    assert found is not None
    assert (found["tenant"], found["role"], found["sub"]) == ("shop", "editor", "somebody")
    assert gate.verify(signed(rsa_key("rsa"), "RS256", kid="rsa")) is not None
    assert gate.verify(token(aud=["other", AUDIENCE])) is not None
    assert gate.issuer.asked == 1


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://other.example"},
        {"iss": ISSUER + "/"},
        {"iss": None},
        {"iss": [ISSUER]},
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": []},
        {"aud": None},
        {"sub": None},
        {"sub": 5},
        {"iat": None},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 0},
        {"iat": datetime.now(UTC) + timedelta(hours=1)},
        {"nbf": datetime.now(UTC) + timedelta(hours=1)},
    ],
    ids=str,
)
def test_takes_no_other_word(gate: Gate, change: dict[str, Any]) -> None:
    if change.get("iss") == [ISSUER] or change.get("sub") == 5:
        # PyJWT does not sign these: so they are made by hand.
        head = {"alg": "ES256", "kid": "ec"}
        body = {**claims(), **change, "iat": 0, "exp": 2**33}
        signing = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(body).encode())}"
        signature = ECAlgorithm(ECAlgorithm.SHA256).sign(signing.encode(), elliptic_key("ec"))
        assert gate.verify(f"{signing}.{encoded(signature)}") is None
    else:
        assert gate.verify(token(**change)) is None


def test_an_expired_token_is_none(gate: Gate) -> None:
    assert gate.verify(expired_token()) is None


def test_clocks_may_differ_a_little(gate: Gate) -> None:
    now = datetime.now(UTC)
    assert gate.verify(token(exp=now - timedelta(seconds=15))) is not None
    assert gate.verify(token(iat=now + timedelta(seconds=15))) is not None
    assert gate.verify(token(exp=now - timedelta(seconds=45))) is None


def test_a_signature_is_not_optional(gate: Gate) -> None:
    good = token()
    assert gate.verify(unsigned_token()) is None
    assert gate.verify(good.rpartition(".")[0] + ".") is None
    head, body, signature = good.split(".")
    other = encoded(json.dumps({**claims(tenant="other"), "iat": 0, "exp": 2**33}).encode())
    assert gate.verify(f"{head}.{other}.{signature}") is None
    assert gate.verify(f"{head}.{body}.{signature[:-4]}AAAA") is None
    for name in ("none", "None", "NONE", "nOnE", ""):
        assert gate.verify(forged({"alg": name, "kid": "ec"}, b"")) is None


def test_a_published_key_is_no_shared_secret(gate: Gate) -> None:
    """The classic: HS256 with the public key's own bytes as the secret."""
    for name, key in (("ec", elliptic_key("ec")), ("rsa", rsa_key("rsa"))):
        for form in (serialization.Encoding.PEM, serialization.Encoding.DER):
            secret = key.public_key().public_bytes(
                form, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            for algorithm in ("HS256", "HS512", "RS256", "ES256"):
                assert gate.verify(forged({"alg": algorithm, "kid": name}, secret)) is None
        assert gate.verify(forged({"alg": "HS256", "kid": name}, name.encode())) is None


def test_the_key_chooses_its_algorithm_not_the_token(gate: Gate) -> None:
    assert gate.verify(signed(rsa_key("rsa"), "PS256", kid="rsa")) is None
    assert gate.verify(signed(rsa_key("rsa"), "RS512", kid="rsa")) is None
    assert gate.verify(signed(rsa_key("rsa"), "RS256", kid="ec")) is None
    assert gate.verify(signed(elliptic_key("ec"), "ES256", kid="rsa")) is None


def test_nobody_brings_their_own_key(gate: Gate) -> None:
    mine = ec.generate_private_key(ec.SECP256R1())
    assert gate.verify(signed(mine, "ES256")) is None
    own = json.loads(ECAlgorithm.to_jwk(mine.public_key()))
    for header in (
        {"jwk": own},
        {"jku": "https://mine.example/keys"},
        {"x5u": "https://m.example"},
    ):
        brought = jwt.encode(claims(), mine, algorithm="ES256", headers={"kid": "mine", **header})
        assert gate.verify(brought) is None
    assert gate.issuer.asked == 1


@pytest.mark.parametrize("kid", [None, "", 7, True, ["ec"], {"ec": 1}, "e" * 5000])
def test_an_odd_key_id_is_none(gate: Gate, kid: object) -> None:
    header = {"alg": "ES256", "kid": kid}
    assert gate.verify(forged(header, b"x")) is None


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg": ["ES256"], "kid": "ec"}',
        b'{"alg": {"ES256": 1}, "kid": "ec"}',
        b'{"alg": null, "kid": "ec"}',
        b'{"alg": "ES256", "kid": "ec", "crit": ["x"]}',
        b'{"alg": "ES256", "kid": "ec", "b64": false}',
        b'{"alg": ' + b"9" * 5000 + b"}",
        b"[" * 7500,
        b"{" * 7500,
        b'"ES256"',
        b"null",
        b"\xff\xfe",
    ],
    ids=lambda header: header[:20].decode(errors="replace"),
)
def test_an_odd_header_is_none(gate: Gate, header: bytes) -> None:
    assert gate.verify(f"{encoded(header)}.{encoded(b'{}')}.{encoded(b'x' * 64)}") is None


def test_takes_only_keys_that_are_for_signing() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    gate = Gate(
        {**published("ec"), "use": "enc"},
        {**json.loads(RSAAlgorithm.to_jwk(weak.public_key())), "kid": "weak"},
        {"kty": "oct", "k": encoded(b"s" * 32), "kid": "secret"},
        {"kty": "what", "kid": "odd"},
        published("rsa"),
    )
    assert gate.verify(token()) is None
    with pytest.warns(InsecureKeyLengthWarning):
        by_the_weak = signed(weak, "RS256", kid="weak")
    assert gate.verify(by_the_weak) is None
    assert gate.verify(forged({"alg": "HS256", "kid": "secret"}, b"s" * 32)) is None
    assert gate.verify(signed(rsa_key("rsa"), "RS256", kid="rsa")) is not None


@settings(deadline=None)
@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", fullmatch=True))
def test_no_text_breaks_it(text: str) -> None:
    assert Gate().verify(text) is None


class TestKeySet:
    def test_a_new_key_is_fetched_when_it_is_first_used(self, gate: Gate) -> None:
        assert gate.verify(token()) is not None
        gate.issuer.keys = [published("ec-2")]
        later = signed(elliptic_key("ec-2"), "ES256", kid="ec-2")
        gate.clock.advance(FETCH_PAUSE_SECONDS)
        assert gate.verify(later) is not None
        assert gate.verify(token()) is None

    def test_invented_key_ids_do_not_besiege_the_issuer(self, gate: Gate) -> None:
        assert gate.verify(token()) is not None
        for number in range(50):
            assert gate.verify(signed(elliptic_key("ec"), "ES256", kid=f"k{number}")) is None
            gate.clock.advance(1)
        assert gate.issuer.asked <= 1 + 50 / FETCH_PAUSE_SECONDS + 1
        assert gate.verify(token()) is not None

    def test_a_key_that_was_taken_back_is_known_within_the_hour(self, gate: Gate) -> None:
        assert gate.verify(token()) is not None
        gate.issuer.keys = [published("rsa")]
        gate.clock.advance(KEYS_KEPT_SECONDS)
        assert gate.verify(token()) is None

    def test_goes_on_for_a_day_without_the_issuer_and_says_so(self, gate: Gate) -> None:
        assert gate.verify(token()) is not None
        gate.issuer.down = True
        gate.clock.advance(KEYS_KEPT_SECONDS)
        assert gate.verify(token()) is not None
        assert gate.observer.not_fetched == 1
        gate.clock.advance(KEYS_LAST_SECONDS)
        with pytest.raises(KeySetUnavailableError):
            gate.verify(token())

    def test_without_any_keys_nobody_can_say(self, gate: Gate) -> None:
        gate.issuer.down = True
        for _ in range(5):
            with pytest.raises(KeySetUnavailableError):
                gate.verify(token())
        assert gate.issuer.asked == 1
        gate.issuer.down = False
        gate.clock.advance(FETCH_PAUSE_SECONDS)
        assert gate.verify(token()) is not None

    @pytest.mark.parametrize(
        "document",
        [b"", b"{}", b"[]", b"null", b'{"keys": []}', b'{"keys": {}}', b'{"keys": [1]}', b"\xff"],
    )
    def test_what_is_no_key_set_gives_none(self, document: bytes) -> None:
        keys = RemoteKeySet(JWKS_URL, FakeClock(), RecordingAuthorizations(), lambda _: document)
        with pytest.raises(KeySetUnavailableError):
            keys.find("ec")
