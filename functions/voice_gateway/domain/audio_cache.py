"""Sentences that were spoken before: what tells them apart, and which are worth keeping."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import BaseModel

from voice_gateway.domain.audio import AUDIBLE_PEAK, is_sound
from voice_gateway.domain.language import primary
from voice_gateway.domain.shaping import SHAPING_VERSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from voice_gateway.domain.speech import ProviderCapabilities, SpeechRequest, WordTiming

NOT_HEARD: Final = frozenset(
    {
        "asked",
        "budget",
        "chain",
        "deadline",
        "fresh",
        "journal",
        "personality_id",
        "sample_refused",
        "sentences",
        "strict",
        "tenant_id",
        "too_dear",
        "voices",
    }
)
"""The fields of a request that cannot be heard, or that a key holds in another way: the one
sentence, the one provider, its voice, and whose it is. Every other field is a part of the key, also
one that nobody has thought of yet."""

KEPT_VERSION: Final = 2
"""Of what is kept and how. Whoever knows an older one takes nothing from the newer."""

# Seconds a character: no human language is spoken faster or slower, digits and breaths included.
_LEAST: Final = 0.02
_MOST: Final = 0.35
_DENSE_MOST: Final = 1.2
_DENSE: Final = frozenset({"ja", "ko", "zh", "yue", "cmn"})
"""Languages that write a syllable or a word in one character."""
_DIGIT_SECONDS: Final = 1.2
_MARGIN_SECONDS: Final = 2.0
_FRAME_SECONDS: Final = 0.02
_SILENT_SHARE: Final = 0.8
_FULL_SCALE: Final = 0.999
_CLIPPED_SHARE: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceKey:
    """Names one sentence's audio. Nobody else's key is equal: audio is not shared among tenants."""

    tenant_id: str
    personality_id: str
    sample_hash: str
    """SHA-256 of the sample that was cloned; empty for a voice of a catalogue."""
    settings: str
    """SHA-256 of everything that decides how it sounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedSentence:
    """A sentence as its provider spoke it, or mastered already."""

    samples: NDArray[np.float32]
    """Mono, in [-1, 1]; shape [n]."""
    sample_rate: int
    voice: str
    match: float | None = None
    """How like the wanted voice it is; see `SpeechChunk`."""
    words: tuple[WordTiming, ...] = ()
    """When each is heard, where the provider told."""
    gain: float | None = None
    """What it was mastered at; None of one that was not."""


class Lookup(Enum):
    """What is known of a sentence that this request need not, or cannot, keep itself."""

    KEPT = auto()
    """It is there."""
    BUSY = auto()
    """Somebody is speaking it at this moment."""
    UNKNOWN = auto()
    """Nobody can tell: the cache is away."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to speak a sentence for all who wait for it; it is lost to time."""

    key: SentenceKey
    token: int
    """Grows with every claim: what an older one keeps too late is refused."""


def sentence_key(
    request: SpeechRequest, sentence: str, provider: str, can: ProviderCapabilities
) -> SentenceKey:
    """Names a sentence of a request as one provider would speak it."""
    [key] = sentence_keys(replace(request, sentences=(sentence,)), provider, can)
    return key


def sentence_keys(
    request: SpeechRequest, provider: str, can: ProviderCapabilities
) -> list[SentenceKey]:
    """Names all sentences of a request as one provider would speak them."""
    heard = {f.name: getattr(request, f.name) for f in fields(request) if f.name not in NOT_HEARD}
    heard |= {
        "provider": provider,
        "voice": request.voices.get(provider),
        "engine": can.version,
        "shaping": SHAPING_VERSION,
        "kept": KEPT_VERSION,
    }
    same_for_all = hashlib.sha256(json.dumps(heard, sort_keys=True, default=_plain).encode())

    def named(sentence: str) -> SentenceKey:
        settings = same_for_all.copy()
        settings.update(sentence.encode(errors="surrogatepass"))
        return SentenceKey(
            tenant_id=request.tenant_id,
            personality_id=request.personality_id,
            sample_hash=request.sample_hash or "",
            settings=settings.hexdigest(),
        )

    return [named(sentence) for sentence in request.sentences]


def why_not_keep(
    samples: NDArray[np.float32], sample_rate: int, *, sentence: str, language: str, speed: float
) -> str | None:
    """Judges whether a sentence is what it should be, as far as arithmetic can tell.

    Args:
        samples: Mono, shape [n].
        sample_rate: Hz.
        sentence: What should be heard.
        language: BCP 47 tag.
        speed: It was asked for at.

    Returns:
        `not_finite`, `clipped`, `silent`, `too_short` or `too_long`; None when it may be kept.
    """
    if not is_sound(samples):
        return "not_finite"
    level = np.abs(samples)
    if np.count_nonzero(level >= _FULL_SCALE) > _CLIPPED_SHARE * samples.size:
        return "clipped"
    frame = max(1, round(_FRAME_SECONDS * sample_rate))
    peaks = level[: samples.size // frame * frame].reshape(-1, frame).max(axis=1, initial=0)
    audible = np.flatnonzero(peaks > AUDIBLE_PEAK)
    if audible.size < (1 - _SILENT_SHARE) * peaks.size or not audible.size:
        return "silent"
    spoken = (audible[-1] - audible[0] + 1) * _FRAME_SECONDS * speed
    letters = sum(character.isalnum() for character in sentence)
    digits = sum(character.isdigit() for character in sentence)
    most = _DENSE_MOST if primary(language) in _DENSE else _MOST
    if spoken < _LEAST * letters:
        return "too_short"
    if spoken > _MARGIN_SECONDS + most * len(sentence) + _DIGIT_SECONDS * digits:
        return "too_long"
    return None


def _plain(value: object) -> object:
    """Writes what JSON has no word for, the same every time."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    return repr(value)
