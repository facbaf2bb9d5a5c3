"""The one error tree.

VoiceGatewayError
├── RequestError                 the caller's own mistake: never falls back
│   ├── InvalidRequestError      a field is missing, malformed or out of range
│   ├── TooLargeError            the body or the text is longer than the limit
│   ├── UnsupportedMediaError    the body is of a kind that is not taken here
│   ├── UnauthorizedError        no usable identity came with the request
│   ├── ForbiddenError           a good identity, without the right to do this
│   ├── NotFoundError            no such thing, or not the caller's
│   ├── ConflictError            it exists already
│   ├── StaleWriteError          somebody else wrote in between: read again, then write
│   ├── PreconditionFailedError  the caller meant another version than there is
│   ├── LimitReachedError        the tenant's tier gives no more
│   │   ├── PlanLimitError       until something is given up, or the tier changes
│   │   └── QuotaExceededError   until the month ends
│   └── InvalidSampleError       the bytes are no usable recording
├── ProviderError                one provider could not speak: the next one may
├── AllProvidersFailedError      the whole chain could not speak
├── KeySetUnavailableError       the identity provider's keys could not be fetched
└── StorageUnavailableError      the table did not answer: retry later
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from voice_gateway.domain.receipt import Attempt
    from voice_gateway.domain.samples.report import Finding


class VoiceGatewayError(Exception):
    """Base of every error that this package raises on purpose."""


class RequestError(VoiceGatewayError):
    """The caller's own mistake.

    Attributes:
        message: One plain sentence; safe to show, never holds the customer's text.
        field: Dotted path of the offending field (`text`, `voice_config.speed`), or None.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidRequestError(RequestError):
    """A field is missing, malformed or out of range."""


class TooLargeError(RequestError):
    """The body or the text is longer than the limit."""


class UnsupportedMediaError(RequestError):
    """The body is of a kind that is not taken here."""


class UnauthorizedError(RequestError):
    """No usable identity came with the request."""


class ForbiddenError(RequestError):
    """A good identity, without the right to do this."""


class NotFoundError(RequestError):
    """No such thing; also said of a thing that belongs to another tenant."""


class ConflictError(RequestError):
    """It exists already."""


class StaleWriteError(RequestError):
    """Somebody else wrote between the reading and the writing; nothing of this write was kept.

    Whoever reads again may write again; it reaches the caller only when that went on for too long.
    """

    def __init__(self) -> None:
        super().__init__("Others keep changing this at the same time; nothing was written.")


class PreconditionFailedError(RequestError):
    """The caller meant another version than there is."""


class LimitReachedError(RequestError):
    """The tenant's tier gives no more.

    Attributes:
        tier: The tier's name.
        limit: How much it gives; 0 where it gives none at all.
        usage: How much of that is taken.
        resets_at: When it begins anew; None when waiting does not help.
    """

    def __init__(
        self,
        message: str,
        *,
        tier: str,
        limit: int,
        usage: int,
        resets_at: datetime | None = None,
    ) -> None:
        super().__init__(message)
        self.tier = tier
        self.limit = limit
        self.usage = usage
        self.resets_at = resets_at


class PlanLimitError(LimitReachedError):
    """No more until something is given up, or the tier changes."""


class QuotaExceededError(LimitReachedError):
    """No more until the month ends.

    Attributes:
        retry_after: Seconds until then.
    """

    def __init__(
        self,
        message: str,
        *,
        tier: str,
        limit: int,
        usage: int,
        resets_at: datetime,
        retry_after: int,
    ) -> None:
        super().__init__(message, tier=tier, limit=limit, usage=usage, resets_at=resets_at)
        self.retry_after = retry_after


class InvalidSampleError(RequestError):
    """The bytes are no usable recording.

    Attributes:
        finding: What is wrong with them, and what to do about it.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.advice, field="sample")
        self.finding = finding


class FailureReason(StrEnum):
    """Why a provider could not speak."""

    QUOTA = "quota"
    AUTH = "auth"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    BAD_AUDIO = "bad_audio"
    REJECTED = "rejected"


class ProviderError(VoiceGatewayError):
    """One provider could not speak.

    Attributes:
        provider: The provider's registered name.
        reason: What kind of failure it was; decides what the router does next.
        detail: One sentence for the receipt; never text, audio or secrets.
    """

    def __init__(self, provider: str, reason: FailureReason, detail: str) -> None:
        super().__init__(f"{provider}: {reason.value}: {detail}")
        self.provider = provider
        self.reason = reason
        self.detail = detail

    @property
    def retryable(self) -> bool:
        """Whether another provider, or the same one later, may succeed with the same request.

        `rejected` means that the request itself is at fault, so nobody else is bothered with it.
        """
        return self.reason is not FailureReason.REJECTED


class AllProvidersFailedError(VoiceGatewayError):
    """Every provider of the chain was passed over or failed.

    Attributes:
        attempts: What was tried, in order, with the reasons.
    """

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        tried = ", ".join(f"{a.provider} ({a.reason})" for a in attempts) or "none"
        super().__init__(f"no provider could speak: {tried}")
        self.attempts = tuple(attempts)


class KeySetUnavailableError(VoiceGatewayError):
    """The identity provider's keys could not be fetched: nobody can say whose token it is."""


class StorageUnavailableError(VoiceGatewayError):
    """The table did not answer; the same call may succeed later."""
