from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

import layout
import people
from fakes.authorizations import RecordingAuthorizations
from fakes.clock import FakeClock
from voice_gateway.adapters.jwt_verifier import JwtVerifier, RemoteKeySet

if TYPE_CHECKING:
    from pathlib import Path

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "state" / "issuer.pem"
    monkeypatch.setattr(people, "_key", partial(people._key, path))
    return path


def verify(token: str) -> object:
    def fetch(_: str) -> bytes:
        return json.dumps(people.key_set()).encode()

    keys = RemoteKeySet("http://127.0.0.1/keys", FakeClock(), RecordingAuthorizations(), fetch)
    return JwtVerifier(issuer=layout.issuer(), audience=layout.TOKEN_AUDIENCE, keys=keys).verify(
        token
    )


def test_the_authorizer_takes_its_tokens() -> None:
    claims = verify(people.token(role="editor", tenant="shop", life=HOUR))
    assert isinstance(claims, dict)
    assert (claims["tenant"], claims["role"]) == ("shop", "editor")
    assert verify(people.token(role="editor", life=-HOUR)) is None
    assert verify(people.token(role="editor", life=HOUR, aud="other")) is None


def test_the_key_is_made_once_for_this_user_alone(key_file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        sets = list(pool.map(lambda _: people.key_set(), range(16)))
    assert all(each == sets[0] for each in sets)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert [path.name for path in key_file.parent.iterdir()] == ["issuer.pem"]
    assert "d" not in sets[0]["keys"][0]
