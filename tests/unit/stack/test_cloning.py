from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import cloning
import layout
from tools import InstallError

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "xtts_v2"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(cloning, "_RANDOM", tmp_path / "random")
    monkeypatch.delenv("XTTS_V2_CHECKPOINT", raising=False)
    monkeypatch.delenv(layout.CLONING, raising=False)


def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Stands in for scripts/make_random_model.py, which takes ten seconds."""
    script = tmp_path / "writer.py"
    script.write_text(f"import sys, pathlib\nfolder = pathlib.Path(sys.argv[-1])\n{source}\n")
    monkeypatch.setattr(cloning, "_WRITER", script)


def fetched(tmp_path: Path) -> None:
    folder = tmp_path / "weights" / MODEL
    folder.mkdir(parents=True)
    assert cloning.is_noise(MODEL), "an empty folder is no checkpoint"
    (folder / "model.pth").touch()


def test_no_model_clones_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert layout.cloning_models() == ()
    assert layout.template_parameters()["CloningModels"] == ""
    monkeypatch.setenv(layout.CLONING, " xtts_v2, xtts_v2,")
    assert layout.cloning_models() == (MODEL,)
    assert layout.template_parameters()["CloningModels"] == MODEL
    monkeypatch.setenv(layout.CLONING, "styletts2,xtts_v2")
    assert layout.template_parameters()["CloningModels"] == "styletts2,xtts_v2"


@pytest.mark.parametrize("named", ["piper", "xtts", "xtts_v2 styletts2"])
def test_a_model_that_there_is_not_is_named(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(layout.CLONING, named)
    with pytest.raises(SystemExit, match=f"{layout.CLONING}: {named} is none of: xtts_v2"):
        layout.cloning_models()


def test_weights_are_those_named_then_those_fetched_then_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cloning.checkpoint(MODEL) == tmp_path / "random" / MODEL
    assert cloning.is_noise(MODEL)
    fetched(tmp_path)
    assert cloning.checkpoint(MODEL) == tmp_path / "weights" / MODEL
    assert not cloning.is_noise(MODEL)
    monkeypatch.setenv("XTTS_V2_CHECKPOINT", str(tmp_path / "mine"))
    assert cloning.checkpoint(MODEL) == tmp_path / "mine"
    told = cloning.environment([MODEL])
    assert told["XTTS_V2_CHECKPOINT"] == str(tmp_path / "mine")
    assert told["XTTS_V2_CACHE_DIR"] == str(layout.CONDITIONING / MODEL)


def test_noise_is_written_once_and_announced_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    once = "folder.mkdir(parents=True)\n(folder / 'args').write_text(' '.join(sys.argv[1:-1]))"
    writer(tmp_path, monkeypatch, once)
    cloning.prepare([MODEL])
    written = tmp_path / "random" / MODEL / "args"
    assert written.read_text() == "xtts_v2 --size tiny --dest"
    writer(tmp_path, monkeypatch, "sys.exit(1)")
    cloning.prepare([MODEL])
    assert capsys.readouterr().out.count("NOISE") == 2
    assert [path.name for path in (tmp_path / "random").iterdir()] == [MODEL]


def test_half_a_checkpoint_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer(tmp_path, monkeypatch, "folder.mkdir(parents=True)\nsys.exit('the disk is full')")
    with pytest.raises(InstallError, match="xtts_v2 could be written:\nthe disk is full"):
        cloning.prepare([MODEL])
    assert list((tmp_path / "random").iterdir()) == []


def test_weights_that_are_still_arriving_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "weights" / MODEL
    folder.mkdir(parents=True)
    (folder / "config.json").touch()
    part = folder / "model.pth.part"
    part.touch()
    with pytest.raises(InstallError, match=r"model\.pth is not whole .* xtts_v2$"):
        cloning.prepare([MODEL])
    # A damaged one that is fetched anew serves until then.
    (folder / "model.pth").touch()
    cloning.prepare([MODEL])
    assert part.exists()


def test_weights_that_somebody_has_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    writer(tmp_path, monkeypatch, "sys.exit(1)")
    fetched(tmp_path)
    cloning.prepare([MODEL])
    assert capsys.readouterr().out == ""
