"""The receipt of an answer: what was asked, who spoke, why, how fast, what it cost."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from voice_gateway.domain.money import FREE
from voice_gateway.domain.receipt import Asked, Outcome, Receipt, Served
from voice_gateway.domain.speech import is_voice

if TYPE_CHECKING:
    import asyncio

    from voice_gateway.domain.speech import SpeechRequest
    from voice_gateway.services.mastering import MasteredAudio
    from voice_gateway.services.speech_requests import SpeechCommand


class Progress:
    """What the receipt needs to know of the stream."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.first_piece: MasteredAudio | None = None
        self.first_audio: float | None = None
        self.audio_seconds = 0.0
        self.paused = 0.0
        """Seconds that the listener took, not we."""
        self.saving: asyncio.Task[None] | None = None
        """The receipt on its way into the table, and the characters with it."""


def receipt_of(
    command: SpeechCommand, request: SpeechRequest, progress: Progress, now: float
) -> Receipt:
    """Writes down how an answer went, whole or not.

    Args:
        command: What the caller wanted.
        request: What was asked of providers; its journal tells what they did.
        progress: How far the stream came.
        now: `Clock.monotonic` time.
    """
    attempts = request.journal.attempts
    asked_provider = request.asked or request.chain[0]
    asked = Asked(
        provider=asked_provider,
        voice=request.voices.get(asked_provider),
        quality=request.quality.value,
    )
    total = now - progress.started - progress.paused
    spoken = sum(a.sentences for a in attempts)
    whole = not any(a.cut or a.skipped for a in attempts)
    served = tuple(
        Served(
            provider=provider,
            voice=voice,
            match=match,
            sentences=sum(a.sentences for a in turns),
        )
        for (provider, voice, match), turns in groupby(
            (a for a in attempts if a.sentences > a.skipped),
            key=lambda a: (a.provider, a.voice, a.match),
        )
    )
    first = progress.first_audio
    return Receipt(
        request_id=command.request_id,
        personality=command.personality_id,
        asked=asked,
        served=served,
        substituted=request.sample_refused is not None
        or any(
            turn.provider != asked.provider or not is_voice(turn.voice, asked.voice)
            for turn in served
        ),
        complete=spoken == len(request.sentences) and whole,
        attempts=tuple(attempts),
        sentences=len(request.sentences),
        hedges=sum(a.hedge for a in attempts),
        first_audio_ms=None if first is None else round((first - progress.started) * 1000, 1),
        total_ms=round(total * 1000, 1),
        audio_seconds=round(progress.audio_seconds, 3),
        real_time_factor=(
            round(total / progress.audio_seconds, 4) if progress.audio_seconds else None
        ),
        characters=sum(map(len, request.sentences)),
        purpose=command.purpose.value,
        characters_counted=sum(map(len, request.sentences[:spoken])),
        cache_hits=sum(a.sentences for a in attempts if a.outcome is Outcome.CACHED),
        cost_usd=sum((a.cost_usd for a in attempts), FREE),
        cost_saved_usd=sum((a.cost_saved_usd for a in attempts), FREE),
        budget=request.budget,
        not_applied=tuple(sorted(request.journal.not_applied)),
        sample_refused=request.sample_refused,
        format=command.audio_format.value,
        sample_rate=command.sample_rate,
        channels=command.channels,
    )
