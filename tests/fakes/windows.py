"""Where prepared samples lie, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voice_gateway.domain.errors import NotFoundError

if TYPE_CHECKING:
    from voice_gateway.domain.samples.sample import PreparedWindow


@dataclass(frozen=True, slots=True)
class FakeWindow:
    """One provider's stretch of a sample."""

    content_hash: str

    @property
    def path(self) -> str:
        return f"tenants/acme/samples/one/{self.content_hash}.wav"


@dataclass
class FakeSampleWindows:
    """Has what it was given, and counts who asks."""

    wavs: dict[str, bytes] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    def fetch(self, window: PreparedWindow) -> bytes:
        self.fetched.append(window.content_hash)
        if window.content_hash not in self.wavs:
            raise NotFoundError("The sample is gone.")
        return self.wavs[window.content_hash]
