"""Quality levels, the provider chain of each, and how long each may wait for audio."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Quality(StrEnum):
    """What the caller asks for: how good, against how soon."""

    HIGHEST = "highest"
    HIGH = "high"
    MEDIUM = "medium"
    FAST = "fast"


PROVIDER_NAMES: Final = (
    "styletts2",
    "xtts_v2",
    "piper",
    "google",
    "azure",
    "watson",
    "espeak",
)
"""Every name that a chain may hold, deployed or not; each names a file of `providers/`."""

FLOOR: Final = "espeak"
"""The provider that needs no model, no network and no key, so that nobody is ever mute."""

CHAINS: Final[Mapping[Quality, tuple[str, ...]]] = MappingProxyType(
    {
        Quality.HIGHEST: ("styletts2", "xtts_v2", "google", "piper"),
        Quality.HIGH: ("xtts_v2", "styletts2", "google", "azure", "piper"),
        Quality.MEDIUM: ("piper", "xtts_v2", "google"),
        Quality.FAST: ("piper", "google", "azure"),
    }
)

PATIENCE_SECONDS: Final[Mapping[Quality, float]] = MappingProxyType(
    {Quality.HIGHEST: 8.0, Quality.HIGH: 6.0, Quality.MEDIUM: 4.0, Quality.FAST: 2.0}
)
"""How long a provider may keep the listener waiting, for its first audio and then for each next
piece, before the next one is asked."""

FIRST_AUDIO_SECONDS: Final[Mapping[Quality, float]] = MappingProxyType(
    {Quality.HIGHEST: 3.0, Quality.HIGH: 2.0, Quality.MEDIUM: 1.0, Quality.FAST: 0.5}
)
"""How long the first audio may take before the next provider is started beside: a hedge."""


def chain_for(
    quality: Quality,
    *,
    preferred: str | None = None,
    own_chain: tuple[str, ...] | None = None,
    forced: str | None = None,
    strict: bool = False,
) -> tuple[str, ...]:
    """Decides who is asked, in order.

    Args:
        quality: Chooses the chain where the personality has none of its own.
        preferred: The personality's provider; asked before the chain.
        own_chain: The personality's chain; replaces the quality's.
        forced: The request's provider; bypasses the chain and the floor.
        strict: Only the asked provider may speak.

    Returns:
        Provider names without repeats; the first is the asked one, the floor the last unless the
        request is forced or strict.
    """
    if forced is not None:
        return (forced,)
    chain = own_chain or CHAINS[quality]
    asked = (preferred, *chain) if preferred is not None else chain
    if strict:
        return asked[:1]
    return tuple(dict.fromkeys((*asked, FLOOR)))
