"""Recordings that strangers send → float32, by libsndfile, never trusting what they claim.

The container is read from the bytes, and only known ones reach libsndfile. A header's sizes are
used to refuse early, never to allocate: reading goes in blocks, and stops at the bound.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np
import soundfile

from voice_gateway.domain.errors import InvalidSampleError
from voice_gateway.domain.samples.report import Finding, FindingCode, Severity
from voice_gateway.domain.samples.requirements import (
    MAX_BYTES,
    MAX_CHANNELS,
    MAX_SECONDS,
    MAX_VALUES,
    RATES_READ,
)
from voice_gateway.domain.samples.signal import DecodedSample

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK_FRAMES: Final = 1 << 16
_HIGHEST: Final = 100.0
"""Full scale is 1. Floats may go beyond it; 40 dB beyond is no recording, and squares overflow."""
_HEAD_BYTES: Final = 64
_CONTAINERS: Final = {"WAV": "wav", "WAVEX": "wav", "FLAC": "flac", "MP3": "mp3", "OGG": "ogg"}
_UNKNOWN: Final = 2**62
"""Frames from which libsndfile means that a file does not say how long it is."""
_BITS: Final = {
    "PCM_S8": 8,
    "PCM_U8": 8,
    "ULAW": 8,
    "ALAW": 8,
    "PCM_16": 16,
    "PCM_24": 24,
    "PCM_32": 32,
    "FLOAT": 32,
    "DOUBLE": 64,
}
_LOSSY: Final = {"VORBIS", "OPUS", "MPEG_LAYER_III"}
_FOREIGN: Final = (
    (0, b"\x1a\x45\xdf\xa3", "WebM"),
    (4, b"ftyp", "M4A"),
    (0, b"RF64", "RF64"),
    (0, b"riff", "Wave64"),
    (0, b".snd", "AU"),
    (0, b"FORM", "AIFF"),
    (0, b"caff", "CAF"),
    (0, b"#!AMR", "AMR"),
    (0, b"\x30\x26\xb2\x75", "WMA"),
)
_EXTENSIBLE: Final = 0xFFFE
"""The WAV format that says beside its values' size how many of their bits are used."""
_MOST_CHUNKS: Final = 1000
"""Of a WAV: recorders write a handful, and a file of nothing else would take seconds to walk."""
_OGG_PAGE: Final = 27 + 255 + 255 * 255
"""Bytes of the longest page."""
_STREAMED_SIZES: Final = (0, 0xFFFFFFFF, 0xFFFFFFFF - 36)
"""What a WAV's data chunk says whose writer could not go back to fill in its size."""


class SoundfileDecoder:
    """A `SampleDecoder`."""

    def decode(self, source: bytes | BinaryIO) -> DecodedSample:
        """Decodes a recording.

        Args:
            source: Its bytes, or a file that can seek; it is left open.

        Raises:
            InvalidSampleError: It is no usable recording, and why.
        """
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        size = stream.seek(0, io.SEEK_END)
        if size == 0:
            raise _refusal(FindingCode.EMPTY, "The file is empty: record and upload it again.")
        if size > MAX_BYTES:
            raise _refusal(
                FindingCode.TOO_LARGE,
                f"The file is too large: {MAX_BYTES // 2**20} MB is the most.",
                size / 2**20,
                MAX_BYTES / 2**20,
                "MB",
            )
        _check_head(stream)
        bits = _check_wav(stream, size)
        _check_ogg(stream, size)
        stream.seek(0)
        try:
            # A bare view of it: libsndfile guesses from the names that files carry.
            with _Forward(_Nameless(stream)) as file:
                return _read(file, bits)
        except (soundfile.SoundFileError, EOFError) as error:
            raise _damaged() from error


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A recording that is read once, from its beginning to its end."""

    def seekable(self) -> bool:
        """Says no: soundfile would seek after each block, and fail where no length is told."""
        return False


class _Nameless:
    """A file without its name."""

    def __init__(self, stream: BinaryIO) -> None:
        self.seek, self.tell = stream.seek, stream.tell
        self.read, self.readinto = stream.read, stream.readinto  # type: ignore[attr-defined]


def _read(file: soundfile.SoundFile, bits: int | None) -> DecodedSample:
    rate, channels = int(file.samplerate), int(file.channels)
    _check_claims(file, rate, channels)
    most = int(min(MAX_VALUES / channels, MAX_SECONDS * rate))
    blocks: list[NDArray[np.float32]] = []
    frames = 0
    while True:
        # What follows the sound, as tags do, is none.
        wanted = min(_BLOCK_FRAMES, file.frames - frames)
        block = file.read(wanted, dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        frames += len(block)
        if frames > most:
            raise _too_long(frames / rate, most / rate)
        # NaN is in no relation to anything, so it fails this too.
        if not (np.abs(block) <= _HIGHEST).all():
            raise _refusal(
                FindingCode.NOT_A_NUMBER,
                "The file holds values that are no sound: export it again as 16-bit WAV.",
            )
        blocks.append(np.ascontiguousarray(block.T))
    if frames == 0:
        raise _refusal(FindingCode.EMPTY, "There is no sound in the file: record it again.")
    # MP3's length is an estimate where the encoder wrote none; FLAC's is exact, or unknown.
    if file.format == "FLAC" and frames < file.frames < _UNKNOWN:
        raise _truncated(frames / rate, file.frames / rate, "s")
    samples = np.empty((channels, frames), dtype=np.float32)
    at = 0
    blocks.reverse()
    while blocks:  # each block is freed as soon as it was copied
        block = blocks.pop()
        samples[:, at : at + block.shape[1]] = block
        at += block.shape[1]
    return DecodedSample(
        container=_CONTAINERS[file.format],
        codec=file.subtype.lower(),
        bit_depth=_bit_depth(file, bits),
        sample_rate=rate,
        samples=samples,
    )


def _check_claims(file: soundfile.SoundFile, rate: int, channels: int) -> None:
    if file.format not in _CONTAINERS or file.subtype not in _BITS.keys() | _LOSSY:
        raise _refusal(
            FindingCode.UNSUPPORTED_CODEC,
            "This kind of recording cannot be read: export it as 16-bit WAV.",
        )
    if channels > MAX_CHANNELS:
        raise _refusal(
            FindingCode.TOO_MANY_CHANNELS,
            f"The file has {channels} channels: record with one microphone.",
            channels,
            MAX_CHANNELS,
            "channels",
        )
    if not RATES_READ[0] <= rate <= RATES_READ[1]:
        raise _refusal(
            FindingCode.RATE_OUT_OF_RANGE,
            f"The file says it has {rate} samples a second: record at 48000.",
            rate,
            RATES_READ[0] if rate < RATES_READ[0] else RATES_READ[1],
            "Hz",
        )
    # Where a length is unknown the blocks will tell.
    most = min(MAX_VALUES / channels / rate, MAX_SECONDS)
    if file.format in ("WAV", "WAVEX", "FLAC") and most * rate < file.frames < _UNKNOWN:
        raise _too_long(file.frames / rate, most)


def _check_head(stream: BinaryIO) -> None:
    stream.seek(0)
    head = stream.read(_HEAD_BYTES)
    if (head[:4] == b"RIFF" and head[8:12] == b"WAVE") or head[:4] in (b"fLaC", b"OggS"):
        return
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE6 == 0xE2):
        return
    for at, mark, name in _FOREIGN:
        if head[at : at + len(mark)] == mark:
            raise _refusal(
                FindingCode.UNSUPPORTED_CONTAINER,
                f"{name} cannot be read here: upload WAV, FLAC, MP3 or OGG.",
            )
    raise _refusal(
        FindingCode.NOT_AUDIO,
        "This is no recording, whatever its name says: upload WAV, FLAC, MP3 or OGG.",
    )


def _bit_depth(file: soundfile.SoundFile, claimed: int | None) -> int | None:
    depth = _BITS.get(file.subtype)
    # libsndfile tells how wide the values are stored: 12 bits lie in 16.
    return depth if depth is None or not claimed else min(depth, claimed)


def _check_wav(stream: BinaryIO, size: int) -> int | None:
    """Reads of a WAV what libsndfile does not tell.

    Returns:
        How many bits of each value are used, as its header says; None where it does not say, or is
        no WAV's.

    Raises:
        InvalidSampleError: Its data chunk claims more than is there, or chunks never end.
    """
    stream.seek(0)
    if stream.read(4) != b"RIFF":
        return None
    at, bits = 12, None
    for _ in range(_MOST_CHUNKS):
        if at + 8 > size:
            return bits
        stream.seek(at)
        name, length = struct.unpack("<4sI", stream.read(8))
        if name == b"data":
            there = size - at - 8
            if length > there and length not in _STREAMED_SIZES:
                raise _truncated(there, length, "bytes")
            return bits
        if name == b"fmt ":
            bits = _used_bits(stream.read(min(length, 20)))
        at += 8 + length + length % 2
    raise _damaged()


def _check_ogg(stream: BinaryIO, size: int) -> None:
    """Refuses an OGG that ends within a page: libsndfile plays what is there without a word."""
    stream.seek(0)
    if stream.read(4) != b"OggS":
        return
    start = stream.seek(max(0, size - _OGG_PAGE))
    tail = stream.read()
    at = tail.rfind(b"OggS\0")  # the version too: four letters may be sound
    if at < 0:
        return  # something else follows
    # 27 bytes, of which the last tells how many lengths follow; then what they are the lengths of.
    head = tail[at : at + 27].ljust(27, b"\xff")
    lengths = tail[at + 27 : at + 27 + head[26]].ljust(head[26], b"\xff")
    whole = 27 + len(lengths) + sum(lengths)
    if at + whole > len(tail):
        raise _truncated(size, start + at + whole, "bytes")


def _used_bits(form: bytes) -> int | None:
    if len(form) < 16:
        return None
    (tag,), (width,) = struct.unpack_from("<H", form), struct.unpack_from("<H", form, 14)
    if tag == _EXTENSIBLE and len(form) >= 20:
        (used,) = struct.unpack_from("<H", form, 18)
        return int(used or width)
    return int(width)


def _too_long(seconds: float, most: float) -> InvalidSampleError:
    return _refusal(
        FindingCode.TOO_LONG,
        f"The recording is too long: {most:.0f} s is the most, and 20 s are enough.",
        seconds,
        most,
        "s",
    )


def _truncated(there: float, claimed: float, unit: str) -> InvalidSampleError:
    advice = "The file ends too early: upload it again."
    return _refusal(FindingCode.TRUNCATED, advice, there, claimed, unit)


def _damaged() -> InvalidSampleError:
    return _refusal(FindingCode.DAMAGED, "The file is damaged: export it again as 16-bit WAV.")


def _refusal(
    code: FindingCode,
    advice: str,
    value: float | None = None,
    bound: float | None = None,
    unit: str = "",
) -> InvalidSampleError:
    return InvalidSampleError(
        Finding(
            code=code, severity=Severity.FATAL, value=value, bound=bound, unit=unit, advice=advice
        )
    )
