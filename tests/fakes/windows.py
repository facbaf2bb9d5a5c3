"""Where prepared samples lie, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from voice_gateway.domain.errors import NotFoundError
from voice_gateway.domain.samples.sample import PreparedWindow


def a_window(provider: str, content_hash: str) -> PreparedWindow:
    """One provider's stretch of a sample."""
    return PreparedWindow(
        provider=provider,
        path=f"tenants/acme/samples/one/{provider}/{content_hash}.wav",
        content_hash=content_hash,
        sample_rate=22050,
        seconds=15.0,
        start=0.0,
        loudness=-23.0,
        true_peak=-3.0,
    )


@dataclass
class FakeSampleWindows:
    """Has what it was given, by path, and counts who asks."""

    wavs: dict[str, bytes] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    def fetch(self, window: PreparedWindow) -> bytes:
        self.fetched.append(window.path)
        if window.path not in self.wavs:
            raise NotFoundError("The sample's audio is gone.")
        return self.wavs[window.path]
