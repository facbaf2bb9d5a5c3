from __future__ import annotations

from pathlib import Path

import pytest

from voice_serving.engines.styletts2.settings import Device, Precision, StyleTts2Settings
from voice_serving.params import ParameterError, Parameters


def settings(**environment: str) -> StyleTts2Settings:
    return StyleTts2Settings.from_parameters(Parameters("styletts2", {}, environment))


def test_the_presets():
    quality, fast = settings(), settings(STYLETTS2_PRESET="fast")
    assert (quality.precision, quality.most_diffusion_steps) == (Precision.FP32, 50)
    assert (fast.precision, fast.most_diffusion_steps) == (Precision.BF16, 3)
    mixed = settings(STYLETTS2_PRESET="fast", STYLETTS2_PRECISION="fp32")
    assert (mixed.precision, mixed.most_diffusion_steps) == (Precision.FP32, 3)


def test_each_can_be_overridden():
    found = settings(
        STYLETTS2_CHECKPOINT="/weights",
        STYLETTS2_DEVICE="cpu",
        STYLETTS2_CARRY_PERCENT="0",
        STYLETTS2_THREADS="2",
        STYLETTS2_SOUND_BATCH="4",
        STYLETTS2_CACHE_DIR="/styles",
        STYLETTS2_CACHE_MIB="1",
    )
    assert found.checkpoint == Path("/weights")
    assert found.device is Device.CPU
    assert (found.carry, found.threads, found.sound_batch) == (0.0, 2, 4)
    assert (found.cache_folder, found.cache_bytes) == (Path("/styles"), 1 << 20)


@pytest.mark.parametrize(
    ("name", "value"),
    [("PRESET", "best"), ("PRECISION", "fp8"), ("BATCH", "0"), ("CARRY_PERCENT", "101")],
)
def test_a_setting_that_makes_no_sense_is_named(name, value):
    with pytest.raises(ParameterError, match=f"STYLETTS2_{name}"):
        settings(**{f"STYLETTS2_{name}": value})
