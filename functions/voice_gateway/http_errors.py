"""The one map from errors to HTTP answers: RFC 9457 problem details."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from voice_gateway.domain.errors import (
    AllProvidersFailedError,
    ConflictError,
    FailureReason,
    ForbiddenError,
    InvalidRequestError,
    InvalidSampleError,
    LimitReachedError,
    NotFoundError,
    PlanLimitError,
    PreconditionFailedError,
    ProviderError,
    QuotaExceededError,
    RequestError,
    StaleWriteError,
    StorageUnavailableError,
    TooLargeError,
    UnauthorizedError,
    UnsupportedMediaError,
)
from voice_gateway.domain.receipt import Attempt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROBLEM_JSON: Final = "application/problem+json"

_FIELDS_SHOWN: Final = 20
_FIELD_PATH_SHOWN: Final = 120
"""Names of unknown fields come from the caller: ten thousand of them must not come back."""

_STATUS: Final[Mapping[type[RequestError], int]] = {
    InvalidRequestError: 422,
    InvalidSampleError: 422,
    TooLargeError: 413,
    UnsupportedMediaError: 415,
    UnauthorizedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    StaleWriteError: 409,
    PreconditionFailedError: 412,
    PlanLimitError: 402,
    QuotaExceededError: 429,
}
_TITLE: Final[Mapping[int, str]] = {
    400: "The request cannot be read",
    401: "Not signed in",
    402: "The tier gives no more",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    412: "Changed meanwhile",
    413: "Too large",
    415: "Unsupported media type",
    422: "A field is wrong",
    429: "Used up",
    500: "Something broke on our side",
    503: "Nobody can answer right now",
}


class RefusedRequestError(Exception):
    """The request does not fit its model.

    Apart from `ValidationError` itself, which may also mean that a stored document cannot be read:
    that one is ours to answer for, not the caller's.
    """

    def __init__(self, cause: ValidationError) -> None:
        super().__init__(type(cause).__name__)
        self.cause = cause


class FieldProblem(BaseModel):
    """One wrong field."""

    model_config = ConfigDict(frozen=True)

    field: str
    message: str


class LimitShown(BaseModel):
    """The limit that was reached."""

    model_config = ConfigDict(frozen=True)

    tier: str
    limit: int
    usage: int
    resets_at: datetime | None
    """Null where waiting does not help."""


class Problem(BaseModel):
    """The body of every answer that is not a success."""

    model_config = ConfigDict(frozen=True)

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: tuple[FieldProblem, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    request_id: str | None = None
    reached: LimitShown | None = None
    retry_after: int | None = None
    """Seconds."""

    def body(self) -> dict[str, Any]:
        """The JSON object to send: empty parts left out."""
        empty = {name for name in ("errors", "attempts") if not getattr(self, name)}
        body = self.model_dump(
            mode="json", exclude_none=True, exclude=empty | {"reached", "retry_after"}
        )
        return body | (self.reached.model_dump(mode="json") if self.reached else {})

    def headers(self) -> dict[str, str]:
        """What goes with it beside its type."""
        return {} if self.retry_after is None else {"retry-after": str(self.retry_after)}


def problem_for(error: Exception, request_id: str | None = None) -> Problem:
    """Maps an error to its answer; anything unknown is a 500 that tells nothing."""
    if isinstance(error, LimitReachedError):
        return _limit(error, request_id)
    if isinstance(error, RequestError):
        status = _STATUS[type(error)]
        fields = (FieldProblem(field=error.field, message=error.message),) if error.field else ()
        return _problem(status, error.message, request_id, errors=fields)
    if isinstance(error, RefusedRequestError):
        return _refusal(error.cause, request_id)
    if isinstance(error, ProviderError) and error.reason is FailureReason.REJECTED:
        return _problem(
            422,
            "The request was refused by the speech provider.",
            request_id,
            errors=(FieldProblem(field="text", message=error.detail),),
        )
    if isinstance(error, AllProvidersFailedError):
        return _problem(
            503, "No speech provider could answer.", request_id, attempts=error.attempts
        )
    if isinstance(error, StorageUnavailableError):
        return _problem(503, "The data store did not answer; try again.", request_id)
    return _problem(500, "The failure is logged under this request id.", request_id)


def problem_for_status(status: int, detail: str, request_id: str | None = None) -> Problem:
    """The answer to a request that no route took (404, 405)."""
    return _problem(status, detail, request_id)


def _limit(error: LimitReachedError, request_id: str | None) -> Problem:
    told = _problem(_STATUS[type(error)], error.message, request_id)
    reached = LimitShown.model_validate(error, from_attributes=True)
    retry_after = error.retry_after if isinstance(error, QuotaExceededError) else None
    return told.model_copy(update={"reached": reached, "retry_after": retry_after})


def _refusal(error: ValidationError, request_id: str | None) -> Problem:
    # Without the offending input, which may be a customer's text.
    errors = error.errors(include_input=False, include_url=False)
    if any(e["type"] == "json_invalid" for e in errors):
        unreadable = FieldProblem(field="body", message="This is not JSON.")
        return _problem(400, "The body is not JSON.", request_id, errors=(unreadable,))
    fields = tuple(
        FieldProblem(field=_field_path(e["loc"]), message=str(e["msg"]))
        for e in errors[:_FIELDS_SHOWN]
    )
    named = ", ".join(dict.fromkeys(f.field for f in fields))
    return _problem(422, f"Check: {named}.", request_id, errors=fields)


def _field_path(loc: Sequence[str | int]) -> str:
    path = ".".join(map(str, loc)) or "body"
    return path if len(path) <= _FIELD_PATH_SHOWN else f"{path[:_FIELD_PATH_SHOWN]}…"


def _problem(
    status: int,
    detail: str,
    request_id: str | None,
    *,
    errors: tuple[FieldProblem, ...] = (),
    attempts: tuple[Attempt, ...] = (),
) -> Problem:
    return Problem(
        title=_TITLE.get(status, "The request failed"),
        status=status,
        detail=detail,
        errors=errors,
        attempts=attempts,
        request_id=request_id,
    )
