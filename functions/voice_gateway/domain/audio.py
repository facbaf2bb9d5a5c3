"""Audio inside the house: float32 mono in [-1, 1], its rate named beside it."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from voice_gateway.domain.limits import OUTPUT_RATE_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

AUDIBLE_PEAK: Final = 10 ** (-50 / 20)
"""Full scale is 1; what stays below −50 dBFS nobody hears, and counts as silence."""
_LEAD_SECONDS: Final = 0.02
_TAIL_SECONDS: Final = 0.06


class AudioFormat(StrEnum):
    """What the audio is sent out as."""

    WAV = "wav"
    MP3 = "mp3"
    OPUS = "opus"
    FLAC = "flac"
    PCM = "pcm"
    MULAW = "mulaw"
    """G.711, what telephones speak: 8-bit samples without a header."""


_MEDIA_TYPES: Final[Mapping[AudioFormat, str]] = MappingProxyType(
    {
        AudioFormat.WAV: "audio/wav",
        AudioFormat.MP3: "audio/mpeg",
        AudioFormat.OPUS: "audio/ogg; codecs=opus",
        AudioFormat.FLAC: "audio/flac",
        AudioFormat.PCM: "audio/pcm",
    }
)
_TELEPHONE_RATE: Final = 8000

MP3_RATES: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
OPUS_RATES: Final = (8000, 12000, 16000, 24000, 48000)


def media_type(audio_format: AudioFormat, sample_rate: int, channels: int) -> str:
    """Returns what HTTP calls the format; `audio/basic` is µ-law as RFC 2046 knows it alone."""
    if audio_format is not AudioFormat.MULAW:
        return _MEDIA_TYPES[audio_format]
    if (sample_rate, channels) == (_TELEPHONE_RATE, 1):
        return "audio/basic"
    return f"audio/PCMU; rate={sample_rate}; channels={channels}"


def usual_rate(audio_format: AudioFormat) -> int:
    """Returns the sample rate in Hz for whoever names none."""
    return _TELEPHONE_RATE if audio_format is AudioFormat.MULAW else OUTPUT_RATE_DEFAULT


def rates_of(audio_format: AudioFormat) -> tuple[int, ...] | None:
    """Returns the only sample rates that the format can carry, or None for any."""
    return {AudioFormat.MP3: MP3_RATES, AudioFormat.OPUS: OPUS_RATES}.get(audio_format)


def is_audible(samples: NDArray[np.float32]) -> bool:
    """Tells whether anything in it can be heard."""
    return bool(samples.size) and float(np.max(np.abs(samples))) > AUDIBLE_PEAK


def is_sound(samples: NDArray[np.float32]) -> bool:
    """Tells whether it is free of NaN and infinities."""
    return bool(np.isfinite(samples).all())


def silence(seconds: float, sample_rate: int) -> NDArray[np.float32]:
    """Returns that much silence, rounded to whole samples."""
    return np.zeros(round(seconds * sample_rate), dtype=np.float32)


class SentenceTrimmer:
    """Cuts the silence at both ends of one sentence while it streams.

    Quiet samples are held back until something audible follows, so that a pause inside the sentence
    stays and one at its end does not. A short lead and tail are kept: soft onsets and decays lie
    below the threshold.
    """

    def __init__(self, sample_rate: int) -> None:
        self._lead = round(_LEAD_SECONDS * sample_rate)
        self._tail = round(_TAIL_SECONDS * sample_rate)
        self._held = np.zeros(0, dtype=np.float32)
        self._heard = False

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Takes the next samples; returns what can go out now, shape [n], n ≥ 0."""
        held = np.concatenate((self._held, samples))
        loud = np.flatnonzero(np.abs(held) > AUDIBLE_PEAK)
        if loud.size == 0:
            # Before the first sound only the lead can still matter; after it, everything can.
            self._held = held if self._heard else held[max(0, held.size - self._lead) :]
            return held[:0]
        start = 0 if self._heard else max(0, int(loud[0]) - self._lead)
        end = int(loud[-1]) + 1
        self._heard = True
        self._held = held[end:]
        return held[start:end]

    def finish(self) -> NDArray[np.float32]:
        """Returns the tail that belongs to the sentence."""
        return self._held[: self._tail] if self._heard else self._held[:0]
