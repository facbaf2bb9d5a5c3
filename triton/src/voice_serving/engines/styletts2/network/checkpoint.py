"""Official checkpoints: read without running them, kept as safetensors.

A checkpoint of the authors' training is a pickle of thirteen modules with their optimizers. Only
plain tensors are taken out of it, and only those of the eight modules that speak; `rearrange` says
how.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file

from voice_serving.engines.styletts2.network.model import Network
from voice_serving.engines.styletts2.network.rearrange import (
    MODULES,
    CheckpointError,
    rearranged,
    shape_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from voice_serving.engines.styletts2.network.shapes import Shape

LAYOUT: Final = 1
"""Of the rearranged file: with another number it is made anew."""

_CONFIG: Final = "config.yml"
_BERT_CONFIG: Final = "PLBERT/config.yml"
_PARALLEL: Final = "module."
"""Before every name, because training ran on several devices."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network in memory, and what it was read from."""

    network: Network
    digest: str
    """SHA-256 of the checkpoint, in hex."""


def load(folder: Path, kept: Path) -> Loaded:
    """Reads the checkpoint of a folder.

    Args:
        folder: Holds `config.yml`; the checkpoint, `*.pth`, unless it was rearranged before; and
            `PLBERT/config.yml`, unless PL-BERT is the authors' own.
        kept: Folder of the rearranged file. It is written when it is missing, or was made from
            another checkpoint.

    Raises:
        CheckpointError: A file is missing, or does not fit the others.
    """
    config = _yaml(folder / _CONFIG)
    bert_config = _yaml(folder / _BERT_CONFIG) if (folder / _BERT_CONFIG).is_file() else {}
    source = _only(folder, "*.pth")
    if source is None:
        target = _only(kept, f"*.{LAYOUT}.safetensors")
        if target is None:
            raise CheckpointError(f"no checkpoint lies in {folder}")
    else:
        target = kept / f"{source.stem}.{LAYOUT}.safetensors"
        # Size and time instead of a digest: that would read the whole file at every start.
        stamp = f"{source.stat().st_size}-{source.stat().st_mtime_ns}"
        if not target.is_file() or _read(target)[1].get("stamp") != stamp:
            weights = rearranged(read_official(source), config)
            # A network that takes every one of them is the proof that they are whole.
            filled(shape_of(weights, config, bert_config), weights)
            with source.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            kept.mkdir(parents=True, exist_ok=True)
            fresh = target.with_name(f"{target.name}.new")
            save_file(weights, fresh, {"stamp": stamp, "digest": digest})
            fresh.replace(target)
    weights, metadata = _read(target)
    network = filled(shape_of(weights, config, bert_config), weights)
    return Loaded(network, metadata["digest"])


def read_official(path: Path) -> dict[str, dict[str, Tensor]]:
    """The tensors of the speaking modules, by module and name.

    Nothing in the file is run: torch's restricted reader makes tensors and plain containers only.
    Old training runs left a scheduler in it, of which the reader would know neither the class nor
    the `getattr`; both are read as a function that does nothing.

    Raises:
        CheckpointError: It is no such checkpoint.
    """
    known: list[Any] = [
        (_nothing, "builtins.getattr"),
        (_nothing, "torch.optim.lr_scheduler.OneCycleLR"),
    ]
    try:
        with torch.serialization.safe_globals(known):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        # torch's own message is a page long and proposes to run the file.
        raise CheckpointError(f"{path.name} cannot be read as plain tensors") from error
    modules = content.get("net") if isinstance(content, dict) else None
    if not isinstance(modules, dict) or not set(MODULES) <= set(modules):
        raise CheckpointError(f"{path.name} does not hold the modules {', '.join(MODULES)}")
    return {
        module: {name.removeprefix(_PARALLEL): tensor for name, tensor in modules[module].items()}
        for module in MODULES
    }


def _nothing(*_arguments: object) -> None:
    return None


def filled(shape: Shape, weights: Mapping[str, Tensor]) -> Network:
    """A network of these weights, ready to speak.

    Raises:
        CheckpointError: They do not fit the shape, or are not all numbers.
    """
    with torch.device("meta"):
        network = Network(shape)
    try:
        network.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointError("the checkpoint's tensors do not fit its configuration") from error
    for name, parameter in network.named_parameters():
        parameter.requires_grad = False
        if parameter.ndim == 4:
            # The order in which the convolutions read them; see `layers`.
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        if not torch.isfinite(parameter).all():
            raise CheckpointError(f"{name} is not all numbers")
    return network.eval()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        return {name: file.get_tensor(name) for name in names}, file.metadata()


def _yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("model_params"), dict):
        raise CheckpointError(f"{path} has no model_params")
    parameters: dict[str, Any] = content["model_params"]
    return parameters


def _only(folder: Path, pattern: str) -> Path | None:
    found = sorted(folder.glob(pattern))
    if len(found) > 1:
        raise CheckpointError(f"{folder} holds {len(found)} checkpoints, and one is needed")
    return found[0] if found else None
