"""The opaque cursor of a listing: where the last page ended.

The checksum binds a cursor to its listing and catches a cut or edited one, so that a mistake is
told instead of starting the list somewhere odd. It is no signature and need not be: a cursor only
chooses a place inside the partition of the tenant who asks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Final

from voice_gateway.domain.errors import InvalidRequestError
from voice_gateway.domain.personality import PERSONALITY_ID_PATTERN

_CHECK_BYTES: Final = 6


def encode_cursor(scope: str, last_id: str) -> str:
    """Makes the cursor of the page after `last_id`.

    Args:
        scope: Which listing it is: at least whose.
        last_id: Where the page ended.
    """
    raw = _checksum(scope, last_id) + last_id.encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(scope: str, cursor: str) -> str:
    """Finds the identifier after which the page begins.

    Raises:
        InvalidRequestError: The cursor is not one that `encode_cursor` made for this listing.
    """
    refusal = InvalidRequestError("This cursor did not come from a listing.", field="cursor")
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True)
        last_id = raw[_CHECK_BYTES:].decode()
    except (binascii.Error, ValueError):
        raise refusal from None
    well_formed = re.fullmatch(PERSONALITY_ID_PATTERN, last_id)
    if not well_formed or encode_cursor(scope, last_id) != cursor:
        raise refusal
    return last_id


def _checksum(scope: str, last_id: str) -> bytes:
    return hashlib.sha256(f"{scope}\0{last_id}".encode()).digest()[:_CHECK_BYTES]
