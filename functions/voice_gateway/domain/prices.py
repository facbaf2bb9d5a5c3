"""What vendors charge, as dated data: list prices without free quotas and volume discounts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

_GOOGLE: Final = "https://cloud.google.com/text-to-speech/pricing"
_AZURE: Final = "https://azure.microsoft.com/pricing/details/cognitive-services/speech-services/"
_IBM: Final = "https://www.ibm.com/products/text-to-speech/pricing"
# Compared on this day with what others read off those pages: Google's on 2026-08-24, Azure's in its
# retail price list (https://prices.azure.com/api/retail/prices, East US: the meters "S1 Neural Text
# To Speech Characters" and "Neural HD Text to Speech Characters") on 2026-09-22, and IBM's as two
# cents a thousand characters, undated. None of the three pages itself could be read from here.
_NOTED: Final = date(2026, 11, 27)


@dataclass(frozen=True, slots=True)
class Price:
    """Of one class of voices, from one day on."""

    provider: str
    voice_class: str
    usd_per_million_characters: float
    source: str
    noted: date = _NOTED
    """When it was written down here; look it up again before it is a year old."""


PRICES: Final = (
    Price("google", "standard", 4.0, _GOOGLE),
    Price("google", "wavenet", 4.0, _GOOGLE),
    Price("google", "neural2", 16.0, _GOOGLE),
    Price("google", "polyglot", 16.0, _GOOGLE),
    Price("google", "news", 16.0, _GOOGLE),
    Price("google", "casual", 16.0, _GOOGLE),
    Price("google", "chirp-hd", 30.0, _GOOGLE),
    Price("google", "chirp3-hd", 30.0, _GOOGLE),
    Price("google", "studio", 160.0, _GOOGLE),
    Price("azure", "neural", 15.0, _AZURE),
    Price("azure", "neural-hd", 22.0, _AZURE),
    Price("watson", "neural", 20.0, _IBM),
    Price("watson", "expressive", 20.0, _IBM),
    Price("watson", "natural", 20.0, _IBM),
)

_BY_CLASS: Final = {(p.provider, p.voice_class): p.usd_per_million_characters for p in PRICES}


def usd_per_million(provider: str, voice_class: str) -> float:
    """Returns a class's price; of one that is not known, the provider's highest.

    A cost that is guessed must not be guessed too low: budgets rely on it.
    """
    known = _BY_CLASS.get((provider, voice_class))
    if known is not None:
        return known
    return max((p.usd_per_million_characters for p in PRICES if p.provider == provider), default=0)
