"""On the real decoder and converter: they need nothing but the bytes."""

from __future__ import annotations

import hashlib
import io
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fakes.recordings import RATE, encoded, voice, white
from voice_gateway.adapters.audio_decoder import SoundfileDecoder
from voice_gateway.adapters.sample_converter import SoxrConverter
from voice_gateway.domain.errors import InvalidRequestError
from voice_gateway.domain.samples.loudness import integrated_loudness
from voice_gateway.domain.samples.report import FindingCode, Grade
from voice_gateway.domain.samples.requirements import MAX_SECONDS, MAX_VALUES
from voice_gateway.services.samples import SampleService

MAGIC = (b"", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0", b"fLaC", b"OggS\0\2", b"ID3\4", b"\xff\xfb\x90")
GOOD = {
    container: encoded(voice(1), 22_050, container=container, subtype=subtype)
    for container, subtype in (
        ("WAV", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("MP3", "MPEG_LAYER_III"),
        ("OGG", "VORBIS"),
    )
}


@pytest.fixture(scope="module")
def service() -> SampleService:
    return SampleService(SoundfileDecoder(), SoxrConverter())


def test_a_good_sample_is_reported_and_prepared(service: SampleService) -> None:
    data = encoded(voice(30) + white(30, 1e-5))
    report = service.inspect(data)
    assert report.grade is Grade.STUDIO, report.findings
    assert report.content_hash == hashlib.sha256(data).hexdigest()
    prepared = {sample.provider: sample for sample in service.prepare(data, report)}
    assert {name: sample.sample_rate for name, sample in prepared.items()} == {
        "xtts_v2": 22_050,
        "styletts2": 24_000,
    }
    for sample in prepared.values():
        with soundfile.SoundFile(io.BytesIO(sample.wav)) as file:
            assert (file.channels, file.subtype) == (1, "PCM_16")
            assert file.samplerate == sample.sample_rate
            audio = file.read(dtype="float32")
        assert audio.size / sample.sample_rate == pytest.approx(sample.seconds)
        assert integrated_loudness(audio, sample.sample_rate) == pytest.approx(-23, abs=0.1)
        assert sample.true_peak <= -1
        assert sample.content_hash == hashlib.sha256(sample.wav).hexdigest()
        assert sample.source_hash == report.content_hash


def test_the_same_bytes_give_the_same_bytes(service: SampleService) -> None:
    data = encoded(voice(8, 44_100), 44_100, container="FLAC")
    report = service.inspect(data)
    assert service.inspect(data) == report
    assert service.prepare(data, report) == service.prepare(data, report)


def test_a_short_sample_is_prepared_for_whom_it_is_enough(service: SampleService) -> None:
    data = encoded(voice(5) + white(5, 1e-5))
    prepared = service.prepare(data, service.inspect(data))
    assert [sample.provider for sample in prepared] == ["styletts2"]


def test_stereo_becomes_mono(service: SampleService) -> None:
    data = encoded(np.stack((voice(8), voice(8)), axis=1))
    report = service.inspect(data)
    assert FindingCode.STEREO in [finding.code for finding in report.findings]
    assert len(service.prepare(data, report)) == 2


def test_what_cannot_be_read_is_reported(service: SampleService) -> None:
    report = service.inspect(b"<html>")
    assert (report.grade, report.findings[0].code) == (Grade.REJECTED, FindingCode.NOT_AUDIO)


def test_a_rejected_sample_is_not_prepared(service: SampleService) -> None:
    data = encoded(np.zeros(RATE * 10, np.float32))
    report = service.inspect(data)
    assert report.findings[0].code is FindingCode.NO_SPEECH
    with pytest.raises(InvalidRequestError):
        service.prepare(data, report)


def test_a_report_on_other_bytes_is_not_believed(service: SampleService) -> None:
    with pytest.raises(InvalidRequestError):
        service.prepare(encoded(voice(5)), service.inspect(encoded(voice(8))))


def test_the_longest_sample_stays_within_the_functions_memory(service: SampleService) -> None:
    minute = np.stack((voice(60), voice(60)), axis=1)
    data = encoded(np.tile(minute, (int(MAX_SECONDS // 60), 1)), subtype="PCM_24")
    tracemalloc.start()
    try:
        report = service.inspect(data)
        service.prepare(data, report)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.usable
    assert peak < 3 * MAX_VALUES * 4


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 96_000, 192_000])
@pytest.mark.parametrize("frames", [1, 100, 1000, 60_000])
def test_however_little_it_is_there_is_a_report(
    service: SampleService, rate: int, frames: int
) -> None:
    for audio in (np.zeros(frames), np.full(frames, 0.5), voice(10)[:frames] * 5, white(10, 0.1)):
        assert service.inspect(encoded(audio[:frames], rate)).reason


@given(st.sampled_from(MAGIC), st.binary(max_size=2000))
@example(b"RIFF\x24\0\0\0WAVE", b"data\xff\xff\xff\x7f")
@settings(max_examples=300, deadline=None)
def test_bytes_of_any_kind_give_a_report(magic: bytes, rest: bytes) -> None:
    service = SampleService(SoundfileDecoder(), SoxrConverter())
    assert service.inspect(magic + rest).reason


@given(
    st.sampled_from(sorted(GOOD)),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 200_000),
)
@settings(max_examples=150, deadline=None)
def test_damage_of_any_kind_gives_a_report(
    container: str, damage: list[tuple[int, int]], kept: int
) -> None:
    data = bytearray(GOOD[container])
    for at, value in damage:
        data[at % len(data)] = value
    service = SampleService(SoundfileDecoder(), SoxrConverter())
    assert service.inspect(bytes(data[: max(kept, 1)])).reason
