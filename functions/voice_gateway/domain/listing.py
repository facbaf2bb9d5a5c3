"""Which personalities a listing shows, and where a page of it ends."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.language import within

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from voice_gateway.domain.chain import Quality
    from voice_gateway.domain.personality import Personality

PAGE_BYTES: Final = 2_000_000
"""A Lambda answer ends at 6 MB; escaped inside its JSON, a page of this size stays well below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalityFilter:
    """What a listing asks for; None asks for any."""

    name: str | None = None
    """How the name begins, whatever its case and accents."""
    language: str | None = None
    """`fr` finds `fr-CA` too."""
    quality: Quality | None = None
    deleted: bool = False
    """The deleted ones that can still be restored, instead of those that are there."""

    @property
    def selects(self) -> bool:
        """Whether it asks for anything in particular."""
        return self != PersonalityFilter()

    def takes(self, personality: Personality, now: datetime) -> bool:
        """Whether a personality belongs into the listing."""
        config = personality.voice_config
        return (
            (personality.deleted_at is not None) == self.deleted
            and not personality.is_gone(now)
            and (self.name is None or folded(personality.name).startswith(folded(self.name)))
            and (self.language is None or within(config.language, self.language))
            and (self.quality is None or config.quality is self.quality)
        )


def folded(text: str) -> str:
    """Takes case and accents away: `Shanté` → `shante`."""
    bare = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in bare if not unicodedata.combining(c)).casefold()


def cut_page(found: Iterable[Personality], limit: int) -> tuple[list[Personality], bool]:
    """Takes what fits a page.

    Returns:
        The page, never empty when something was found, and whether more was.
    """
    page: list[Personality] = []
    size = 0
    for personality in found:
        size += len(personality.model_dump_json().encode())
        if len(page) == limit or (page and size > PAGE_BYTES):
            return page, True
        page.append(personality)
    return page, False
