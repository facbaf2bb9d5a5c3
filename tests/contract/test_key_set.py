"""An issuer's keys over real HTTP, from servers that are well and from others that are not."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from fakes.authorizations import RecordingAuthorizations
from fakes.clock import FakeClock
from fakes.issuer import published
from voice_gateway.adapters.jwt_verifier import RemoteKeySet
from voice_gateway.domain.errors import KeySetUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Issuer(BaseHTTPRequestHandler):
    """Answers by what the path says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        keys = json.dumps({"keys": [published("ec")]}).encode()
        match self.path:
            case "/keys":
                self._answer(200, keys)
            case "/moved":
                self._answer(302, b"", Location="/keys")
            case "/broken":
                self._answer(500, keys)
            case "/endless":
                self._answer(200, keys + b" " * 300_000)
            case "/cut":
                self._answer(200, keys[:50], **{"Content-Length": str(len(keys))})
                self.close_connection = True
            case "/page":
                self._answer(200, b"<html></html>")
            case _:
                self.wfile.write(b"this is no HTTP\r\n\r\n")
                self.close_connection = True

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Issuer) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join()


def _keys(url: str) -> RemoteKeySet:
    return RemoteKeySet(url, FakeClock(), RecordingAuthorizations())


def test_fetches_the_keys(issuer: str) -> None:
    keys = _keys(f"{issuer}/keys")
    assert keys.find("ec") is not None
    assert keys.find("other") is None


@pytest.mark.parametrize("path", ["moved", "broken", "endless", "cut", "page", "noise"])
def test_takes_nothing_else_for_keys(issuer: str, path: str) -> None:
    with pytest.raises(KeySetUnavailableError):
        _keys(f"{issuer}/{path}").find("ec")


def test_nobody_there_is_no_keys() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        # Bound, and nobody listens.
        with pytest.raises(KeySetUnavailableError):
            _keys(f"http://127.0.0.1:{port}/keys").find("ec")
