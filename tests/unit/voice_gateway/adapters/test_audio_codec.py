from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from fakes.providers import tone
from voice_gateway.adapters.audio_codec import PROVENANCE, audio_encoder
from voice_gateway.domain.audio import AudioFormat

SECONDS = 1.5
RAW = (AudioFormat.PCM, AudioFormat.MULAW)
"""What is samples alone: nothing in it says the rate, or that a machine made it."""


def encoded(
    audio_format: AudioFormat, rate: int, sources: tuple[int, ...], channels: int = 1
) -> list[bytes]:
    encoder = audio_encoder(audio_format, rate, channels)
    parts = []
    for source in sources:
        audio = tone(SECONDS, rate=source, hertz=440)
        parts += [encoder.encode(audio[i : i + 3000], source) for i in range(0, audio.size, 3000)]
    return [*parts, encoder.finish()]


def hertz(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(spectrum.argmax() * rate / samples.size)


@pytest.mark.parametrize("rate", [8000, 24_000, 48_000])
@pytest.mark.parametrize("audio_format", [f for f in AudioFormat if f not in RAW])
def test_every_format_decodes_to_what_was_spoken(audio_format: AudioFormat, rate: int) -> None:
    data = b"".join(encoded(audio_format, rate, (22_050,)))
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        samples = file.read(dtype="float32")
        assert (file.samplerate, file.channels) == (rate, 1)
        assert file.comment == PROVENANCE
    # An MP3 frame may be 72 ms long at the lowest rate, and the codec pads both ends.
    slack = 0.26 if audio_format is AudioFormat.MP3 else 0.002
    assert samples.size / rate == pytest.approx(SECONDS, abs=slack)
    assert hertz(samples, rate) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("audio_format", [AudioFormat.WAV, AudioFormat.PCM])
def test_a_change_of_rate_on_the_way_leaves_pitch_and_length_alone(
    audio_format: AudioFormat,
) -> None:
    data = b"".join(encoded(audio_format, 24_000, (22_050, 16_000, 24_000, 22_050)))
    raw = data[data.find(b"data") + 8 :] if audio_format is AudioFormat.WAV else data
    samples = np.frombuffer(raw, "<i2") / 32768
    assert samples.size / 24_000 == pytest.approx(4 * SECONDS, abs=0.002)
    for quarter in np.array_split(samples, 4):
        assert hertz(quarter, 24_000) == pytest.approx(440, abs=2)


def test_a_wav_stream_begins_at_once_and_has_no_length() -> None:
    first, *_ = encoded(AudioFormat.WAV, 24_000, (24_000,))
    assert first[:4] == b"RIFF"
    assert first[4:8] == b"\xff\xff\xff\xff"
    data = first.find(b"data")
    assert first[data + 4 : data + 8] == b"\xff\xff\xff\xff"
    assert len(first) > data + 8


@pytest.mark.parametrize("audio_format", [AudioFormat.WAV, AudioFormat.PCM, AudioFormat.MP3])
def test_what_streams_gives_something_for_every_piece(audio_format: AudioFormat) -> None:
    parts = encoded(audio_format, 24_000, (22_050,))
    assert all(parts[:-2])  # the last piece is shorter than the resampler's own delay


def test_what_is_too_loud_is_clipped_and_does_not_wrap() -> None:
    encoder = audio_encoder(AudioFormat.PCM, 24_000)
    data = encoder.encode(np.array([1.5, -1.5], np.float32), 24_000)
    assert np.frombuffer(data, "<i2").tolist() == [32767, -32767]


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_mu_law_is_one_byte_a_sample_as_the_telephone_knows_it(rate: int) -> None:
    data = b"".join(encoded(AudioFormat.MULAW, rate, (22_050,)))
    samples, _ = soundfile.read(
        io.BytesIO(data),
        format="RAW",
        subtype="ULAW",
        samplerate=rate,
        channels=1,
        dtype="float32",
    )
    assert len(data) == samples.size == pytest.approx(SECONDS * rate, abs=rate * 0.002)
    assert hertz(samples, rate) == pytest.approx(440, abs=2)
    # G.711 says: digital silence is all ones.
    encoder = audio_encoder(AudioFormat.MULAW, 8000)
    assert encoder.encode(np.zeros(4, np.float32), 8000) + encoder.finish() == b"\xff" * 4


@pytest.mark.parametrize("audio_format", list(AudioFormat))
def test_two_channels_carry_the_same_voice(audio_format: AudioFormat) -> None:
    data = b"".join(encoded(audio_format, 24_000, (22_050,), channels=2))
    described = (
        {
            "format": "RAW",
            "subtype": "ULAW" if audio_format is AudioFormat.MULAW else "PCM_16",
            "samplerate": 24_000,
            "channels": 2,
        }
        if audio_format in RAW
        else {}
    )
    samples, _ = soundfile.read(io.BytesIO(data), dtype="float32", **described)
    assert samples.shape[1] == 2
    assert samples.shape[0] / 24_000 == pytest.approx(SECONDS, abs=0.26)
    assert np.abs(samples[:, 0] - samples[:, 1]).max() < 0.01
    assert hertz(samples[:, 0], 24_000) == pytest.approx(440, abs=2)


def test_a_wav_header_says_what_its_frames_are() -> None:
    first, *_ = encoded(AudioFormat.WAV, 44_100, (44_100,), channels=2)
    form = first.find(b"fmt ") + 8
    assert struct.unpack_from("<HHIIHH", first, form) == (1, 2, 44_100, 176_400, 4, 16)
