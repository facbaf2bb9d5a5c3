"""Random StyleTTS2 checkpoints in the official format: what the package and our engine both read.

They sound like nothing. What they are for: to prove that both compute the same, and how fast.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

import torch
import yaml

from upstream_styletts2 import Upstream
from voice_serving.engines.styletts2.network.checkpoint import read_official

if TYPE_CHECKING:
    from pathlib import Path

_DECODER: Final[dict[str, Any]] = {
    "type": "hifigan",
    "resblock_kernel_sizes": [3, 7, 11],
    "upsample_rates": [10, 5, 3, 2],
    "upsample_initial_channel": 512,
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "upsample_kernel_sizes": [20, 10, 6, 4],
}
REAL: Final[dict[str, Any]] = {
    "multispeaker": True,
    "dim_in": 64,
    "hidden_dim": 512,
    "max_conv_dim": 512,
    "n_layer": 3,
    "n_mels": 80,
    "n_token": 178,
    "max_dur": 50,
    "style_dim": 128,
    "dropout": 0.2,
    "decoder": _DECODER,
    "slm": {"hidden": 768, "nlayers": 13, "initial_channel": 64},
    "diffusion": {
        "embedding_mask_proba": 0.1,
        "transformer": {"num_layers": 3, "num_heads": 8, "head_features": 64, "multiplier": 2},
        "dist": {"sigma_data": 0.2, "estimate_sigma_data": True, "mean": -3.0, "std": 1.0},
    },
}
"""`model_params` of the LibriTTS checkpoint."""
REAL_BERT: Final[dict[str, Any]] = {
    "vocab_size": 178,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 2048,
    "max_position_embeddings": 512,
    "num_hidden_layers": 12,
    "dropout": 0.1,
}
CHECKPOINT: Final = "epochs_2nd_00020.pth"
_TINY_WIDTH: Final = 32


def upstream(*, tiny: bool, seed: int = 0) -> Upstream:
    """The package with random weights, in the real shape or a tiny one."""
    torch.manual_seed(seed)
    if not tiny:
        return Upstream(REAL, REAL_BERT)
    config, bert = copy.deepcopy(REAL), copy.deepcopy(REAL_BERT)
    config.update(dim_in=8, hidden_dim=32, max_conv_dim=32, n_layer=2, style_dim=16)
    config["decoder"]["upsample_initial_channel"] = 32
    config["diffusion"]["transformer"].update(num_layers=2, num_heads=2, head_features=8)
    bert.update(
        hidden_size=48,
        num_attention_heads=4,
        intermediate_size=64,
        num_hidden_layers=3,
        embedding_size=16,
    )
    return Upstream(config, bert, decoder_width=_TINY_WIDTH)


def write_styletts2(folder: Path, made: Upstream) -> None:
    """Writes `config.yml`, `epochs_2nd_00020.pth` and `PLBERT/config.yml`."""
    (folder / "PLBERT").mkdir(parents=True, exist_ok=True)
    torch.save(made.checkpoint(), folder / CHECKPOINT)
    _write_yaml(folder / "PLBERT/config.yml", {"model_params": made.bert_config})
    _write_yaml(folder / "config.yml", {"model_params": made.config})


def load_upstream(folder: Path) -> Upstream:
    """The package with a folder's weights, in their shape."""
    weights = read_official(folder / CHECKPOINT)
    config, bert_config = (
        _read_yaml(folder / name) for name in ("config.yml", "PLBERT/config.yml")
    )
    width = len(weights["decoder"]["encode.conv1.bias"])
    made = Upstream(config, bert_config, decoder_width=width if width == _TINY_WIDTH else None)
    for name, tensors in weights.items():
        made.modules[name].load_state_dict(tensors)
    return made


def _read_yaml(path: Path) -> dict[str, Any]:
    parameters: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["model_params"]
    return parameters


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
