"""People's tokens: JWTs of one issuer, checked against the keys that it publishes.

PyJWT and the cryptography behind it take a tenth of a second to import: only whoever comes with a
token pays it.
"""

from __future__ import annotations

import json
import urllib.request
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError

from voice_gateway.domain.errors import KeySetUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jwt import PyJWK

    from voice_gateway.ports import AuthorizationObserver, Clock

ALGORITHMS: Final = ("RS256", "ES256")
"""Public keys alone: `none` proves nothing, and a shared secret could be any published key."""
LEEWAY_SECONDS: Final = 30
"""How far the issuer's clock may be from ours."""
REQUIRED_CLAIMS: Final = ("exp", "iat", "iss", "aud", "sub")
KEYS_KEPT_SECONDS: Final = 3600.0
"""After that a key that the issuer took back is known here too."""
KEYS_LAST_SECONDS: Final = 24 * 3600.0
"""How long the keys last fetched are trusted while the issuer is out of reach."""
FETCH_PAUSE_SECONDS: Final = 30.0
"""Between two fetches at least: whoever invents key ids must not make us besiege the issuer."""
_FETCH_TIMEOUT_SECONDS: Final = 2.0
_LONGEST_KEY_SET: Final = 256 * 1024


class JwtVerifier:
    """Implements `ports.TokenVerifier`.

    Args:
        issuer: What `iss` must be.
        audience: What `aud` must be or hold.
        keys: The issuer's keys.
    """

    def __init__(self, *, issuer: str, audience: str, keys: RemoteKeySet) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys

    def verify(self, token: str) -> Mapping[str, object] | None:
        """Returns what a token claims; see the port."""
        import jwt

        try:
            head = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            return None
        # Whoever calls wrote these: they may be anything that JSON can be.
        algorithm, key_id = head.get("alg"), head.get("kid")
        if not isinstance(key_id, str) or algorithm not in ALGORITHMS:
            return None
        key = self._keys.find(key_id)
        if key is None:
            return None
        try:
            claims: dict[str, object] = jwt.decode(
                token,
                key,
                # The key knows its algorithm, and the token has no say in it.
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={"require": list(REQUIRED_CLAIMS), "enforce_minimum_key_length": True},
            )
        except jwt.PyJWTError:
            return None
        return claims


class RemoteKeySet:
    """The keys that an issuer publishes (RFC 7517), fetched when one is missing or all are old.

    Args:
        url: Where it publishes them.
        clock: Tells when to ask again.
        observer: Hears of a fetch that failed while the last keys still do.
        fetch: Gets the document; raises OSError when it cannot.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        observer: AuthorizationObserver,
        fetch: Callable[[str], bytes] | None = None,
    ) -> None:
        self._url = url
        self._clock = clock
        self._observer = observer
        self._fetch = fetch or _fetch
        self._keys: dict[str, PyJWK] = {}
        self._fetched: float | None = None
        self._tried: float | None = None

    def find(self, key_id: str) -> PyJWK | None:
        """Returns the key of this id, or None when the issuer has none.

        Raises:
            KeySetUnavailableError: There are no keys to look at.
        """
        now = self._clock.monotonic()
        old = self._fetched is None or now - self._fetched >= KEYS_KEPT_SECONDS
        rested = self._tried is None or now - self._tried >= FETCH_PAUSE_SECONDS
        if (old or key_id not in self._keys) and rested:
            self._tried = now
            self._refresh(now)
        if self._fetched is None or now - self._fetched >= KEYS_LAST_SECONDS:
            raise KeySetUnavailableError("the issuer's keys are out of reach")
        return self._keys.get(key_id)

    def _refresh(self, now: float) -> None:
        import jwt

        try:
            published = jwt.PyJWKSet.from_dict(json.loads(self._fetch(self._url)))
        except (OSError, ValueError, TypeError, AttributeError, jwt.PyJWTError) as error:
            if self._fetched is None:
                raise KeySetUnavailableError(type(error).__name__) from None
            # Those of the last time will do for a while.
            self._observer.keys_not_fetched(error)
            return
        self._keys = {
            key.key_id: key
            for key in published.keys
            if key.key_id
            and key.algorithm_name in ALGORITHMS
            and key.public_key_use in (None, "sig")
        }
        self._fetched = now


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Asks nobody but the address from the settings."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _fetch(url: str) -> bytes:
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(url, timeout=_FETCH_TIMEOUT_SECONDS) as answer:
            document: bytes = answer.read(_LONGEST_KEY_SET + 1)
    except HTTPError as error:
        error.close()
        raise
    except HTTPException as error:
        raise OSError("this is no whole answer") from error
    if len(document) > _LONGEST_KEY_SET:
        raise OSError("no key set is that long")
    return document
