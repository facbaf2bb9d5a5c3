"""Credentials that need no store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voice_gateway.domain.errors import ProviderError


@dataclass
class FixedCredentials:
    """Hands out the same fields always, or the failure."""

    fields: Mapping[str, object]
    failure: ProviderError | None = None

    async def read(self) -> Mapping[str, object]:
        """Follows what it was made with."""
        if self.failure is not None:
            raise self.failure
        return self.fields
