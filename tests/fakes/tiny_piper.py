"""A Piper voice of a few kilobytes: the real signature, tones instead of speech.

Every phoneme id becomes a tone of `2 * length_scale` frames whose pitch tells the id and the
speaker, so tests can see what reached the model. With `noise_scale` 0 it is deterministic.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from piper import PiperConfig
from piper.config import PhonemeType
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

HOP: Final = 256
FRAMES_PER_ID: Final = 2.0
BASE_HZ: Final = 100.0
HZ_PER_ID: Final = 4.0
SPEAKER_RATIO: Final = 0.2
"""Each speaker's tones are this much higher than the one's before."""
AMPLITUDE: Final = 0.3
_SLOW_SIZE: Final = 1024
"""Two matrices of this size are multiplied in a slow voice: tens of milliseconds on one core."""


@dataclass
class _Graph:
    """Nodes and constants in order; every node has one output, named like the node."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def constant(self, name: str, value: ArrayLike, dtype: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output


def build_voice(
    model: Path,
    *,
    sample_rate: int = 16000,
    speakers: tuple[str, ...] = (),
    espeak_voice: str = "en-us",
    amplitude: float = AMPLITUDE,
    slow: bool = False,
) -> Path:
    """Writes `model` and its JSON.

    Args:
        model: Path of the `.onnx` file.
        sample_rate: Hz.
        speakers: Names; fewer than two make a voice without the input `sid`.
        espeak_voice: The language of its phonemes.
        amplitude: Peak of the tones; `math.nan` makes a voice that is broken.
        slow: Takes tens of milliseconds for every sentence, however short.

    Returns:
        `model`.
    """
    several = len(speakers) > 1
    onnx.save(_model(sample_rate, several, amplitude, slow), str(model))
    config = PiperConfig(
        num_symbols=256,
        num_speakers=max(1, len(speakers)),
        sample_rate=sample_rate,
        espeak_voice=espeak_voice,
        phoneme_id_map=DEFAULT_PHONEME_ID_MAP,
        phoneme_type=PhonemeType.ESPEAK,
        speaker_id_map={name: number for number, name in enumerate(speakers)} if several else {},
        hop_length=HOP,
    )
    text = json.dumps(config.to_dict(), ensure_ascii=False)
    model.with_name(f"{model.name}.json").write_text(text, encoding="utf-8")
    return model


def samples_of(ids: int, length_scale: float = 1.0) -> int:
    """How many samples the voice makes of so many phoneme ids."""
    return ids * math.ceil(FRAMES_PER_ID * length_scale) * HOP


def _model(sample_rate: int, several: bool, amplitude: float, slow: bool) -> Any:
    g = _Graph()
    integer, number = np.int64, np.float32

    # Samples per id: ceil(frames * length_scale) * hop.
    length = g.add("Gather", ["scales", g.constant("second", 1, integer)], "length", axis=0)
    frames = g.add("Mul", [length, g.constant("frames_per_id", FRAMES_PER_ID, number)], "frames")
    whole = g.add("Cast", [g.add("Ceil", [frames], "ceiling")], "whole", to=TensorProto.INT64)
    samples = g.add("Mul", [whole, g.constant("hop", HOP, integer)], "samples")

    # Pitch of every id, [batch, ids].
    ids = g.add("Cast", ["input"], "ids", to=TensorProto.FLOAT)
    steps = g.add("Mul", [ids, g.constant("hz_per_id", HZ_PER_ID, number)], "steps")
    hertz = g.add("Add", [steps, g.constant("base_hz", BASE_HZ, number)], "hertz")
    if several:
        speaker = g.add("Cast", ["sid"], "speaker", to=TensorProto.FLOAT)
        higher = g.add(
            "Mul", [speaker, g.constant("speaker_ratio", SPEAKER_RATIO, number)], "higher"
        )
        ratio = g.add("Add", [higher, g.constant("unit", 1.0, number)], "ratio")
        hertz = g.add("Mul", [hertz, ratio], "hertz_of_speaker")

    # Held for its samples, [batch, ids * samples], and turned into a phase without jumps.
    first_axis = g.constant("first_axis", [0], integer)
    shape = g.add(
        "Concat",
        [
            g.add("Shape", ["input"], "input_shape"),
            g.add("Unsqueeze", [samples, first_axis], "samples_shape"),
        ],
        "held_shape",
        axis=0,
    )
    column = g.add("Unsqueeze", [hertz, g.constant("third_axis", [2], integer)], "column")
    held = g.add("Expand", [column, shape], "held")
    flat = g.add("Reshape", [held, g.constant("flat_shape", [0, -1], integer)], "flat")
    summed = g.add("CumSum", [flat, g.constant("time_axis", 1, integer)], "summed")
    turn = g.constant("radians", 2 * math.pi / sample_rate, number)
    tone = g.add("Sin", [g.add("Mul", [summed, turn], "phase")], "tone")
    loud = g.add("Mul", [tone, g.constant("amplitude", amplitude, number)], "loud")

    # Real voices draw their noise inside the graph too.
    noise_scale = g.add("Gather", ["scales", g.constant("zeroth", 0, integer)], "noise", axis=0)
    noise = g.add("Mul", [g.add("RandomNormalLike", [loud], "random"), noise_scale], "scaled")
    quiet = g.add("Mul", [noise, g.constant("noise_gain", 0.001, number)], "quiet")
    spoken = g.add("Add", [loud, quiet], "spoken")
    if slow:
        spoken = g.add("Add", [spoken, _wasted_work(g)], "spoken_late")
    g.add("Unsqueeze", [spoken, g.constant("channel_axes", [1, 2], integer)], "output")

    def value(name: str, kind: int, dims: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, kind, dims)

    inputs = [
        value("input", TensorProto.INT64, ["batch_size", "phonemes"]),
        value("input_lengths", TensorProto.INT64, ["batch_size"]),
        value("scales", TensorProto.FLOAT, [3]),
    ]
    if several:
        inputs.append(value("sid", TensorProto.INT64, [1]))
    output = value("output", TensorProto.FLOAT, ["batch_size", 1, 1, "time"])
    graph = helper.make_graph(g.nodes, "tiny_piper", inputs, [output], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _wasted_work(g: _Graph) -> str:
    """A zero that takes its time; drawn at random, so that no optimisation sees through it."""
    shape = [_SLOW_SIZE, _SLOW_SIZE]
    one, other = (
        g.add("RandomNormal", [], name, shape=shape, dtype=TensorProto.FLOAT)
        for name in ("one_matrix", "other_matrix")
    )
    product = g.add("MatMul", [one, other], "product")
    total = g.add("ReduceMean", [product], "total", keepdims=0)
    return g.add("Mul", [total, g.constant("zero", 0.0, np.float32)], "late_zero")
