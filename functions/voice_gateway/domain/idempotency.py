"""A request that may arrive more than once and must count once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

IDEMPOTENCY_LIFETIME: Final = timedelta(hours=24)
"""How long a repetition is known for one."""


@dataclass(frozen=True, slots=True)
class OnceOnly:
    """How a repetition is known."""

    key: str
    """The caller's own name for the request."""
    fingerprint: str
    """Of what was asked: the same key with another body is a mistake, not a repetition."""
