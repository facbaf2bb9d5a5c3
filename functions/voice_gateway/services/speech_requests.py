"""From what a caller wants to what providers are asked for; and whose fault it is if nobody can."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from voice_gateway.domain.audio import AudioFormat
from voice_gateway.domain.chain import FLOOR, chain_for
from voice_gateway.domain.errors import (
    AllProvidersFailedError,
    BudgetSpentError,
    FailureReason,
    InvalidRequestError,
)
from voice_gateway.domain.language import primary
from voice_gateway.domain.lexicon import as_said
from voice_gateway.domain.limits import MAX_TEXT_CHARACTERS
from voice_gateway.domain.receipt import Outcome
from voice_gateway.domain.samples.sample import SampleRefusal
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.domain.text import split_sentences
from voice_gateway.domain.tiers import Purpose
from voice_gateway.domain.voice_match import traits_of

if TYPE_CHECKING:
    from voice_gateway.domain.budget import Optimize
    from voice_gateway.domain.chain import Quality
    from voice_gateway.domain.personality import AdvancedSettings, Personality, VoiceConfig
    from voice_gateway.domain.samples.sample import VoiceSample


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechCommand:
    """What a caller wants spoken; None leaves the choice to the personality."""

    tenant_id: str
    request_id: str
    personality_id: str
    text: str
    language: str | None = None
    quality: Quality | None = None
    optimize: Optimize | None = None
    provider: str | None = None
    """Forces one provider."""
    speed: float | None = None
    pitch: float | None = None
    advanced: AdvancedSettings | None = None
    strict: bool = False
    fresh: bool = False
    """Spoken anew, and not kept."""
    audio_format: AudioFormat = AudioFormat.WAV
    sample_rate: int = 24_000
    channels: int = 1
    purpose: Purpose = Purpose.LIVE
    seconds_left: float | None = None
    """How long the caller's runtime will still wait; None for no bound."""


def request_for(
    command: SpeechCommand, personality: Personality, sample: VoiceSample | None, now: float
) -> SpeechRequest:
    """Works out what is spoken, by whom and how: the caller's word goes before the personality's.

    Args:
        command: What the caller wants.
        personality: Who speaks.
        sample: The one that it speaks from, a tombstone too; None where there is none.
        now: `Clock.monotonic` time.

    Raises:
        InvalidRequestError: Nothing to pronounce, or too much by the personality's lexicon; or its
            own voice is demanded, and may not be cloned.
    """
    config = personality.voice_config
    refused = _refusal(config, sample)
    cloned = sample if refused is None else None
    if refused is not None and command.strict:
        raise InvalidRequestError(
            f"The personality's own voice may not be cloned ({refused}), and no substitute is "
            "allowed.",
            field="strict",
        )
    language = (command.language or config.language).lower()
    quality = command.quality or config.quality
    say = partial(as_said, lexicon=personality.lexicon, language=language)
    sentences = split_sentences(command.text, language, say)
    if (length := sum(map(len, sentences))) > MAX_TEXT_CHARACTERS:
        raise InvalidRequestError(
            f"As the personality's lexicon says it, it is {length} characters long; at most "
            f"{MAX_TEXT_CHARACTERS} are spoken.",
            field="text",
        )
    if not sentences:
        raise InvalidRequestError("There is nothing to pronounce in it.", field="text")
    deadline = None
    if command.seconds_left is not None:
        deadline = now + command.seconds_left
    return SpeechRequest(
        tenant_id=command.tenant_id,
        personality_id=personality.id,
        sentences=sentences,
        language=language,
        chain=chain_for(
            quality,
            preferred=config.provider,
            # A request that names a quality means that quality's chain.
            own_chain=config.fallback_chain if command.quality is None else None,
            forced=command.provider,
            strict=command.strict,
        ),
        quality=quality,
        # A pinned voice speaks the personality's own language; another one needs another voice.
        voices=config.voices if primary(language) == primary(config.language) else {},
        wanted=traits_of(config, sample),
        speed=config.speed if command.speed is None else command.speed,
        pitch=config.pitch if command.pitch is None else command.pitch,
        advanced=command.advanced or config.advanced,
        sample_path=None if cloned is None else cloned.path,
        sample_hash=None if cloned is None or cloned.report is None else cloned.report.content_hash,
        windows={} if cloned is None else {w.provider: w for w in cloned.windows},
        sample_refused=refused,
        strict=command.strict,
        fresh=command.fresh,
        deadline=deadline,
    )


def blame(
    error: AllProvidersFailedError, command: SpeechCommand, request: SpeechRequest
) -> AllProvidersFailedError | BudgetSpentError | InvalidRequestError:
    """Tells a request that nobody here could ever serve from a chain that is down."""
    reasons = {a.reason for a in error.attempts}
    failed = [a for a in error.attempts if a.outcome is Outcome.FAILED]
    if any(a.provider == FLOOR and a.reason == FailureReason.BAD_AUDIO for a in failed):
        # The floor is a library in this process: if it is silent, there is nothing to say.
        return InvalidRequestError("Nobody here can pronounce any of it.", field="text")
    if failed or "breaker_open" in reasons:
        return error
    if "budget" in reasons:
        dear = ", ".join(sorted(request.too_dear))
        return BudgetSpentError(
            f"This month's budget is spent, and nobody else than {dear} may or can speak this."
        )
    if "language" in reasons:
        asked = ", ".join(request.chain)
        return InvalidRequestError(
            f"{request.language} is spoken by none of the providers asked: {asked}.",
            field="language",
        )
    field = "strict" if command.provider is None else "provider"
    if "cannot_clone" in reasons:
        return InvalidRequestError(
            f"{request.chain[0]} cannot clone a voice, and no substitute is allowed.", field=field
        )
    return InvalidRequestError(
        f"{request.chain[0]} is not deployed here, and no substitute is allowed.", field=field
    )


def _refusal(config: VoiceConfig, sample: VoiceSample | None) -> SampleRefusal | None:
    """Tells why the sample that a personality names may not be cloned."""
    if config.sample_path is None:
        return None
    return SampleRefusal.GONE if sample is None else sample.refusal
