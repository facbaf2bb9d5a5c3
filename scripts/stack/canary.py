"""One word through the whole stack: the only proof that a model is alive."""

from __future__ import annotations

import json
import time
import urllib.request
from http.client import HTTPException
from typing import Final

from voice_gateway.domain.chain import FLOOR

SUBSTITUTES: Final = frozenset({"google", "azure", "watson", FLOOR})
"""Who speaks when no model of our own does."""
PATIENCE_SECONDS: Final = 3.0
"""Longer than a function leaves a Triton alone that did not answer it."""
WORD: Final = {"text": "Yes.", "personality": "marcel", "quality": "medium", "fresh": True}
_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.1


def sings(url: str, api_key: str, patience: float = 0.0) -> bool:
    """Tells whether a model speaks.

    Only a substitute's voice in its place says that none does; why else there is no word, such as
    for a personality that somebody deleted, is for others to find out.

    Args:
        url: The API.
        api_key: What opens it.
        patience: Seconds in which a substitute's voice is no verdict yet: whoever asked a Triton
            that was down does not try it again at once.
    """
    deadline = time.monotonic() + patience
    while _who_speaks(url, api_key) in SUBSTITUTES:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _who_speaks(url: str, api_key: str) -> str | None:
    request = urllib.request.Request(
        f"{url}/api/speech",
        data=json.dumps(WORD).encode(),
        headers={"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:
            response.read()
            return str(response.headers.get("x-speech-provider"))
    except (OSError, HTTPException):
        return None
