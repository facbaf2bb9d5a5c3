"""Measurements → findings, each with its bound and one sentence of advice.

The bounds are ours where the providers name none. They were set on material with known defects
(docs/sample-quality.md), so that clean speech passes and what is heard in a clone does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voice_gateway.domain.samples.report import Finding, FindingCode, Severity
from voice_gateway.domain.samples.requirements import LEAST_BITS, LEAST_RATE, LEAST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voice_gateway.domain.samples.report import Measurements

TARGET_LOUDNESS: Final = -23.0
"""LUFS; EBU R 128."""

_VOICED_LEAST: Final = 0.1
# From each bound on, the severity: a measurement takes the heaviest it reaches.
_CLIPPING: Final = ((0.03, Severity.FATAL), (0.005, Severity.MAJOR), (0.0002, Severity.MINOR))
_SNR: Final = ((8.0, Severity.FATAL), (20.0, Severity.MAJOR), (30.0, Severity.MINOR))
_BANDWIDTH: Final = ((4_500.0, Severity.FATAL), (8_500.0, Severity.MINOR))
_DC: Final = ((0.1, Severity.MAJOR), (0.01, Severity.MINOR))
_HUM: Final = ((-30.0, Severity.MAJOR), (-50.0, Severity.MINOR))
"""dB relative to the speech."""
_REVERBERATION: Final = ((0.8, Severity.MAJOR), (0.5, Severity.MINOR))
_SILENCE: Final = ((0.8, Severity.MAJOR), (0.5, Severity.MINOR))
_QUIET: Final = ((-45.0, Severity.MAJOR), (-32.0, Severity.MINOR))
_LOUD: Final = -12.0
_NOISE_FLOOR: Final = -45.0
_HIDDEN: Final = {Severity.FATAL: 15.0, Severity.MINOR: 20.0}
"""dB of SNR under which noise may hide the bands in question: then the noise alone is reported."""
_PITCH_APART: Final = 5.0
_LOW_ENERGY_LEAST: Final = 0.2
_CHANGING_TONES: Final = 0.08
"""Music was found above 0.1, fans and the mains below 0.05. Only noise is asked: what is far below
the voice has no tones worth a word."""


def find(measured: Measurements) -> tuple[Finding, ...]:
    """Returns what is wrong, the heaviest first."""
    order = list(reversed(Severity))
    found = [*_format(measured), *_speech(measured)]
    if all(f.code is not FindingCode.NO_SPEECH for f in found):
        found += [*_sound(measured), *_company(measured)]
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def _format(m: Measurements) -> Iterator[Finding]:
    if m.sample_rate < LEAST_RATE:
        yield Finding(
            code=FindingCode.LOW_SAMPLE_RATE,
            severity=Severity.FATAL,
            value=m.sample_rate,
            bound=LEAST_RATE,
            unit="Hz",
            advice=f"Record at {LEAST_RATE} Hz or more: at {m.sample_rate} Hz the voice is dull.",
        )
    if m.bit_depth is not None and m.bit_depth < LEAST_BITS:
        yield Finding(
            code=FindingCode.LOW_BIT_DEPTH,
            severity=Severity.FATAL,
            value=m.bit_depth,
            bound=LEAST_BITS,
            unit="bit",
            advice=f"Record with 16 bits or more: {m.bit_depth} bits hiss.",
        )
    if m.channels > 1:
        yield Finding(
            code=FindingCode.STEREO,
            severity=Severity.NOTE,
            value=m.channels,
            bound=1,
            unit="channels",
            advice="Stereo is mixed to mono: one microphone is enough.",
        )
    if (severity := _at_least(m.clipped_share, _CLIPPING)) is not None:
        yield Finding(
            code=FindingCode.CLIPPING,
            severity=severity,
            value=100 * m.clipped_share,
            bound=100 * _CLIPPING[-1][0],
            unit="%",
            advice="The loud moments are cut off: turn the input level down and record again.",
        )
    if (severity := _at_least(m.dc_offset, _DC)) is not None:
        yield Finding(
            code=FindingCode.DC_OFFSET,
            severity=severity,
            value=100 * m.dc_offset,
            bound=100 * _DC[-1][0],
            unit="% of full scale",
            advice="The signal is off its centre: try another sound card, cable or input.",
        )


def _speech(m: Measurements) -> Iterator[Finding]:
    if m.speech_seconds == 0 or m.voiced_share < _VOICED_LEAST:
        yield Finding(
            code=FindingCode.NO_SPEECH,
            severity=Severity.FATAL,
            value=m.voiced_share if m.speech_seconds else 0.0,
            bound=_VOICED_LEAST,
            unit="share of sound with a pitch",
            advice="Nobody can be heard speaking: check that the right microphone was chosen.",
        )
    elif m.usable_seconds < LEAST_SECONDS:
        yield Finding(
            code=FindingCode.TOO_SHORT,
            severity=Severity.FATAL,
            value=m.usable_seconds,
            bound=LEAST_SECONDS,
            unit="s",
            advice=f"There are only {m.usable_seconds:.1f} s of speech: read on for 15 to 20 s.",
        )


def _sound(m: Measurements) -> Iterator[Finding]:
    if (severity := _below(m.snr, _SNR)) is not None:
        yield Finding(
            code=FindingCode.NOISE,
            severity=severity,
            value=m.snr,
            bound=_SNR[-1][0],
            unit="dB",
            advice=f"The background is only {m.snr:.0f} dB below your voice: "
            "find a quieter room, or move closer.",
        )
    if m.noise_floor > _NOISE_FLOOR:
        yield Finding(
            code=FindingCode.NOISE_FLOOR,
            severity=Severity.MINOR,
            value=m.noise_floor,
            bound=_NOISE_FLOOR,
            unit="dBFS",
            advice="The pauses are not quiet: switch off fans, music and traffic behind windows.",
        )
    severity = _below(m.bandwidth, _BANDWIDTH)
    if severity is not None and m.snr >= _HIDDEN[severity]:
        yield Finding(
            code=FindingCode.NARROW_BAND,
            severity=severity,
            value=m.bandwidth,
            bound=_BANDWIDTH[0 if severity is Severity.FATAL else -1][0],
            unit="Hz",
            advice=f"The voice ends at {m.bandwidth / 1000:.1f} kHz, as over a telephone or a "
            "headset: record with the device itself.",
        )
    relative = m.hum_level - (m.noise_floor + m.snr)
    if m.hum_hertz and (severity := _at_least(relative, _HUM)) is not None:
        yield Finding(
            code=FindingCode.HUM,
            severity=severity,
            value=m.hum_level,
            bound=m.noise_floor + m.snr + _HUM[-1][0],
            unit="dBFS",
            advice=f"The mains hums at {m.hum_hertz:.0f} Hz: unplug the charger, or move cables.",
        )
    if m.reverberation is not None and (
        (severity := _at_least(m.reverberation, _REVERBERATION)) is not None
    ):
        yield Finding(
            code=FindingCode.REVERBERATION,
            severity=severity,
            value=m.reverberation,
            bound=_REVERBERATION[-1][0],
            unit="s",
            advice="The room echoes: move closer, and choose a room with carpets and curtains.",
        )
    if (severity := _at_least(m.silence_share, _SILENCE)) is not None:
        yield Finding(
            code=FindingCode.SILENCE,
            severity=severity,
            value=100 * m.silence_share,
            bound=100 * _SILENCE[-1][0],
            unit="%",
            advice="More than half of it is silence: read without long pauses.",
        )
    if (severity := _below(m.loudness, _QUIET)) is not None:
        yield Finding(
            code=FindingCode.TOO_QUIET,
            severity=severity,
            value=m.loudness,
            bound=_QUIET[-1][0],
            unit="LUFS",
            advice=f"You are {TARGET_LOUDNESS - m.loudness:.0f} dB too quiet: move closer.",
        )
    if m.loudness > _LOUD:
        yield Finding(
            code=FindingCode.TOO_LOUD,
            severity=Severity.MINOR,
            value=m.loudness,
            bound=_LOUD,
            unit="LUFS",
            advice=f"You are {m.loudness - TARGET_LOUDNESS:.0f} dB too loud: "
            "move away, or turn the input level down.",
        )


def _company(m: Measurements) -> Iterator[Finding]:
    if m.pitch_groups >= _PITCH_APART:
        yield Finding(
            code=FindingCode.SECOND_SPEAKER_SUSPECTED,
            severity=Severity.MAJOR,
            value=m.pitch_groups,
            bound=_PITCH_APART,
            unit="semitones",
            advice="There may be two people speaking: only one voice can be cloned.",
        )
    if m.low_energy_share < _LOW_ENERGY_LEAST:
        yield Finding(
            code=FindingCode.MUSIC_SUSPECTED,
            severity=Severity.MAJOR,
            value=100 * m.low_energy_share,
            bound=100 * _LOW_ENERGY_LEAST,
            unit="%",
            advice="It never pauses, as music or a crowd does: record the voice alone.",
        )
    elif m.snr < _SNR[-1][0] and m.changing_tones >= _CHANGING_TONES:
        yield Finding(
            code=FindingCode.MUSIC_SUSPECTED,
            severity=Severity.MAJOR,
            value=m.changing_tones,
            bound=_CHANGING_TONES,
            unit="more alike within a pause",
            advice="There seems to be music in the pauses: record the voice alone.",
        )


def _at_least(value: float, steps: tuple[tuple[float, Severity], ...]) -> Severity | None:
    return next((severity for bound, severity in steps if value >= bound), None)


def _below(value: float, steps: tuple[tuple[float, Severity], ...]) -> Severity | None:
    return next((severity for bound, severity in steps if value < bound), None)
