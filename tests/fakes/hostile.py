"""Recordings that somebody sends who means harm, or whose program is broken."""

from __future__ import annotations

import io
import struct
from typing import Final

import numpy as np
import soundfile

from fakes.recordings import RATE, encoded, voice
from voice_gateway.domain.samples.report import FindingCode

HTML: Final = b"<!doctype html><html><body><script>alert(1)</script></body></html>"


def wav(data: bytes, *, size: int | None = None, channels: int = 1, rate: int = RATE) -> bytes:
    """A WAV whose header may lie about the size of its data."""
    fmt = struct.pack("<HHIIHH", 1, channels, rate, rate * 2 * channels, 2 * channels, 16)
    claimed = len(data) if size is None else size
    body = b"WAVE" + struct.pack("<4sI", b"fmt ", len(fmt)) + fmt
    body += struct.pack("<4sI", b"data", claimed) + data
    return struct.pack("<4sI", b"RIFF", min(len(body), 0xFFFFFFFF)) + body


def flac_of_length(data: bytes, samples: int) -> bytes:
    """STREAMINFO's total samples are the low 36 bits before the MD5; 0 is an unknown length."""
    high, low = divmod(samples, 1 << 32)
    return data[:21] + bytes([data[21] & 0xF0 | high]) + struct.pack(">I", low) + data[26:]


def flac_of_unknown_length(data: bytes) -> bytes:
    """What a writer makes that cannot go back."""
    return flac_of_length(data, 0)


def extensible(data: bytes, *, channels: int, mask: int) -> bytes:
    """A WAV of 16 bits whose header names the speakers."""
    form = struct.pack("<HHIIHH", 0xFFFE, channels, RATE, RATE * 2 * channels, 2 * channels, 16)
    form += struct.pack("<HHI", 22, 16, mask) + bytes.fromhex("0100000000001000800000aa00389b71")
    body = b"WAVE" + struct.pack("<4sI", b"fmt ", len(form)) + form
    body += struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def silence_as_flac(minutes: int, rate: int = RATE) -> bytes:
    """Minutes of nothing, of which a few hundred bytes a minute are left."""
    outlet = io.BytesIO()
    with soundfile.SoundFile(outlet, "w", rate, 1, format="FLAC", subtype="PCM_16") as file:
        block = np.zeros(rate * 60, np.int16)
        for _ in range(minutes):
            file.write(block)
    return outlet.getvalue()


def hostile_recordings() -> dict[str, tuple[bytes, FindingCode]]:
    """Name → the bytes, and what the report must find in them; nothing of it is empty."""
    poisoned = voice(3).copy()
    poisoned[70_000] = np.nan
    infinite = np.full(RATE, -np.inf)
    return {
        "zip bomb": (flac_of_unknown_length(silence_as_flac(60)), FindingCode.TOO_LONG),
        "a few bytes that claim 16 days": (
            flac_of_length(encoded(voice(3), container="FLAC"), 2**36 - 1)[:200],
            FindingCode.TOO_LONG,
        ),
        "2^31 samples": (wav(bytes(96_000), size=2**31), FindingCode.TRUNCATED),
        "truncated": (encoded(voice(3))[:-20_000], FindingCode.TRUNCATED),
        "half an OGG": (
            encoded(voice(8), container="OGG", subtype="VORBIS")[:20_000],
            FindingCode.TRUNCATED,
        ),
        "a page": (HTML, FindingCode.NOT_AUDIO),
        "no numbers": (encoded(poisoned, subtype="FLOAT"), FindingCode.NOT_A_NUMBER),
        "infinite": (encoded(infinite, subtype="DOUBLE"), FindingCode.NOT_A_NUMBER),
        "RF64": (encoded(voice(3), container="RF64"), FindingCode.UNSUPPORTED_CONTAINER),
        "every speaker there is": (
            extensible(bytes(96_000), channels=24, mask=0xFFFFFFFF),
            FindingCode.TOO_MANY_CHANNELS,
        ),
        "24 channels": (wav(bytes(96_000), channels=24), FindingCode.TOO_MANY_CHANNELS),
        "four hours": (silence_as_flac(240, 8_000), FindingCode.TOO_LONG),
        "only a header": (wav(b""), FindingCode.EMPTY),
    }


def longest_recording() -> bytes:
    """The most that is taken: three minutes, two channels, 48 kHz, 24 bits, 52 MB."""
    minute = np.stack((voice(60), voice(60)), axis=1)
    return encoded(np.tile(minute, (3, 1)), subtype="PCM_24")
