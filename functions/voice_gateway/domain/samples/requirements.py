"""What a sample needs: for anybody, and for each provider that clones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_BYTES: Final = 64 * 1024 * 1024
"""Of the uploaded file: three minutes of 48 kHz, 24 bits, two channels are 52 MB."""
MAX_SECONDS: Final = 180.0
"""Nobody needs more than 30 s, and the rest must be listened through in a function's memory."""
MAX_VALUES: Final = 17_280_000
"""Over all channels: `MAX_SECONDS` of stereo at 48 kHz, or 69 MB decoded."""
MAX_CHANNELS: Final = 2
RATES_READ: Final = (8_000, 192_000)
"""Hz; what lies outside is no recording of a voice."""
LEAST_RATE: Final = 22_050
"""Hz."""
LEAST_BITS: Final = 16


@dataclass(frozen=True, slots=True)
class ProviderNeeds:
    """How long a sample one provider wants, in seconds, and at which rate."""

    provider: str
    least: float
    most: float
    best_least: float
    best_most: float
    sample_rate: int
    """Hz: what its conditioning listens to."""


NEEDS: Final = (
    ProviderNeeds("xtts_v2", 6, 30, 15, 20, 22_050),
    ProviderNeeds("styletts2", 3, 10, 5, 8, 24_000),
)
LEAST_SECONDS: Final = min(needs.least for needs in NEEDS)
