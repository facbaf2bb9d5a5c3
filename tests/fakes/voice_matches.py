"""Who would speak for each personality, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voice_gateway.domain.voice_match import VoiceMatches

if TYPE_CHECKING:
    from voice_gateway.ports import VoiceMatchStore


class FakeVoiceMatches:
    """Implements `ports.VoiceMatchStore`."""

    def __init__(self) -> None:
        self._stored: dict[tuple[str, str], str] = {}

    def save(self, tenant_id: str, personality_id: str, matches: VoiceMatches) -> None:
        """Stores them."""
        self._stored[tenant_id, personality_id] = matches.model_dump_json()

    def find(self, tenant_id: str, personality_id: str) -> VoiceMatches | None:
        """Fetches them."""
        found = self._stored.get((tenant_id, personality_id))
        return None if found is None else VoiceMatches.model_validate_json(found)


if TYPE_CHECKING:
    _: VoiceMatchStore = FakeVoiceMatches()
