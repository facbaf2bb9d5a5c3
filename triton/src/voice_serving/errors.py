"""The one error tree of the speech models.

SpeechServingError
├── InvalidInputError            invalid_input        the request itself is wrong
├── VoiceNotInstalledError       voice_not_installed  nobody here speaks it
├── SampleUnknownError           sample_unknown       ask again, with the sample's bytes
├── OverloadedError              overloaded           full or closing: ask again later
├── CancelledError               cancelled            the caller has gone
├── DeadlineError                deadline             the caller's time is over
└── InternalError                internal             ours: the same request may work elsewhere

A default gRPC stream keeps an error's message and drops its status, so the code leads the message:
`<code>: <one sentence>`. The sentence never holds the customer's text.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """The word before the colon; clients decide by it."""

    INVALID_INPUT = "invalid_input"
    VOICE_NOT_INSTALLED = "voice_not_installed"
    SAMPLE_UNKNOWN = "sample_unknown"
    OVERLOADED = "overloaded"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    INTERNAL = "internal"


class SpeechServingError(Exception):
    """Base of every error that this package raises on purpose.

    Attributes:
        sentence: What went wrong, without a code and without a full stop.
    """

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence

    @property
    def wire_message(self) -> str:
        """The message as a client reads it."""
        return f"{self.code.value}: {self.sentence}"


class InvalidInputError(SpeechServingError):
    """A field is missing, malformed or out of range.

    Attributes:
        field: Name of the offending input tensor.
    """

    code = ErrorCode.INVALID_INPUT

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field


class VoiceNotInstalledError(SpeechServingError):
    """The named voice is not here, or no voice here speaks the language."""

    code = ErrorCode.VOICE_NOT_INSTALLED


class SampleUnknownError(SpeechServingError):
    """A sample was named that is not known here, and its bytes did not come along."""

    code = ErrorCode.SAMPLE_UNKNOWN

    def __init__(self) -> None:
        super().__init__("a sample of the voice is not known here, send its bytes")


class OverloadedError(SpeechServingError):
    """Nobody is free to speak now.

    Attributes:
        retry_after_ms: When to ask again; the sentence ends with it, for programs to read.
    """

    code = ErrorCode.OVERLOADED

    def __init__(self, reason: str, *, retry_after_ms: int) -> None:
        super().__init__(f"{reason}, retry_after_ms={retry_after_ms}")
        self.retry_after_ms = retry_after_ms


class CancelledError(SpeechServingError):
    """The caller no longer listens."""

    code = ErrorCode.CANCELLED

    def __init__(self) -> None:
        super().__init__("the caller cancelled the request")


class DeadlineError(SpeechServingError):
    """What the caller allowed for the whole request has passed."""

    code = ErrorCode.DEADLINE

    def __init__(self) -> None:
        super().__init__("the request's time is over")


class InternalError(SpeechServingError):
    """Something of ours broke; the log has the place, the client only this."""

    code = ErrorCode.INTERNAL
