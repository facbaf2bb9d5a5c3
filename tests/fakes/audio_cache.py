"""An audio cache in memory, which can be told to be away."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from voice_gateway.domain.audio_cache import Claim, Lookup
from voice_gateway.domain.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_gateway.domain.audio_cache import CachedSentence, SentenceKey


class FakeAudioCache:
    """An `AudioCache`: one for all who share it."""

    def __init__(self) -> None:
        self.kept: dict[SentenceKey, CachedSentence] = {}
        self.claimed: dict[SentenceKey, int] = {}
        self.away = False
        self.calls: Counter[str] = Counter()
        self._tokens = 0
        self._purged: dict[str, int] = {}
        self._changed = asyncio.Condition()

    async def look_up(self, keys: Sequence[SentenceKey]) -> list[Lookup | Claim | CachedSentence]:
        """Finds and claims."""
        self.calls["look_up"] += 1
        if self.away:
            return [Lookup.UNKNOWN] * len(keys)
        return [self._look_up(key, first=place == 0) for place, key in enumerate(keys)]

    async def holds(self, keys: Sequence[SentenceKey]) -> list[bool]:
        """Looks."""
        self.calls["holds"] += 1
        return [not self.away and key in self.kept for key in keys]

    async def fetch(self, key: SentenceKey) -> CachedSentence | None:
        """Returns what is kept."""
        self.calls["fetch"] += 1
        return None if self.away else self.kept.get(key)

    async def wait_for(self, key: SentenceKey, seconds: float) -> CachedSentence | None:
        """Waits until the claim ends."""
        self.calls["wait_for"] += 1

        async def ended() -> None:
            async with self._changed:
                await self._changed.wait_for(lambda: key not in self.claimed)

        try:
            await asyncio.wait_for(ended(), max(0.0, seconds))
        except TimeoutError:
            return None
        return None if self.away else self.kept.get(key)

    async def keep(
        self,
        key: SentenceKey,
        sentence: CachedSentence,
        claim: Claim | None,
        *,
        since: Claim | None = None,
    ) -> None:
        """Keeps it, unless the claim was lost or a purge came between."""
        self.calls["keep"] += 1
        if self.away or (claim is not None and self.claimed.get(key) != claim.token):
            return
        age = since.token if since else 0
        if claim is None and self._purged.get(key.tenant_id, 0) > age:
            return
        self.kept[key] = sentence
        await self.give_up([claim] if claim else [])

    async def renew(self, claims: Sequence[Claim]) -> None:
        """Claims here last until they end."""
        self.calls["renew"] += 1

    async def give_up(self, claims: Sequence[Claim]) -> None:
        """Ends them."""
        async with self._changed:
            for claim in claims:
                if self.claimed.get(claim.key) == claim.token:
                    del self.claimed[claim.key]
            self._changed.notify_all()

    async def purge(
        self, tenant_id: str, *, personality_id: str | None = None, sample_hash: str | None = None
    ) -> int:
        """Forgets."""
        if self.away:
            raise StorageUnavailableError("The audio cache did not answer.")

        def meant(key: SentenceKey) -> bool:
            return (
                key.tenant_id == tenant_id
                and personality_id in (None, key.personality_id)
                and sample_hash in (None, key.sample_hash)
            )

        self._tokens += 1
        self._purged[tenant_id] = self._tokens
        gone = [key for key in self.kept if meant(key)]
        for key in gone:
            del self.kept[key]
        async with self._changed:
            for key in [key for key in self.claimed if meant(key)]:
                del self.claimed[key]
            self._changed.notify_all()
        return len(gone)

    def _look_up(self, key: SentenceKey, *, first: bool) -> Lookup | Claim | CachedSentence:
        if key in self.kept:
            return self.kept[key] if first else Lookup.KEPT
        if key in self.claimed:
            return Lookup.BUSY
        self._tokens += 1
        self.claimed[key] = self._tokens
        return Claim(key, self._tokens)
