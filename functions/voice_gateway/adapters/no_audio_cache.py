"""The cache of a deployment that keeps no spoken audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class NoAudioCache:
    """Implements `ports.VoiceAudioCache`."""

    def purge(self, tenant_id: str, *, personality_id: str, content_hashes: Sequence[str]) -> None:
        """Finds nothing to delete."""
