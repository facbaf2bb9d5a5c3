from __future__ import annotations

from typing import Any

import pytest

from voice_gateway.domain.samples.assessment import assess, refuse
from voice_gateway.domain.samples.report import (
    Finding,
    FindingCode,
    Grade,
    Measurements,
    SampleReport,
    Severity,
)

STUDIO = Measurements(
    container="wav",
    codec="pcm_24",
    bit_depth=24,
    sample_rate=48_000,
    channels=1,
    seconds=20.0,
    speech_seconds=16.0,
    usable_seconds=19.0,
    silence_share=0.2,
    voiced_share=0.7,
    clipped_share=0.0,
    dc_offset=0.0,
    loudness=-23.0,
    noise_floor=-75.0,
    snr=52.0,
    bandwidth=16_000.0,
    hum_hertz=0.0,
    hum_level=-120.0,
    reverberation=0.2,
    pitch_groups=0.0,
    low_energy_share=0.5,
)


def report(**measured: Any) -> SampleReport:
    return assess("0" * 64, STUDIO.model_copy(update=measured))


def test_what_is_clean_wide_and_dry_is_studio() -> None:
    made = report()
    assert made.grade is Grade.STUDIO
    assert made.findings == ()
    assert made.usable


@pytest.mark.parametrize(
    "measured", [{"snr": 40.0}, {"bandwidth": 9_000.0}, {"reverberation": 0.45}]
)
def test_what_is_nearly_so_is_good(measured: dict[str, float]) -> None:
    made = report(**measured)
    assert made.grade is Grade.GOOD
    assert made.findings == ()
    assert made.reason


@pytest.mark.parametrize(
    ("measured", "code", "grade"),
    [
        ({"sample_rate": 16_000}, "low_sample_rate", Grade.REJECTED),
        ({"bit_depth": 8}, "low_bit_depth", Grade.REJECTED),
        ({"channels": 2}, "stereo", Grade.STUDIO),
        ({"clipped_share": 0.001}, "clipping", Grade.OK),
        ({"clipped_share": 0.01}, "clipping", Grade.POOR),
        ({"clipped_share": 0.05}, "clipping", Grade.REJECTED),
        ({"dc_offset": 0.02}, "dc_offset", Grade.OK),
        ({"dc_offset": 0.2}, "dc_offset", Grade.POOR),
        ({"speech_seconds": 0.0}, "no_speech", Grade.REJECTED),
        ({"voiced_share": 0.05}, "no_speech", Grade.REJECTED),
        ({"usable_seconds": 2.9}, "too_short", Grade.REJECTED),
        ({"snr": 29.0}, "noise", Grade.OK),
        ({"snr": 19.0}, "noise", Grade.POOR),
        ({"snr": 5.0}, "noise", Grade.REJECTED),
        ({"noise_floor": -40.0}, "noise_floor", Grade.OK),
        ({"bandwidth": 4_000.0}, "narrow_band", Grade.REJECTED),
        ({"bandwidth": 8_000.0}, "narrow_band", Grade.OK),
        ({"hum_hertz": 50.0, "hum_level": -60.0}, "hum", Grade.OK),
        ({"hum_hertz": 60.0, "hum_level": -40.0}, "hum", Grade.POOR),
        ({"reverberation": 0.6}, "reverberation", Grade.OK),
        ({"reverberation": 1.2}, "reverberation", Grade.POOR),
        ({"silence_share": 0.6}, "silence", Grade.OK),
        ({"silence_share": 0.9}, "silence", Grade.POOR),
        ({"loudness": -35.0}, "too_quiet", Grade.OK),
        ({"loudness": -50.0}, "too_quiet", Grade.POOR),
        ({"loudness": -9.0}, "too_loud", Grade.OK),
        ({"pitch_groups": 9.0}, "second_speaker_suspected", Grade.POOR),
        ({"low_energy_share": 0.1}, "music_suspected", Grade.POOR),
    ],
)
def test_each_fault_is_found_and_weighed(measured: dict[str, Any], code: str, grade: Grade) -> None:
    made = report(**measured)
    (finding,) = made.findings
    assert finding.code == code
    assert made.grade is grade
    assert finding.value is not None
    assert finding.bound is not None
    assert finding.unit
    assert finding.advice[0].isupper()
    assert finding.advice.endswith(".")
    if finding.severity is not Severity.NOTE:
        assert made.reason == finding.advice


def test_the_advice_says_how_much() -> None:
    (finding,) = report(loudness=-32.4).findings
    assert finding.advice == "You are 9 dB too quiet: move closer."


def test_the_heaviest_finding_gives_the_reason() -> None:
    made = report(channels=2, snr=15.0, loudness=-35.0)
    assert [f.code for f in made.findings] == ["noise", "too_quiet", "stereo"]
    assert made.reason == made.findings[0].advice


def test_music_is_suspected_in_noise_only() -> None:
    heard = report(snr=25.0, changing_tones=0.2)
    assert [f.code for f in heard.findings] == ["music_suspected", "noise"]
    assert heard.grade is Grade.POOR
    assert report(snr=35.0, changing_tones=0.2).findings == ()
    both = report(snr=25.0, changing_tones=0.2, low_energy_share=0.1)
    assert [f.code for f in both.findings] == ["music_suspected", "noise"]


def test_noise_may_hide_the_upper_bands_but_not_a_telephone() -> None:
    assert [f.code for f in report(snr=15.0, bandwidth=6_000.0).findings] == ["noise"]
    assert "narrow_band" in [f.code for f in report(snr=15.0, bandwidth=4_000.0).findings]
    assert [f.code for f in report(snr=10.0, bandwidth=4_000.0).findings] == ["noise"]


def test_where_nobody_speaks_there_is_nothing_else_to_say() -> None:
    assert [f.code for f in report(speech_seconds=0.0, snr=0.0).findings] == ["no_speech"]


@pytest.mark.parametrize(
    ("seconds", "xtts", "styletts"),
    [
        (2.0, (False, False), (False, False)),
        (4.0, (False, False), (True, False)),
        (7.0, (True, False), (True, True)),
        (19.0, (True, True), (True, True)),
        (100.0, (True, True), (True, True)),  # a part of it is cut
    ],
)
def test_each_provider_says_whether_there_is_enough(
    seconds: float, xtts: tuple[bool, bool], styletts: tuple[bool, bool]
) -> None:
    fitness = {f.provider: (f.fits, f.best) for f in report(usable_seconds=seconds).fitness}
    assert fitness == {"xtts_v2": xtts, "styletts2": styletts}


def test_a_rejected_sample_fits_nobody() -> None:
    assert not any(f.fits for f in report(snr=0.0).fitness)


def test_a_refusal_is_a_report_too() -> None:
    finding = Finding(code=FindingCode.EMPTY, severity=Severity.FATAL, advice="It is empty.")
    made = refuse("f" * 64, finding)
    assert (made.grade, made.reason, made.measurements) == (Grade.REJECTED, "It is empty.", None)
    assert SampleReport.model_validate_json(made.model_dump_json()) == made
