"""Who can speak here, how well, for how much, and how they have been of late."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict

from voice_gateway.domain.statistics import Percentiles
from voice_gateway.domain.voices import Gender
from voice_gateway.services.voice_matching import voices_of

if TYPE_CHECKING:
    from voice_gateway.domain.health import ProviderReport
    from voice_gateway.domain.speech import ProviderCapabilities
    from voice_gateway.domain.voices import Voice
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


class VoiceEntry(BaseModel):
    """One voice of a provider."""

    model_config = ConfigDict(frozen=True)

    name: str
    """What it is pinned by."""
    languages: tuple[str, ...]
    gender: Gender | None
    voice_class: str
    usd_per_million_characters: float
    streaming: bool

    @classmethod
    def of(cls, voice: Voice, can: ProviderCapabilities) -> Self:
        """Maps from the domain."""
        return cls(
            name=voice.name,
            languages=voice.languages,
            gender=voice.gender,
            voice_class=voice.voice_class,
            usd_per_million_characters=can.price(voice.name),
            streaming=voice.streaming,
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
    voices: tuple[VoiceEntry, ...] | None
    """Empty for one without named voices; None when they could not be listed."""
    voices_unavailable: str | None
    """Why not: a `FailureReason`."""
    health: HealthView | None

    @classmethod
    def of(
        cls,
        name: str,
        can: ProviderCapabilities,
        report: ProviderReport | None,
        voices: tuple[Voice, ...] | str,
    ) -> Self:
        """Maps from the domain; a text for the voices says why there are none."""
        unavailable = voices if isinstance(voices, str) else None
        return cls(
            name=name,
            languages=tuple(sorted(can.languages)),
            cloning=can.cloning,
            speed=can.speed,
            pitch=can.pitch,
            advanced=can.advanced,
            usd_per_million_characters=can.price(None),
            voices=None
            if isinstance(voices, str)
            else tuple(VoiceEntry.of(voice, can) for voice in voices),
            voices_unavailable=unavailable,
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
    found = [p for name in providers.names() if (p := providers.get(name)) is not None]
    reports, voices = await asyncio.gather(
        health.overview(providers.names(), tenant_id), asyncio.gather(*map(voices_of, found))
    )
    return ProviderList(
        providers=tuple(
            ProviderView.of(
                provider.name, provider.capabilities, reports.get(provider.name), listed
            )
            for provider, listed in zip(found, voices, strict=True)
        )
    )
