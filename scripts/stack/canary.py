"""One word through the whole stack: the only proof that a model is alive."""

from __future__ import annotations

import json
import urllib.request
from typing import Final

from voice_gateway.domain.chain import FLOOR

WORD: Final = {"text": "Yes.", "personality": "marcel", "quality": "medium"}
_SECONDS: Final = 20.0


def sings(url: str, api_key: str) -> bool:
    """Tells whether a model speaks.

    Only the floor's voice in its place says that none does; why else there is no word, such as for
    a personality that somebody deleted, is for others to find out.
    """
    request = urllib.request.Request(
        f"{url}/api/speech",
        data=json.dumps(WORD).encode(),
        headers={"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:
            response.read()
            return str(response.headers.get("x-speech-provider")) != FLOOR
    except OSError:
        return True
