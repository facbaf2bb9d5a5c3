"""Official checkpoints, read without trust, and kept as safetensors after the first time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from voice_serving.engines.xtts_v2.network.vocoder import fused
from voice_serving.engines.xtts_v2.shape import XttsShape, read_shape
from voice_serving.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

OFFICIAL: Final = "model.pth"
CONVERTED: Final = "model.safetensors"
SPEAKERS: Final = "speakers_xtts.pth"
VOCODER: Final = "hifigan_decoder.waveform_decoder."
SPEAKER_ENCODER: Final = "hifigan_decoder.speaker_encoder."

_TRAINERS: Final = ("torch_mel_spectrogram_style_encoder.", "torch_mel_spectrogram_dvae.", "dvae.")
_COPIES: Final = ("gpt.gpt_inference.", "gpt.gpt.wte.")
"""What coqui-tts writes a second time when it saves a model that has spoken."""
_CONSTANTS: Final = (".attn.bias", ".attn.masked_bias", ".num_batches_tracked")
_UNUSED: Final = ("gpt.text_head.",)
_CONFIG_CLASSES: Final = (
    "TTS.tts.configs.xtts_config.XttsConfig",
    "TTS.tts.configs.xtts_config.XttsArgs",
    "TTS.tts.configs.xtts_config.XttsAudioConfig",
    "TTS.tts.models.xtts.XttsArgs",
    "TTS.tts.models.xtts.XttsAudioConfig",
    "TTS.config.shared_configs.BaseDatasetConfig",
)


class _Inert:
    """Stands for the classes of a configuration, and keeps nothing of what it is given."""

    def __setstate__(self, state: object) -> None:
        """Takes whatever the pickle says it had."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights by coqui-tts's names, weight norm multiplied out."""

    shape: XttsShape
    weights: Mapping[str, Tensor]
    sha256: str
    """Of the file that was distributed."""

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The weights below a prefix, without it."""
        return {
            name.removeprefix(prefix): value
            for name, value in self.weights.items()
            if name.startswith(prefix)
        }


def read_checkpoint(folder: Path, device: str = "cpu") -> Checkpoint:
    """Reads `model.safetensors`, which is made of `model.pth` where it is not there yet.

    Raises:
        InternalError: There is neither, or what is there is no XTTS v2.
    """
    shape = read_shape(folder / "config.json")
    if not (folder / CONVERTED).is_file():
        convert(folder)
    with safe_open(folder / CONVERTED, framework="pt", device=device) as file:
        metadata: dict[str, str] = file.metadata() or {}
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Checkpoint(shape, weights, metadata["sha256"])


def convert(folder: Path) -> None:
    """Writes `model.safetensors` beside `model.pth`.

    Raises:
        InternalError: There is no `model.pth`, or it is not what it should be.
    """
    official = folder / OFFICIAL
    if not official.is_file():
        raise InternalError(f"neither {CONVERTED} nor {OFFICIAL} lies in the checkpoint's folder")
    with official.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    weights = dict(_plain(load_untrusted(official)["model"]))
    vocoder = fused({n.removeprefix(VOCODER): w for n, w in weights.items() if VOCODER in n})
    weights = {name: value for name, value in weights.items() if not name.startswith(VOCODER)}
    weights |= {VOCODER + name: value for name, value in vocoder.items()}
    fresh = folder / f"{CONVERTED}.new"
    save_file({n: w.float().contiguous() for n, w in weights.items()}, fresh, {"sha256": sha256})
    fresh.replace(folder / CONVERTED)


def load_untrusted(path: Path) -> dict[str, Any]:
    """Unpickles tensors and plain values; the configuration's classes become empty stand-ins.

    Raises:
        pickle.UnpicklingError: The file asks for anything else.
    """
    stand_ins: list[Any] = [(_Inert, name) for name in _CONFIG_CLASSES]
    with torch.serialization.safe_globals(stand_ins):
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return loaded


def read_speakers(folder: Path) -> dict[str, dict[str, Tensor]]:
    """The checkpoint's own voices, by name: `gpt_cond_latent` and `speaker_embedding` of each."""
    path = folder / SPEAKERS
    return load_untrusted(path) if path.is_file() else {}


def _plain(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for saved, value in weights.items():
        name = saved.removeprefix("xtts.")
        if not name.startswith(_TRAINERS + _COPIES + _UNUSED) and not name.endswith(_CONSTANTS):
            yield name, value
