"""The report on a voice sample: what was measured, what is wrong, what to do about it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Severity(StrEnum):
    """What a finding does to the grade."""

    NOTE = "note"
    """Nothing: it is taken care of."""
    MINOR = "minor"
    """No better than ok."""
    MAJOR = "major"
    """No better than poor."""
    FATAL = "fatal"
    """Rejected."""


class Grade(StrEnum):
    """How good a sample is, best first."""

    STUDIO = "studio"
    GOOD = "good"
    OK = "ok"
    POOR = "poor"
    REJECTED = "rejected"


class FindingCode(StrEnum):
    """What can be wrong. The first group cannot be measured: the bytes are no usable recording."""

    EMPTY = "empty"
    MISSING = "missing"
    TOO_LARGE = "too_large"
    TOO_OFTEN = "too_often"
    NOT_AUDIO = "not_audio"
    UNSUPPORTED_CONTAINER = "unsupported_container"
    UNSUPPORTED_CODEC = "unsupported_codec"
    DAMAGED = "damaged"
    TRUNCATED = "truncated"
    TOO_MANY_CHANNELS = "too_many_channels"
    RATE_OUT_OF_RANGE = "rate_out_of_range"
    TOO_LONG = "too_long"
    NOT_A_NUMBER = "not_a_number"

    TOO_SHORT = "too_short"
    NO_SPEECH = "no_speech"
    LOW_SAMPLE_RATE = "low_sample_rate"
    LOW_BIT_DEPTH = "low_bit_depth"
    STEREO = "stereo"
    CLIPPING = "clipping"
    DC_OFFSET = "dc_offset"
    NOISE = "noise"
    NOISE_FLOOR = "noise_floor"
    NARROW_BAND = "narrow_band"
    HUM = "hum"
    REVERBERATION = "reverberation"
    SILENCE = "silence"
    SECOND_SPEAKER_SUSPECTED = "second_speaker_suspected"
    MUSIC_SUSPECTED = "music_suspected"
    TOO_QUIET = "too_quiet"
    TOO_LOUD = "too_loud"


class Finding(BaseModel):
    """One thing that is not as it should be."""

    model_config = ConfigDict(frozen=True)

    code: FindingCode
    severity: Severity
    value: float | None = None
    """As measured; None where there is nothing to measure."""
    bound: float | None = None
    """What it should have kept to."""
    unit: str = ""
    """Of both."""
    advice: str
    """One plain sentence for whoever made the recording."""


class Measurements(BaseModel):
    """Everything that was measured."""

    model_config = ConfigDict(frozen=True)

    container: str
    codec: str
    bit_depth: int | None
    sample_rate: int
    """Hz."""
    channels: int
    seconds: float
    speech_seconds: float
    usable_seconds: float
    """From the first word to the last."""
    silence_share: float = Field(ge=0, le=1)
    voiced_share: float = Field(ge=0)
    """Of the speech: how much of it has a pitch."""
    clipped_share: float = Field(ge=0, le=1)
    dc_offset: float
    """Full scale is 1."""
    loudness: float
    """LUFS."""
    noise_floor: float
    """dBFS."""
    snr: float
    """dB."""
    bandwidth: float
    """Hz up to which the voice goes."""
    hum_hertz: float
    """50 or 60; 0 for none."""
    hum_level: float
    """dBFS."""
    reverberation: float | None
    """Seconds for 60 dB; None where noise hides it."""
    pitch_groups: float
    """Semitones between two groups of phrases; 0 for one group."""
    low_energy_share: float = Field(ge=0, le=1)
    changing_tones: float = Field(default=0.0, ge=0, le=1)
    """How much more alike the tones of one pause are than those of others; 0 too where nobody
    measured it."""
    pitch_hz: float | None = None
    """The median of what is voiced; None where nothing is, or nobody measured it."""


class ProviderFitness(BaseModel):
    """Whether one provider can clone from this sample."""

    model_config = ConfigDict(frozen=True)

    provider: str
    fits: bool
    best: bool
    """Whether there is enough for the length it likes best."""
    usable_seconds: float
    """From the first word to the last."""
    least: float
    most: float
    best_least: float
    best_most: float
    reason: str


class SampleReport(BaseModel):
    """What is known of one sample."""

    model_config = ConfigDict(frozen=True)

    content_hash: str
    """SHA-256 of the original bytes, hexadecimal: the sample's identity."""
    grade: Grade
    reason: str
    """Why it is no better: the advice of the finding that weighs most."""
    findings: tuple[Finding, ...] = ()
    """The heaviest first."""
    measurements: Measurements | None = None
    """None where the bytes could not be read."""
    fitness: tuple[ProviderFitness, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether anything may be cut from it."""
        return self.grade is not Grade.REJECTED
