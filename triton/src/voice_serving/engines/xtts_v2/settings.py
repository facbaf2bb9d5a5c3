"""Where the weights are, what they are computed in, and how many sentences at once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from voice_serving.params import Parameters

_MIB: Final = 1 << 20


class Device(StrEnum):
    """Where the networks run."""

    AUTO = "auto"
    """A GPU where there is one."""
    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """What the GPT's weights are kept in; all that is not a matrix is computed in float32."""

    AUTO = "auto"
    """bf16 on a GPU, int8 on a CPU."""
    FP32 = "fp32"
    """Equal to coqui-tts."""
    BF16 = "bf16"
    FP16 = "fp16"
    """For GPUs older than bf16."""
    INT8 = "int8"
    """One byte a weight and one factor a block of 64; on CPUs, which wait for memory otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class XttsSettings:
    """Settings of the XTTS engine."""

    checkpoint: Path | None
    """Folder of the checkpoint; None for the version folder itself."""
    device: Device
    precision: Precision
    vocoder_precision: Precision
    """AUTO is fp16 on a GPU, bf16 beside a GPT of int8 or bf16, else fp32; int8 is not for it."""
    threads: int | None
    """Cores; None takes what torch finds."""
    streams: int
    """Requests in progress at once."""
    slots: int
    """Sentences that one step moves on; each has room for its attention, 255 MB at full length."""
    ahead: int
    """Sentences of one request that are under way at once."""
    first_chunk: int
    """Audio tokens until the first sound of a sentence; one is 46 ms."""
    growth: float
    """Each chunk of a sentence is so many times as long as the one before."""
    longest_chunk: int
    """Audio tokens of a chunk at most."""
    cache_bytes: int
    """Bound of the conditioning in memory."""
    cache_folder: Path | None
    """Where conditioning outlives the process."""
    cache_disk_bytes: int
    """Bound of the conditioning on disk."""

    @classmethod
    def from_parameters(cls, parameters: Parameters) -> XttsSettings:
        """Reads them; a `config.pbtxt` without any gives the defaults."""
        return cls(
            checkpoint=parameters.path("checkpoint"),
            device=parameters.choice("device", Device.AUTO),
            precision=parameters.choice("precision", Precision.AUTO),
            vocoder_precision=parameters.choice("vocoder_precision", Precision.AUTO),
            threads=parameters.integer("threads", 0, minimum=0) or None,
            streams=parameters.integer("streams", 16),
            slots=parameters.integer("slots", 8),
            ahead=parameters.integer("ahead", 2),
            first_chunk=parameters.integer("first_chunk", 8),
            growth=parameters.integer("growth_percent", 200, minimum=100) / 100,
            longest_chunk=parameters.integer("longest_chunk", 96),
            cache_bytes=parameters.integer("cache_mib", 64) * _MIB,
            cache_folder=parameters.path("cache_dir"),
            cache_disk_bytes=parameters.integer("cache_disk_mib", 1024) * _MIB,
        )
