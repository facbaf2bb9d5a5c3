"""Who can speak here, how well, for how much, and how they have been of late."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict

from voice_gateway.domain.statistics import Percentiles

if TYPE_CHECKING:
    from voice_gateway.domain.health import ProviderReport
    from voice_gateway.domain.speech import ProviderCapabilities
    from voice_gateway.ports import ProviderDirectory, ProviderHealth


class HealthView(BaseModel):
    """How a provider has been in the last ten minutes, for this tenant."""

    model_config = ConfigDict(frozen=True)

    open: bool
    """Whether every request may be brought to it."""
    reason: str | None
    """What keeps requests from it."""
    until: datetime | None
    """When one may try it next."""
    good: int
    bad: int
    first_audio_ms: Percentiles
    total_ms: Percentiles

    @classmethod
    def of(cls, report: ProviderReport) -> Self:
        """Maps from the domain."""
        shut = report.standing
        return cls(
            open=shut is None,
            reason=None if shut is None else shut.reason,
            until=None if shut is None else shut.until,
            good=report.good,
            bad=report.bad,
            first_audio_ms=report.first_audio,
            total_ms=report.total,
        )


class ProviderView(BaseModel):
    """One provider."""

    model_config = ConfigDict(frozen=True)

    name: str
    languages: tuple[str, ...]
    """Primary language subtags."""
    cloning: bool
    speed: bool
    pitch: bool
    advanced: bool
    usd_per_million_characters: float
    """Of the voice that it chooses by itself; 0 for our own."""
    health: HealthView | None

    @classmethod
    def of(cls, name: str, can: ProviderCapabilities, report: ProviderReport | None) -> Self:
        """Maps from the domain."""
        return cls(
            name=name,
            languages=tuple(sorted(can.languages)),
            cloning=can.cloning,
            speed=can.speed,
            pitch=can.pitch,
            advanced=can.advanced,
            usd_per_million_characters=can.price(None),
            health=None if report is None else HealthView.of(report),
        )


class ProviderList(BaseModel):
    """Every provider of this deployment."""

    model_config = ConfigDict(frozen=True)

    providers: tuple[ProviderView, ...]


async def overview(
    providers: ProviderDirectory, health: ProviderHealth, tenant_id: str
) -> ProviderList:
    """Lists the providers of this deployment, and how this tenant stands with them."""
    reports = await health.overview(providers.names(), tenant_id)
    return ProviderList(
        providers=tuple(
            ProviderView.of(name, provider.capabilities, reports.get(name))
            for name in providers.names()
            if (provider := providers.get(name)) is not None
        )
    )
