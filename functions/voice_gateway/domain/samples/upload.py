"""How a recording gets here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MAX_DIRECT_BYTES: Final = 4 * 1024 * 1024
"""Of a recording in a request's own body: Lambda takes 6 MB, and base64 makes 4 bytes of 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadForm:
    """A form (`multipart/form-data`) to post to the store: the fields, then `file`, last."""

    url: str
    fields: Mapping[str, str]
    expires_at: datetime
    max_bytes: int
