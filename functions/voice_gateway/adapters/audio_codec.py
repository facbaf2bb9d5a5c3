"""Float32 audio → the bytes of a format, while it is being spoken.

Resampling is soxr's, MP3, Opus and FLAC are libsndfile's. Everything made here says in its
metadata that a machine made it.
"""

from __future__ import annotations

import io
import struct
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soundfile
import soxr

from voice_gateway.domain.audio import AudioFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

PROVENANCE: Final = "AI-generated speech"
_UNKNOWN_SIZE: Final = 0xFFFFFFFF
"""What a RIFF header says while nobody knows how long the audio will be."""
_CONTAINERS: Final[Mapping[AudioFormat, tuple[str, str]]] = {
    AudioFormat.MP3: ("MP3", "MPEG_LAYER_III"),
    AudioFormat.OPUS: ("OGG", "OPUS"),
    AudioFormat.FLAC: ("FLAC", "PCM_16"),
    AudioFormat.MULAW: ("RAW", "ULAW"),
}


def audio_encoder(audio_format: AudioFormat, sample_rate: int, channels: int = 1) -> _Encoder:
    """Makes the encoder of one answer (an `AudioEncoderFactory`)."""
    if audio_format in _CONTAINERS:
        return _ContainerEncoder(audio_format, sample_rate, channels)
    header = _wav_header(sample_rate, channels) if audio_format is AudioFormat.WAV else b""
    return _PcmEncoder(sample_rate, channels, header)


class _Resampler:
    """One output rate for whatever rates come in, each stretch of one rate without a seam."""

    def __init__(self, output_rate: int) -> None:
        self._output_rate = output_rate
        self._input_rate = output_rate
        self._stream: Any = None

    def push(self, samples: NDArray[np.float32], input_rate: int) -> NDArray[np.float32]:
        before = self.flush() if input_rate != self._input_rate else samples[:0]
        if input_rate != self._input_rate:
            self._input_rate = input_rate
            if input_rate != self._output_rate:
                self._stream = soxr.ResampleStream(
                    input_rate, self._output_rate, 1, dtype="float32"
                )
        if self._stream is None:
            return np.concatenate((before, samples)) if before.size else samples
        return np.concatenate((before, self._stream.resample_chunk(samples)))

    def flush(self) -> NDArray[np.float32]:
        """Returns what the filter still holds, and forgets the stretch."""
        rest = np.zeros(0, dtype=np.float32)
        if self._stream is not None:
            rest = self._stream.resample_chunk(rest, last=True)
            self._stream = None
        self._input_rate = self._output_rate
        return rest


class _Encoder(ABC):
    """Resamples, then hands 16-bit samples to the format."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._resampler = _Resampler(sample_rate)
        self._channels = channels

    def encode(self, samples: NDArray[np.float32], sample_rate: int) -> bytes:
        """Takes mono samples of any rate; returns what is ready."""
        return self._write(self._frames(self._resampler.push(samples, sample_rate)))

    def finish(self) -> bytes:
        """Returns the last bytes."""
        return self._write(self._frames(self._resampler.flush())) + self._close()

    def _frames(self, samples: NDArray[np.float32]) -> NDArray[np.int16]:
        """Returns 16-bit frames, shape [n, channels]."""
        frames = _to_int16(samples)[:, np.newaxis]
        return frames if self._channels == 1 else np.repeat(frames, self._channels, axis=1)

    @abstractmethod
    def _write(self, frames: NDArray[np.int16]) -> bytes: ...

    @abstractmethod
    def _close(self) -> bytes: ...


class _PcmEncoder(_Encoder):
    """Little-endian samples, behind a header or none."""

    def __init__(self, sample_rate: int, channels: int, header: bytes) -> None:
        super().__init__(sample_rate, channels)
        self._header = header

    def _write(self, frames: NDArray[np.int16]) -> bytes:
        header, self._header = self._header, b""
        return header + frames.astype("<i2", copy=False).tobytes()

    def _close(self) -> bytes:
        return b""


class _ContainerEncoder(_Encoder):
    """A format that libsndfile writes."""

    def __init__(self, audio_format: AudioFormat, sample_rate: int, channels: int) -> None:
        super().__init__(sample_rate, channels)
        container, subtype = _CONTAINERS[audio_format]
        self._outlet = _Outlet()
        # Many players take a FLAC header of unknown length for an endless or an empty file.
        self._streams = audio_format is not AudioFormat.FLAC
        self._floats = audio_format is AudioFormat.MP3
        # A stream's MP3 header cannot say its length; at a constant bit rate players still know it.
        constant = (
            {"bitrate_mode": "CONSTANT", "compression_level": 0.6}
            if audio_format is AudioFormat.MP3
            else {}
        )
        self._file = soundfile.SoundFile(
            self._outlet, "w", sample_rate, channels, subtype=subtype, format=container, **constant
        )
        if audio_format is not AudioFormat.MULAW:  # which has no place for words
            self._file.comment = PROVENANCE

    def _write(self, frames: NDArray[np.int16]) -> bytes:
        # libsndfile (1.2.2) makes noise of 16-bit samples in two channels of MP3; floats are well.
        self._file.write(frames / np.float32(32768) if self._floats else frames)
        return self._outlet.drain() if self._streams else b""

    def _close(self) -> bytes:
        self._file.close()
        return self._outlet.drain()


class _Outlet(io.RawIOBase):
    """A file of which everything already sent is out of reach.

    Closing an encoder goes back to put the length into the header. What was sent cannot be changed:
    such writes are dropped, and the header keeps the "unknown length" that a stream has.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pending = bytearray()
        self._sent = 0
        self._position = 0

    def drain(self) -> bytes:
        """Takes out what was written since the last time."""
        data = bytes(self._pending)
        self._sent += len(data)
        self._pending.clear()
        return data

    def write(self, data: Any, /) -> int:
        taken = bytes(data)
        kept = taken[max(0, self._sent - self._position) :]
        if kept:
            start = max(self._position, self._sent) - self._sent
            self._pending[start : start + len(kept)] = kept
        self._position += len(taken)
        return len(taken)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = (0, self._position, self._sent + len(self._pending))[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position


def _to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    scaled = samples * np.float32(32767)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -32767, 32767, out=scaled).astype(np.int16)


def _wav_header(sample_rate: int, channels: int) -> bytes:
    """RIFF for a stream of unknown length: format, the provenance note, then data to the end."""
    comment = PROVENANCE.encode() + b"\0"
    comment += b"\0" * (len(comment) % 2)
    info = b"INFO" + struct.pack("<4sI", b"ICMT", len(comment)) + comment
    fmt = struct.pack(
        "<HHIIHH", 1, channels, sample_rate, sample_rate * channels * 2, channels * 2, 16
    )
    return b"".join(
        (
            struct.pack("<4sI4s", b"RIFF", _UNKNOWN_SIZE, b"WAVE"),
            struct.pack("<4sI", b"fmt ", len(fmt)),
            fmt,
            struct.pack("<4sI", b"LIST", len(info)),
            info,
            struct.pack("<4sI", b"data", _UNKNOWN_SIZE),
        )
    )
