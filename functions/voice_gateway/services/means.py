"""What a request would cost, and how a chain keeps within a tenant's means."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from voice_gateway.domain.audio_cache import sentence_keys
from voice_gateway.domain.billing import charge
from voice_gateway.domain.budget import BudgetState, Optimize, cheapest_first, too_dear
from voice_gateway.domain.money import FREE, Usd

if TYPE_CHECKING:
    from voice_gateway.domain.speech import SpeechRequest
    from voice_gateway.ports import AudioCache, ProviderDirectory


class ProviderEstimate(BaseModel):
    """What it would cost if this provider spoke all of it."""

    model_config = ConfigDict(frozen=True)

    provider: str
    usable: bool
    """Whether it would be asked at all: it is here, speaks the language, and fits the budget."""
    characters: int = 0
    """As it bills them."""
    cached_characters: int = 0
    """Of those, the ones that were spoken before and need not be spoken again."""
    usd_per_million_characters: float = 0.0
    """In the voice pinned there, or the one that it chooses."""
    cost_usd: Usd = FREE
    """Of what is not cached."""
    cost_saved_usd: Usd = FREE


class Estimate(BaseModel):
    """What a request would cost, by provider in the order they would be asked."""

    model_config = ConfigDict(frozen=True)

    sentences: int
    characters: int
    """Of the text as it would be spoken."""
    cost_usd: Usd
    """If the first usable provider speaks all of it."""
    budget: BudgetState | None
    providers: tuple[ProviderEstimate, ...]


async def estimate(
    request: SpeechRequest, providers: ProviderDirectory, cache: AudioCache
) -> Estimate:
    """Works out what a request would cost; asks no provider."""
    found = [await _estimate(name, request, providers, cache) for name in request.chain]
    first = next((each for each in found if each.usable), None)
    return Estimate(
        sentences=len(request.sentences),
        characters=sum(map(len, request.sentences)),
        cost_usd=FREE if first is None else first.cost_usd,
        budget=request.budget,
        providers=tuple(found),
    )


def within_means(
    request: SpeechRequest,
    optimize: Optimize,
    budget: BudgetState | None,
    providers: ProviderDirectory,
) -> SpeechRequest:
    """Orders a request's chain by price where that is wanted or needed, and shuts out by budget.

    A chain of one (forced, or strict) is not reordered; it can still be too dear.

    Args:
        request: As the caller and the personality want it.
        optimize: What its order is for.
        budget: How far the tenant's month is spent; None without a bound.
        providers: Know what they cost.
    """
    if optimize is Optimize.QUALITY and budget in (None, BudgetState.WITHIN):
        return replace(request, budget=budget)
    prices = {
        name: Decimal(str(provider.capabilities.price(request.voices.get(name))))
        for name in request.chain
        if (provider := providers.get(name)) is not None
    }
    chain = request.chain
    # With nothing left, the order stays: what the dear ones said before may be heard for nothing.
    if optimize is Optimize.COST or budget is BudgetState.SOFT:
        chain = cheapest_first(chain, prices)
    return replace(
        request,
        chain=chain,
        # Cheapest first by choice is what was asked for; by need, it is a substitution.
        asked=chain[0] if optimize is Optimize.COST else request.chain[0],
        too_dear=too_dear(chain, prices) if budget is BudgetState.HARD else frozenset(),
        budget=budget,
    )


async def _estimate(
    name: str, request: SpeechRequest, providers: ProviderDirectory, cache: AudioCache
) -> ProviderEstimate:
    provider = providers.get(name)
    if provider is None:
        return ProviderEstimate(provider=name, usable=False)
    can, voice = provider.capabilities, request.voices.get(name)
    keys = sentence_keys(request, name, can)
    kept = tuple(zip(request.sentences, await cache.holds(keys), strict=True))
    cached, saved = charge(can, request, voice, [sentence for sentence, there in kept if there])
    fresh, cost = charge(can, request, voice, [sentence for sentence, there in kept if not there])
    return ProviderEstimate(
        provider=name,
        usable=can.speaks(request.language) and name not in request.too_dear,
        characters=cached + fresh,
        cached_characters=cached,
        usd_per_million_characters=can.price(voice),
        cost_usd=cost,
        cost_saved_usd=saved,
    )
