"""Who of a request's chain is asked next, and why others are passed over."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.chain import FLOOR
from voice_gateway.domain.receipt import Attempt, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from voice_gateway.domain.health import Standing
    from voice_gateway.domain.speech import SpeechRequest
    from voice_gateway.ports import ProviderHealth, SpeechProvider
    from voice_gateway.providers.registry import ProviderRegistry

BREAKER_OPEN: Final = "breaker_open"


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who may be asked."""

    provider: SpeechProvider
    trial: bool
    """Whether this request is the one that finds out how the provider is."""


class Candidates:
    """The rest of a request's chain.

    The floor has no breaker: it is a library in this process, and whoever comes to it has nobody
    else.

    Attributes:
        retry_at: When the first of those passed over for their health may be tried; None when
            none was.
    """

    def __init__(
        self, registry: ProviderRegistry, health: ProviderHealth, request: SpeechRequest
    ) -> None:
        self._registry = registry
        self._health = health
        self._request = request
        self._left = deque(request.chain)
        self._standings: Mapping[str, Standing] = {}
        self.retry_at: datetime | None = None

    async def next(self) -> Candidate | None:
        """Takes the next one, and writes those before it to the journal; None at the end."""
        self._standings = await self._health.standings(self._request.tenant_id)
        while self._left:
            name = self._left.popleft()
            provider = self._registry.get(name)
            reason, detail, trial = self._unsuited(provider), None, False
            if reason is None and (standing := self._standing(name)) is not None:
                trial = standing.ajar and await self._health.claim(name, self._request.tenant_id)
                if not trial:
                    reason = BREAKER_OPEN
                    detail = f"{standing.reason}, being tried" if standing.ajar else str(standing)
                    self.retry_at = min(self.retry_at or standing.until, standing.until)
            if provider is not None and reason is None:
                return Candidate(provider, trial)
            self._request.journal.attempts.append(
                Attempt(provider=name, outcome=Outcome.PASSED_OVER, reason=reason, detail=detail)
            )
        return None

    async def put_back(self, candidate: Candidate) -> None:
        """Leaves one for later: it has done nothing wrong."""
        name = candidate.provider.name
        self._left.appendleft(name)
        if candidate.trial:
            await self._health.report(name, self._request.tenant_id, None, trial=True)

    def anybody(self) -> bool:
        """Tells whether anybody is left who may be asked."""
        return any(self._suited(name) for name in self._left)

    def worth_a_hedge(self) -> bool:
        """Tells whether the next one is somebody to prefer to waiting: anybody but the floor."""
        return next((n for n in self._left if self._suited(n)), FLOOR) != FLOOR

    def _suited(self, name: str) -> bool:
        standing = self._standing(name)
        return self._unsuited(self._registry.get(name)) is None and (
            standing is None or standing.ajar
        )

    def _standing(self, name: str) -> Standing | None:
        return None if name == FLOOR else self._standings.get(name)

    def _unsuited(self, provider: SpeechProvider | None) -> str | None:
        if (reason := unsuited(provider, self._request)) is not None:
            return reason
        if provider is not None and provider.name in self._request.too_dear:
            return "budget"
        return None


def unsuited(provider: SpeechProvider | None, request: SpeechRequest) -> str | None:
    """Says why a provider cannot speak a request, whatever it costs; None if it can."""
    if provider is None:
        return "not_configured"
    if not provider.capabilities.speaks(request.language):
        return "language"
    if request.strict and request.sample_path is not None and not provider.capabilities.cloning:
        return "cannot_clone"
    return None
