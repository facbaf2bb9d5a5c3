"""Where the weights are, how exactly they are computed with, and for how many at once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from voice_serving.params import Parameters

_MIB: Final = 1 << 20


class Preset(StrEnum):
    """Defaults of precision and steps; `make bench-engines` measures both."""

    QUALITY = "quality"
    """The authors' five steps of diffusion, in float32."""
    FAST = "fast"
    """At most three steps, in bfloat16 where it holds."""


class Precision(StrEnum):
    """What the large matrices are kept in; durations, pitch and the source are always float32."""

    FP32 = "fp32"
    """Equal to upstream."""
    BF16 = "bf16"


class Device(StrEnum):
    """Where the network runs."""

    AUTO = "auto"
    """A GPU where there is one."""
    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True, slots=True, kw_only=True)
class StyleTts2Settings:
    """Settings of the StyleTTS2 engine."""

    checkpoint: Path | None
    """Folder of the official files; None for the version folder itself."""
    rearranged: Path | None
    """Where the weights are kept as safetensors once they have been read; None for `checkpoint`."""
    device: Device
    precision: Precision
    most_diffusion_steps: int
    """More are not taken, whatever a request asks for."""
    carry: float
    """How much of a sentence's style goes over into the next one, 0 to 1."""
    threads: int | None
    """Cores; None takes what torch finds."""
    streams: int
    """Requests in progress at once."""
    batch: int
    """Sentences that are read together."""
    sound_batch: int | None
    """Sentences that become samples together; None is `batch` on a GPU, and one at a time on a CPU,
    where more gain nothing and all would wait for the last."""
    window_ms: int
    """How long the first sentence of an idle model waits for company."""
    cache_bytes: int
    """Bound of the styles in memory."""
    cache_folder: Path | None
    """Where styles outlive the process."""
    cache_disk_bytes: int
    """Bound of the styles on disk."""

    @classmethod
    def from_parameters(cls, parameters: Parameters) -> StyleTts2Settings:
        """Reads `preset` for two defaults, and whatever overrides them one by one."""
        fast = parameters.choice("preset", Preset.QUALITY) is Preset.FAST
        precision = Precision.BF16 if fast else Precision.FP32
        return cls(
            checkpoint=parameters.path("checkpoint"),
            rearranged=parameters.path("rearranged"),
            device=parameters.choice("device", Device.AUTO),
            precision=parameters.choice("precision", precision),
            most_diffusion_steps=parameters.integer("most_diffusion_steps", 3 if fast else 50),
            carry=parameters.integer("carry_percent", 70, minimum=0, maximum=100) / 100,
            threads=parameters.integer("threads", 0, minimum=0) or None,
            streams=parameters.integer("streams", 16),
            batch=parameters.integer("batch", 8),
            sound_batch=parameters.integer("sound_batch", 0, minimum=0) or None,
            window_ms=parameters.integer("window_ms", 2, minimum=0),
            cache_bytes=parameters.integer("cache_mib", 64) * _MIB,
            cache_folder=parameters.path("cache_dir"),
            cache_disk_bytes=parameters.integer("cache_disk_mib", 1024) * _MIB,
        )
