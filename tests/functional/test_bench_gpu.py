"""What a GPU host is measured with, tried out on this machine's CPU."""

from __future__ import annotations

import json

import pytest
from bench_gpu import main


def measured(tmp_path, capsys, model, folder, *arguments):
    where = ["--device", "cpu", "--folder", str(folder), "--out", str(tmp_path)]
    assert main(["--model", model, *where, *arguments]) == 0
    assert "callers" in capsys.readouterr().out
    return {
        path.stem.removeprefix(f"{model}-"): json.loads(path.read_text())
        for path in tmp_path.glob(f"{model}-*.json")
    }


def test_styletts2_is_compared_and_measured(tiny_styletts2, tmp_path, capsys):
    found = measured(
        tmp_path, capsys, "styletts2", tiny_styletts2, "--parity", "--callers", "1", "2"
    )
    exact, half = found["parity"]["fp32"], found["parity"]["bf16"]
    # The same device and the same precision: nothing may be left over.
    assert (exact["frames moved"], exact["style moved"]) == (0, 0)
    assert exact["dB SNR"] > 100 > half["dB SNR"] > 8
    assert exact["as served, equally long"] == 3
    assert exact["as served, difference a second"] < 1e-3
    assert set(found["callers"]) == {"1", "2"}
    for crowd in found["callers"].values():
        assert 0 < crowd["first ms p50"] <= crowd["first ms p95"]
        assert crowd["real-time factor"] == pytest.approx(1 / crowd["x real time"])
