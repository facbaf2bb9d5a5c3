"""People on this machine: signs their tokens, and publishes the key to check them with.

Stands in for a deployment's identity provider; nothing of it is deployed. The authorizer is the
real one, told by the template's parameters to trust this issuer.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

import layout

if TYPE_CHECKING:
    from pathlib import Path

ALGORITHM: Final = "ES256"


def token(*, role: str, tenant: str = layout.TENANT, life: timedelta, **claims: Any) -> str:
    """Signs a token.

    Args:
        role: What the person is.
        tenant: Whose person it is.
        life: How long it is good; a negative one makes a token that was.
        claims: Others, or others' values.
    """
    now = datetime.now(UTC)
    key = _key()
    return jwt.encode(
        {
            "iss": layout.issuer(),
            "aud": layout.TOKEN_AUDIENCE,
            "sub": f"{role}@{tenant}",
            "iat": min(now, now + life),
            "exp": now + life,
            "tenant": tenant,
            "role": role,
            **claims,
        },
        key,
        algorithm=ALGORITHM,
        headers={"kid": _published(key)["kid"]},
    )


def key_set() -> dict[str, Any]:
    """What an issuer publishes (RFC 7517)."""
    return {"keys": [_published(_key())]}


def _published(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    public = json.loads(ECAlgorithm.to_jwk(key.public_key()))
    # A name that changes with the key: whoever remembers another one asks again.
    return {**public, "kid": public["x"][:12], "alg": ALGORITHM, "use": "sig"}


def _key(path: Path = layout.ISSUER_KEY) -> ec.EllipticCurvePrivateKey:
    """Reads the key, and makes it the first time."""
    if not path.exists():
        made = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        # A draft of its own for each thread too, readable by this user alone from the start.
        with tempfile.NamedTemporaryFile(dir=path.parent) as draft:
            draft.write(made)
            draft.flush()
            # Whoever comes second takes the key of the first.
            with contextlib.suppress(FileExistsError):
                os.link(draft.name, path)
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SystemExit(f"{path} holds another kind of key; remove it.")
    return key
