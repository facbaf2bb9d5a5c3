from __future__ import annotations

import struct
import tracemalloc
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pytest

from fakes.hostile import extensible, flac_of_unknown_length, silence_as_flac, wav
from fakes.recordings import RATE, encoded, voice
from voice_gateway.adapters.audio_decoder import SoundfileDecoder
from voice_gateway.domain.errors import InvalidSampleError
from voice_gateway.domain.samples.report import Finding, FindingCode, Severity
from voice_gateway.domain.samples.requirements import MAX_BYTES, MAX_SECONDS, MAX_VALUES

if TYPE_CHECKING:
    from pathlib import Path

MOST_MEMORY = 2.2 * MAX_VALUES * 4
"""The decoded sample twice: its blocks, and what they are put together into."""


def refused(source: bytes | BinaryIO) -> Finding:
    with pytest.raises(InvalidSampleError) as caught:
        SoundfileDecoder().decode(source)
    finding = caught.value.finding
    assert finding.severity is Severity.FATAL
    assert finding.advice.endswith(".")
    return finding


@pytest.mark.parametrize(
    ("container", "subtype", "bits"),
    [
        ("WAV", "PCM_16", 16),
        ("WAV", "PCM_24", 24),
        ("WAV", "FLOAT", 32),
        ("WAV", "ULAW", 8),
        ("WAVEX", "PCM_16", 16),
        ("FLAC", "PCM_16", 16),
        ("FLAC", "PCM_24", 24),
        ("MP3", "MPEG_LAYER_III", None),
        ("OGG", "VORBIS", None),
        ("OGG", "OPUS", None),
    ],
)
def test_what_can_be_read_is_read(container: str, subtype: str, bits: int | None) -> None:
    original = voice(3)
    sample = SoundfileDecoder().decode(encoded(original, container=container, subtype=subtype))
    assert sample.container == ("wav" if container == "WAVEX" else container.lower())
    assert sample.codec == subtype.lower()
    assert sample.bit_depth == bits
    assert sample.sample_rate == RATE
    assert sample.samples.dtype == np.float32
    assert sample.seconds == pytest.approx(3, abs=0.1)
    assert np.std(sample.samples) == pytest.approx(np.std(original), rel=0.1)


@pytest.mark.parametrize(
    ("tag", "width", "used", "bits"),
    [(1, 12, None, 12), (1, 20, None, 20), (0xFFFE, 16, 12, 12), (0xFFFE, 16, 0, 16)],
)
def test_bits_are_those_that_are_used(tag: int, width: int, used: int | None, bits: int) -> None:
    """Recorders of 12 and 20 bits store them in 16 and 24."""
    stored = -(-width // 8)
    form = struct.pack("<HHIIHH", tag, 1, RATE, RATE * stored, stored, width)
    if used is not None:
        form += struct.pack("<HHI", 22, used, 4) + bytes.fromhex("0100000000001000800000aa00389b71")
    body = b"WAVE" + struct.pack("<4sI", b"fmt ", len(form)) + form
    body += struct.pack("<4sI", b"data", 3000 * stored) + bytes(3000 * stored)
    sample = SoundfileDecoder().decode(struct.pack("<4sI", b"RIFF", len(body)) + body)
    assert sample.bit_depth == bits


def test_a_wav_of_chunks_without_end_is_refused() -> None:
    whole = wav(bytes(96_000))
    at = whole.index(b"data")
    few, many = (
        whole[:at] + struct.pack("<4sI", b"junk", 0) * chunks + whole[at:] for chunks in (9, 5000)
    )
    assert SoundfileDecoder().decode(few).seconds == 1
    assert refused(many).code is FindingCode.DAMAGED


def test_channels_stay_apart() -> None:
    left, right = voice(2), voice(2, hertz=200.0)
    sample = SoundfileDecoder().decode(encoded(np.stack((left, right), axis=1), subtype="FLOAT"))
    assert sample.samples == pytest.approx(np.stack((left, right)))


def test_reads_a_file_object_and_leaves_it_open(tmp_path: Path) -> None:
    path = tmp_path / "voice.raw"  # the name says nothing
    path.write_bytes(encoded(voice(3)))
    with path.open("rb") as file:
        assert SoundfileDecoder().decode(file).container == "wav"
        assert not file.closed
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", FindingCode.EMPTY),
        (b"<!doctype html><html><body>404</body></html>", FindingCode.NOT_AUDIO),
        (b"PK\x03\x04" + bytes(100), FindingCode.NOT_AUDIO),
        (b"\x1a\x45\xdf\xa3" + bytes(100), FindingCode.UNSUPPORTED_CONTAINER),
        (b"\0\0\0\x20ftypM4A " + bytes(100), FindingCode.UNSUPPORTED_CONTAINER),
        (encoded(voice(3), container="RF64"), FindingCode.UNSUPPORTED_CONTAINER),
        (encoded(voice(3), container="W64"), FindingCode.UNSUPPORTED_CONTAINER),
        (b"RIFF", FindingCode.NOT_AUDIO),
        (b"RIFF\0\0\0\0WAVE", FindingCode.DAMAGED),
        (b"fLaC" + bytes(50), FindingCode.DAMAGED),
        (b"OggS" + bytes(50), FindingCode.DAMAGED),
        (b"OggS", FindingCode.DAMAGED),
        (b"ID3" + bytes(50), FindingCode.DAMAGED),
        (b"\xff\xfb\x90\x64" + bytes(500), FindingCode.DAMAGED),
        (wav(b""), FindingCode.EMPTY),
        (wav(bytes(9600), size=2**31), FindingCode.TRUNCATED),
        (wav(bytes(9600), size=2**32 - 2), FindingCode.TRUNCATED),
        (wav(bytes(9600), channels=24), FindingCode.TOO_MANY_CHANNELS),
        (wav(bytes(9600), channels=1000), FindingCode.TOO_MANY_CHANNELS),
        (wav(bytes(9600), rate=4_000), FindingCode.RATE_OUT_OF_RANGE),
        (wav(bytes(9600), rate=384_000), FindingCode.RATE_OUT_OF_RANGE),
        (encoded(voice(3))[:-20_000], FindingCode.TRUNCATED),
        (encoded(voice(3), subtype="IMA_ADPCM"), FindingCode.UNSUPPORTED_CODEC),
    ],
    ids=lambda value: value.value if isinstance(value, FindingCode) else "",
)
def test_what_is_no_usable_recording_is_refused(data: bytes, code: FindingCode) -> None:
    assert refused(data).code is code


def test_a_flac_that_was_cut_off_is_refused() -> None:
    whole = encoded(voice(3), container="FLAC")
    assert refused(whole[: len(whole) // 2]).code in (FindingCode.TRUNCATED, FindingCode.DAMAGED)


@pytest.mark.parametrize("mask", [0, 3, 0x80000000, 0xFFFFFFFF])
def test_which_speakers_a_wav_names_means_nothing(mask: int) -> None:
    data = (voice(3) * 32767).astype("<i2").tobytes()
    sample = SoundfileDecoder().decode(extensible(data, channels=1, mask=mask))
    assert (sample.seconds, sample.bit_depth) == (3, 16)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("left_out", [1, 40, 9_000])
def test_an_ogg_that_was_cut_off_is_refused(subtype: str, left_out: int) -> None:
    """libsndfile plays it as far as it goes."""
    whole = encoded(voice(8), container="OGG", subtype=subtype)
    assert refused(whole[:-left_out]).code is FindingCode.TRUNCATED


@pytest.mark.parametrize("left", [5, 20, 26, 27, 30])
def test_an_ogg_that_was_cut_off_in_a_page_s_head_is_refused(left: int) -> None:
    whole = encoded(voice(8), container="OGG", subtype="VORBIS")
    assert refused(whole[: whole.rfind(b"OggS") + left]).code is FindingCode.TRUNCATED


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -3e38])
def test_what_is_no_sound_is_refused(value: float) -> None:
    samples = voice(3).copy()
    samples[70_000] = value
    assert refused(encoded(samples, subtype="FLOAT")).code is FindingCode.NOT_A_NUMBER


def test_a_wav_whose_writer_did_not_know_the_length_is_read() -> None:
    data = wav((voice(3) * 32767).astype("<i2").tobytes(), size=0xFFFFFFFF)
    assert SoundfileDecoder().decode(data).seconds == pytest.approx(3)


def test_a_flac_whose_writer_did_not_know_the_length_is_read() -> None:
    whole = encoded(voice(8), container="FLAC")
    known, unknown = (
        SoundfileDecoder().decode(data) for data in (whole, flac_of_unknown_length(whole))
    )
    assert unknown.seconds == 8
    assert np.array_equal(known.samples, unknown.samples)


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS")],
)
def test_what_follows_the_sound_is_none(container: str, subtype: str) -> None:
    whole = encoded(voice(3), container=container, subtype=subtype)
    tag = b"TAG" + b"Somebody".ljust(125, b"\0")
    alone, tagged = (SoundfileDecoder().decode(data) for data in (whole, whole + tag))
    assert np.array_equal(alone.samples, tagged.samples)


class TestMemory:
    """numpy's memory is traced; libsndfile's own is a few blocks."""

    def peak(self, source: bytes | BinaryIO) -> tuple[int, Finding | None]:
        tracemalloc.start()
        try:
            finding = None
            try:
                SoundfileDecoder().decode(source)
            except InvalidSampleError as error:
                finding = error.finding
            return tracemalloc.get_traced_memory()[1], finding
        finally:
            tracemalloc.stop()

    def test_a_length_that_is_only_claimed_allocates_nothing(self) -> None:
        peak, _ = self.peak(wav(bytes(96_000), size=2**31))
        assert peak < 2**20

    def test_a_long_file_is_refused_by_its_header(self) -> None:
        bomb = silence_as_flac(5)
        assert len(bomb) < 200_000
        peak, finding = self.peak(bomb)
        assert finding is not None
        assert finding.code is FindingCode.TOO_LONG
        assert finding.value == pytest.approx(300)
        assert peak < 4 * 2**20

    def test_a_bomb_that_hides_its_length_is_refused_at_the_bound(self) -> None:
        peak, finding = self.peak(flac_of_unknown_length(silence_as_flac(20)))
        assert finding is not None
        assert finding.code is FindingCode.TOO_LONG
        assert finding.value is not None
        assert finding.value < MAX_SECONDS + 2
        assert peak < MOST_MEMORY

    def test_four_hours_are_refused(self) -> None:
        hours = wav(
            bytes(8_000 * 2 * 3600 // 4), size=0xFFFFFFFF, rate=8_000
        )  # a quarter is enough
        peak, finding = self.peak(hours)
        assert finding is not None
        assert finding.code is FindingCode.TOO_LONG
        assert peak < MOST_MEMORY

    def test_the_longest_that_is_taken_fits(self) -> None:
        longest = encoded(np.zeros((round(MAX_SECONDS * RATE), 2), np.int16), container="FLAC")
        peak, finding = self.peak(longest)
        assert finding is None
        assert peak < MOST_MEMORY

    def test_a_file_that_is_too_large_is_not_even_read(self, tmp_path: Path) -> None:
        path = tmp_path / "large.wav"
        with path.open("wb") as file:
            file.truncate(MAX_BYTES + 1)
        with path.open("rb") as file:
            peak, finding = self.peak(file)
        assert finding is not None
        assert finding.code is FindingCode.TOO_LARGE
        assert peak < 2**20
