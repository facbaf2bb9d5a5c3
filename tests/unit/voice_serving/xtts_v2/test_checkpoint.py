"""Checkpoints from strangers."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from voice_serving.engines.xtts_v2.network.checkpoint import CONVERTED, read_checkpoint
from voice_serving.engines.xtts_v2.network.gpt import Gpt
from voice_serving.engines.xtts_v2.network.voice import Cloner
from voice_serving.engines.xtts_v2.settings import Precision
from voice_serving.errors import InternalError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tiny_xtts: Path, tmp_path: Path) -> Path:
    for name in ("model.pth", "config.json"):
        shutil.copy(tiny_xtts / name, tmp_path)
    return tmp_path


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch hostile",)


def test_it_is_converted_once_and_strangers_code_is_not_run(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {}, "config": Hostile()}, folder / "model.pth")
    with pytest.raises(pickle.UnpicklingError):
        read_checkpoint(folder)
    assert not (tmp_path / "hostile").exists()


def test_the_second_time_only_safetensors_are_read(folder):
    first = read_checkpoint(folder)
    (folder / "model.pth").unlink()
    second = read_checkpoint(folder)
    assert second.sha256 == first.sha256
    assert second.weights.keys() == first.weights.keys()
    assert not [name for name in second.weights if "original" in name or name.endswith("_g")]


def test_what_older_versions_wrote_is_read_alike(folder):
    expected = read_checkpoint(folder).weights
    (folder / CONVERTED).unlink()
    saved = torch.load(folder / "model.pth", weights_only=False)["model"]
    older = {}
    for name, value in saved.items():
        renamed = name.replace("parametrizations.weight.original0", "weight_g")
        older[f"xtts.{renamed.replace('parametrizations.weight.original1', 'weight_v')}"] = value
    older["xtts.dvae.codebook"] = older["xtts.gpt.gpt.wte.weight"] = torch.zeros(3)
    older["xtts.gpt.gpt_inference.lm_head.0.weight"] = torch.zeros(3)
    torch.save({"model": older}, folder / "model.pth")
    found = read_checkpoint(folder).weights
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    "name", ["gpt.conditioning_encoder.init.bias", "hifigan_decoder.speaker_encoder.fc.bias"]
)
def test_a_weight_that_is_missing_or_more_is_an_error(folder, name):
    checkpoint = read_checkpoint(folder)
    weights = dict(checkpoint.weights)
    weights[f"{name}.more"] = weights[name]
    broken = type(checkpoint)(checkpoint.shape, weights, checkpoint.sha256)
    with pytest.raises(RuntimeError):
        Cloner(broken)
    del weights[f"{name}.more"], weights[name]
    with pytest.raises(RuntimeError):
        Cloner(broken)


def test_a_layer_that_is_missing_is_an_error(folder):
    checkpoint = read_checkpoint(folder)
    weights = {n: w for n, w in checkpoint.weights.items() if ".h.1." not in n}
    with pytest.raises(KeyError):
        Gpt(weights, checkpoint.shape, Precision.FP32, slots=1, voice_length=32)


@pytest.mark.parametrize(
    "change", [{"model": "vits"}, {"model_args": {"gpt_use_perceiver_resampler": False}}]
)
def test_another_model_is_refused(folder, change):
    document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**document, **change}), encoding="utf-8")
    with pytest.raises(InternalError):
        read_checkpoint(folder)
