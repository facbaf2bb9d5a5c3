"""Official checkpoints, and what is no such thing."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from voice_serving.engines.styletts2.network.checkpoint import load, read_official
from voice_serving.engines.styletts2.network.rearrange import CheckpointError

NAME = "epochs_2nd_00020.pth"


@pytest.fixture
def folder(tiny_styletts2, tmp_path) -> Path:
    for name in ("config.yml", NAME, "PLBERT/config.yml"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((tiny_styletts2 / name).read_bytes())
    return tmp_path


def changed(folder: Path, change) -> None:
    known = [(print, "builtins.getattr"), (print, "torch.optim.lr_scheduler.OneCycleLR")]
    with torch.serialization.safe_globals(known):
        content = torch.load(folder / NAME, weights_only=True)
    change(content["net"])
    torch.save(content, folder / NAME)


def test_it_is_rearranged_once(folder):
    first = load(folder, folder / "kept")
    kept = folder / "kept" / f"{Path(NAME).stem}.1.safetensors"
    written = kept.stat().st_mtime_ns
    second = load(folder, folder / "kept")
    assert kept.stat().st_mtime_ns == written
    assert first.digest == second.digest
    for (name, one), (_, other) in zip(
        first.network.state_dict().items(), second.network.state_dict().items(), strict=True
    ):
        assert torch.equal(one, other), name


def test_to_read_one_does_not_import_the_compiler(folder):
    # Where Triton runs, the working folder has a `triton` of its own, and the compiler wants its.
    program = (
        "import sys; from pathlib import Path;"
        "from voice_serving.engines.styletts2.network.checkpoint import load;"
        "load(Path(sys.argv[1]), Path(sys.argv[1])); assert 'torch._dynamo' not in sys.modules"
    )
    source = Path(__file__).parents[4] / "triton/src"
    done = subprocess.run(
        [sys.executable, "-c", program, folder],
        env={**os.environ, "PYTHONPATH": str(source), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_another_checkpoint_is_rearranged_anew(folder):
    first = load(folder, folder)
    changed(folder, lambda net: net["bert_encoder"]["module.bias"].add_(1))
    second = load(folder, folder)
    assert first.digest != second.digest
    assert torch.equal(second.network.bert_output.bias, first.network.bert_output.bias + 1)


def test_the_rearranged_file_is_enough(folder):
    first = load(folder, folder)
    (folder / NAME).unlink()
    assert load(folder, folder).digest == first.digest


def test_modules_that_do_not_speak_are_not_read(folder):
    changed(folder, lambda net: net.update(wd={"bias": torch.ones(3)}))
    assert "wd" not in read_official(folder / NAME)


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("touched"),)


def test_nothing_in_a_checkpoint_is_run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    torch.save({"net": {}, "evil": Evil()}, folder / NAME)
    with pytest.raises(CheckpointError, match="plain tensors"):
        load(folder, folder)
    (folder / NAME).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="plain tensors"):
        load(folder, folder)
    assert not (folder / "touched").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda net: net.pop("bert"), "does not hold the modules"),
        (lambda net: net["decoder"].pop("module.F0_conv.bias"), "decoder has no F0_conv.bias"),
        (
            lambda net: net["decoder"].update({"module.more": torch.ones(1)}),
            "decoder has the unknown .more",
        ),
        (lambda net: net["bert_encoder"]["module.bias"].fill_(torch.nan), "not all numbers"),
        (
            lambda net: net["bert_encoder"].update({"module.bias": torch.ones(3)}),
            "do not fit its configuration",
        ),
    ],
)
def test_what_is_missing_left_over_or_broken_is_named(folder, change, message):
    changed(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load(folder, folder)
    assert list(folder.glob("*.safetensors")) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.update(multispeaker=False), "cannot clone"),
        (lambda config: config["decoder"].update(type="istftnet"), "hifigan"),
        (lambda config: config.pop("style_dim"), "lacks a setting"),
        (lambda config: config.update(hidden_dim=64), "do not fit its configuration"),
    ],
)
def test_a_configuration_that_does_not_fit_is_said(folder, change, message):
    content = yaml.safe_load((folder / "config.yml").read_text())
    change(content["model_params"])
    (folder / "config.yml").write_text(yaml.safe_dump(content))
    with pytest.raises(CheckpointError, match=message):
        load(folder, folder)


def test_an_empty_folder_is_said(tmp_path):
    with pytest.raises(CheckpointError, match=r"config.yml is missing"):
        load(tmp_path, tmp_path)


def test_two_checkpoints_are_one_too_many(folder):
    (folder / "other.pth").write_bytes(b"")
    with pytest.raises(CheckpointError, match="holds 2 checkpoints"):
        load(folder, folder)
