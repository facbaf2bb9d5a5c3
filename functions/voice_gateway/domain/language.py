"""Language tags, as BCP 47 writes them."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import StringConstraints

LANGUAGE_PATTERN: Final = r"^[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*$"

LanguageTag = Annotated[str, StringConstraints(pattern=LANGUAGE_PATTERN, max_length=35)]


def primary(tag: str) -> str:
    """The language alone, without script or region: `zh` of `zh-CN`."""
    return tag.lower().partition("-")[0]


def within(tag: str, wanted: str) -> bool:
    """Whether a tag is the wanted language or a kind of it: `fr-CA` is within `fr`."""
    tag, wanted = tag.lower(), wanted.lower()
    return tag == wanted or tag.startswith(f"{wanted}-")
