"""The receipt: what was asked, what was served, what was tried, and what it cost."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from voice_gateway.domain.budget import BudgetState
from voice_gateway.domain.money import FREE, Usd


class Outcome(StrEnum):
    """How one provider's turn ended."""

    SERVED = "served"
    FAILED = "failed"
    PASSED_OVER = "passed_over"
    CACHED = "cached"
    """Its audio was kept from another time: nobody was asked, and nothing is billed."""
    HEDGE_LOST = "hedge_lost"
    """Two worked side by side, and the other one was heard first."""


class Attempt(BaseModel):
    """One provider's turn at the text."""

    model_config = ConfigDict(frozen=True)

    provider: str
    outcome: Outcome
    hedge: bool = False
    """Whether it was started beside another one that let its listener wait."""
    reason: str | None = None
    """Why it failed or was passed over: a `FailureReason`, or one of `not_configured`, `language`,
    `cannot_clone`, `budget`, `breaker_open` (the detail says why and until when); `cancelled` when
    the listener hung up; None for who served."""
    detail: str | None = None
    """One sentence for people; never the customer's text."""
    voice: str | None = None
    """The voice that spoke, where any audio came."""
    match: float | None = None
    """How like the personality's own this voice is, 0 to 1; None where nothing was compared."""
    sentences: int = Field(default=0, ge=0)
    """How many sentences it began to speak aloud."""
    cut: bool = False
    """Whether the last of them broke off: it was heard in part, so nobody says it again."""
    skipped: int = Field(default=0, ge=0)
    """How many of them gave nothing to hear, with nobody left to ask."""
    characters: int = 0
    """What its vendor bills, heard or not; see `domain/billing`."""
    cost_usd: Usd = FREE
    cost_saved_usd: Usd = FREE
    """What those of its sentences would have cost that came from the cache."""
    first_audio_ms: float | None = None
    """From this provider's start to its first audible samples."""
    elapsed_ms: float = 0.0


class Asked(BaseModel):
    """What the request and the personality asked for."""

    model_config = ConfigDict(frozen=True)

    provider: str
    voice: str | None
    quality: str


class Served(BaseModel):
    """Who really spoke, in order; more than one only after a failure in the middle."""

    model_config = ConfigDict(frozen=True)

    provider: str
    voice: str | None
    sentences: int
    match: float | None = None
    """How like the personality's own this voice is, 0 to 1; None where nothing was compared."""


class Receipt(BaseModel):
    """Travels with every answer, so that no substitution is ever silent."""

    model_config = ConfigDict(frozen=True)

    request_id: str
    personality: str
    asked: Asked
    served: tuple[Served, ...]
    substituted: bool
    """True when anybody but the asked provider, in the asked voice, spoke any part of the text.

    Also when the personality's own voice may not be cloned: nobody spoke in the asked one then."""
    complete: bool
    """False when the stream ended before every sentence was spoken whole."""
    attempts: tuple[Attempt, ...]
    sentences: int
    cache_hits: int = 0
    hedges: int = 0
    """How many providers were started beside one that let its listener wait."""
    first_audio_ms: float | None
    total_ms: float
    audio_seconds: float
    real_time_factor: float | None
    """Total time over the audio's length; below 1 is faster than listening."""
    characters: int
    cost_usd: Usd
    """The sum of the attempts', the failed ones included."""
    cost_saved_usd: Usd = FREE
    """The sum of the attempts'."""
    budget: BudgetState | None = None
    """How far the tenant's monthly budget was spent; None without a budget."""
    purpose: str = "live"
    characters_counted: int = 0
    """What the purpose's allowance was charged: the sentences that were begun."""
    not_applied: tuple[str, ...] = ()
    """Settings that the serving provider has no way to apply (`pitch`, …)."""
    sample_refused: str | None = None
    """Why the personality's sample was not cloned: a `SampleRefusal`; None where nothing was in the
    way, or there is no sample."""
    format: str
    sample_rate: int
    channels: int = 1
