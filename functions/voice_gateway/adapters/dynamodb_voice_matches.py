"""Who would speak for each personality, in the one table, for a month."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from voice_gateway.adapters.dynamodb_table import VOICE_MATCHES, fetch, key, storage_errors
from voice_gateway.domain.voice_match import VoiceMatches

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

_LIFETIME: Final = timedelta(days=30)
"""Catalogues change, and personalities go."""


class DynamoVoiceMatches:
    """Implements `ports.VoiceMatchStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def save(self, tenant_id: str, personality_id: str, matches: VoiceMatches) -> None:
        """Stores them; see the port."""
        with storage_errors():
            self._table.put_item(
                Item={
                    **key(tenant_id, VOICE_MATCHES + personality_id),
                    "document": matches.model_dump_json(),
                    "expires_at": int((matches.made_at + _LIFETIME).timestamp()),
                }
            )

    def find(self, tenant_id: str, personality_id: str) -> VoiceMatches | None:
        """Fetches them; see the port."""
        item = fetch(self._table, tenant_id, VOICE_MATCHES + personality_id)
        return None if item is None else VoiceMatches.model_validate_json(item["document"])
