"""Random checkpoints are written whole, and never over what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_random_model
import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    written: list[tuple[str, int]] = []

    def write(folder: Path, size: str, seed: int) -> None:
        folder.mkdir()
        (folder / "model.pth").write_text("noise", encoding="utf-8")
        written.append((size, seed))
        if seed == 13:
            raise OSError("no space left")

    monkeypatch.setitem(make_random_model.WRITERS, "xtts_v2", write)
    return written


def run(folder: Path, *arguments: str) -> int:
    return make_random_model.main(["xtts_v2", "--dest", str(folder), *arguments])


def test_a_checkpoint_is_written_and_its_folder_named(tmp_path, writer, capsys):
    folder = tmp_path / "checkpoint"
    assert run(folder, "--size", "tiny", "--seed", "4") == 0
    assert writer == [("tiny", 4)]
    assert [path.name for path in folder.iterdir()] == ["model.pth"]
    assert capsys.readouterr().out.strip() == str(folder)


def test_weights_that_somebody_has_are_left_alone(tmp_path, writer, capsys):
    (tmp_path / "model.pth").write_text("real", encoding="utf-8")
    assert run(tmp_path) == 1
    assert "not empty" in capsys.readouterr().err
    assert writer == []
    assert (tmp_path / "model.pth").read_text(encoding="utf-8") == "real"


def test_our_own_folder_is_written_anew(tmp_path, writer, monkeypatch):
    monkeypatch.setattr(make_random_model, "ROOT", tmp_path)
    folder = tmp_path / ".local/random/xtts_v2"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("of an older one", encoding="utf-8")
    assert make_random_model.main(["xtts_v2"]) == 0
    assert [path.name for path in folder.iterdir()] == ["model.pth"]


def test_an_interrupted_one_is_none(tmp_path, writer):
    with pytest.raises(OSError, match="no space"):
        run(tmp_path / "checkpoint", "--seed", "13")
    assert list(tmp_path.iterdir()) == []
