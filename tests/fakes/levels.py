"""Voices whose loudness is known, in memory."""

from __future__ import annotations


class FakeVoiceLevels:
    """A `VoiceLevels` that forgets nothing."""

    def __init__(self, **known: float) -> None:
        self.known: dict[str, float] = dict(known)

    async def find(self, voice: str) -> float | None:
        """Returns the voice's loudness."""
        return self.known.get(voice)

    async def remember(self, voice: str, lufs: float) -> None:
        """Keeps it; the first one stays."""
        self.known.setdefault(voice, lufs)
