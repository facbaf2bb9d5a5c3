"""Conditional and repeated requests: ETag, If-Match, If-None-Match, Idempotency-Key (RFC 9110)."""

from __future__ import annotations

import re
from typing import Final

from voice_gateway.domain.errors import InvalidRequestError

_TAG: Final = re.compile(r'(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\U0010ffff]*)"')
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}")
_ANY: Final = "*"
_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


def etag(version: int) -> str:
    """The strong entity tag of a version."""
    return f'"{version}"'


def expected_versions(if_match: str | None) -> frozenset[int] | None:
    """Reads `If-Match`.

    Returns:
        The versions it names (a tag that is not one of ours, or a weak one, names none); None when
        any version will do.

    Raises:
        InvalidRequestError: It is no list of entity tags.
    """
    if if_match is None or if_match.strip() == _ANY:
        return None
    tags = _tags(if_match)
    if tags is None:
        raise InvalidRequestError(
            'Send the ETag as it was given, in its quotes: "7".', field="if-match"
        )
    return frozenset(
        int(opaque) for weak, opaque in tags if not weak and _VERSION.fullmatch(opaque)
    )


def is_known(if_none_match: str | None, version: int) -> bool:
    """Whether the caller of a GET has this version already; what cannot be read says no."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == _ANY:
        return True
    return any(opaque == str(version) for _, opaque in _tags(if_none_match) or ())


def idempotency_key(header: str | None) -> str | None:
    """Reads `Idempotency-Key`.

    Raises:
        InvalidRequestError: It is empty, too long, or has more than visible ASCII.
    """
    if header is not None and not _IDEMPOTENCY_KEY.fullmatch(header):
        raise InvalidRequestError(
            "1 to 255 visible ASCII characters, without spaces.", field="idempotency-key"
        )
    return header


def _tags(header: str) -> list[tuple[bool, str]] | None:
    tags = []
    for part in header.split(","):
        found = _TAG.fullmatch(part.strip())
        if not found:
            return None
        tags.append((bool(found["weak"]), found["opaque"]))
    return tags
