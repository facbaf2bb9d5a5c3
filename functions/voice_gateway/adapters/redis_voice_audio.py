"""Takes a voice out of the audio cache, for functions that have no event loop of their own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from voice_gateway.adapters.redis_audio_cache import RedisAudioCache
from voice_gateway.adapters.redis_connection import RedisConnection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_gateway.ports import Clock


class RedisVoiceAudio:
    """Implements `ports.VoiceAudioCache`.

    Args:
        redis_url: `redis://host:port`; empty where there is no cache, and nothing to delete.
        clock: Tells when to ask Redis again.
    """

    def __init__(self, redis_url: str, clock: Clock) -> None:
        self._redis_url = redis_url
        self._clock = clock

    def purge(self, tenant_id: str, *, personality_id: str, content_hashes: Sequence[str]) -> None:
        """Deletes what the personality spoke, and what was spoken in the voice; see the port."""
        asyncio.run(self._purge(tenant_id, personality_id, content_hashes))

    async def _purge(
        self, tenant_id: str, personality_id: str, content_hashes: Sequence[str]
    ) -> None:
        # A connection belongs to the loop that opened it, and purges are rare.
        connection = RedisConnection(self._redis_url, self._clock)
        cache = RedisAudioCache(connection, self._clock)
        try:
            await cache.purge(tenant_id, personality_id=personality_id)
            for content_hash in content_hashes:
                await cache.purge(tenant_id, sample_hash=content_hash)
        finally:
            await connection.aclose()
