"""An identity provider in memory: signs tokens, and publishes its keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

ISSUER: Final = "https://people.example"
AUDIENCE: Final = "voices"
JWKS_URL: Final = f"{ISSUER}/keys"


@cache
def elliptic_key(name: str) -> EllipticCurvePrivateKey:
    """A key on P-256, the same for the same name."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key(name: str) -> RSAPrivateKey:
    """A key of 2048 bits, the same for the same name."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says; None leaves a claim out."""
    now = datetime.now(UTC)
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "somebody",
        "iat": now,
        "exp": now + timedelta(hours=1),
        "tenant": "shop",
        "role": "admin",
        **changes,
    }
    return {name: value for name, value in said.items() if value is not None}


def token(**changes: Any) -> str:
    """A token signed with ES256 by the key `ec`."""
    return jwt.encode(
        claims(**changes), elliptic_key("ec"), algorithm="ES256", headers={"kid": "ec"}
    )


def expired_token(**changes: Any) -> str:
    """One that was good an hour ago."""
    now = datetime.now(UTC)
    return token(iat=now - timedelta(hours=2), exp=now - timedelta(hours=1), **changes)


def unsigned_token(**changes: Any) -> str:
    """One whose algorithm is `none`."""
    return jwt.encode(claims(**changes), "", algorithm="none", headers={"kid": "ec"})


def published(name: str) -> dict[str, Any]:
    """The public key `name`, as a key set holds it; RSA where the name says so."""
    key = rsa_key(name) if name.startswith("rsa") else elliptic_key(name)
    as_json = (
        RSAAlgorithm.to_jwk(key.public_key())
        if isinstance(key, rsa.RSAPrivateKey)
        else ECAlgorithm.to_jwk(key.public_key())
    )
    return {**json.loads(as_json), "kid": name, "use": "sig"}


class FakeIssuer:
    """Answers who asks for the key set.

    Attributes:
        keys: What it publishes.
        down: While true, nobody answers.
        asked: How often it was asked.
    """

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys) or [published("ec"), published("rsa")]
        self.down = False
        self.asked = 0

    def fetch(self, url: str) -> bytes:
        """Gives the key set, as `RemoteKeySet` asks for it."""
        assert url == JWKS_URL
        self.asked += 1
        if self.down:
            raise OSError("down on purpose")
        return json.dumps({"keys": self.keys}).encode()
