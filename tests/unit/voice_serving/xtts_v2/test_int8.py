"""The GPT in bytes, beside the same one in torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from voice_serving.engines.xtts_v2.network.checkpoint import read_checkpoint
from voice_serving.engines.xtts_v2.network.gpt import Gpt
from voice_serving.engines.xtts_v2.network.int8 import BLOCK, quantize
from voice_serving.engines.xtts_v2.settings import Precision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

SLOTS = 4
LIKE = 0.05
"""Of the sizes of what is compared: what rounding to bytes may change, at the tests' width."""


@pytest.fixture(scope="module")
def gpts(tiny_xtts: Path) -> dict[Precision, Any]:
    checkpoint = read_checkpoint(tiny_xtts)
    return {
        precision: Gpt(checkpoint.weights, checkpoint.shape, precision, SLOTS, voice_length=32)
        for precision in (Precision.FP32, Precision.INT8)
    }


@pytest.fixture
def exact(gpts):
    return gpts[Precision.FP32].transformer


@pytest.fixture
def bytewise(gpts):
    return gpts[Precision.INT8].transformer


def rows(count: int, seed: int, width: int = 64) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def read(transformer: Any, slot: int, parts: Sequence[int]) -> tuple[Tensor, int]:
    """Reads parts of so many positions one after the other; the last one's latents."""
    start = 0
    latents = torch.empty(0)
    for part in parts:
        latents = transformer.extend(slot, start, rows(part, seed=10 * slot + start))
        start += part
    return latents.clone(), start


def close(made: Tensor, expected: Tensor) -> bool:
    return float((made - expected).norm() / expected.norm()) < LIKE


@torch.inference_mode()
@pytest.mark.parametrize("parts", [(1,), (17,), (32, 9), (32, 9, 20)])
def test_reads_a_sentence_in_parts_as_torch_does(exact, bytewise, parts):
    expected, _ = read(exact, 1, parts)
    made, _ = read(bytewise, 1, parts)
    assert made.shape == expected.shape
    assert close(made, expected)


@torch.inference_mode()
def test_steps_sentences_of_different_lengths_as_torch_does(exact, bytewise):
    parts = [(32, 5), (32, 40), (20,), (32, 11)]
    lengths = [read(exact, slot, part)[1] for slot, part in enumerate(parts)]
    assert [read(bytewise, slot, part)[1] for slot, part in enumerate(parts)] == lengths
    for number in range(3):
        x = rows(SLOTS, seed=100 + number)
        now = torch.tensor(lengths) + number
        expected = exact.step(now, x, 128)
        made = bytewise.step(now, x, 128)
        assert all(close(a, b) for a, b in zip(made, expected, strict=True))


@torch.inference_mode()
def test_nobody_s_latents_depend_on_who_else_speaks(bytewise):
    lengths = torch.tensor([read(bytewise, slot, (32, 5 + slot))[1] for slot in range(SLOTS)])
    x = rows(SLOTS, seed=3)
    before = bytewise.cache.values.clone()
    together = bytewise.step(lengths, x, 128).clone()
    for slot in range(SLOTS):
        bytewise.cache.values.copy_(before)
        bytewise.cache.move(slot, 0, int(lengths[slot]))
        alone = bytewise.step(lengths[slot : slot + 1], x[slot : slot + 1], 128)
        assert torch.allclose(alone[0], together[slot], atol=1e-5)


@torch.inference_mode()
def test_what_an_earlier_sentence_left_in_the_slot_is_not_read(bytewise):
    fresh, length = read(bytewise, 2, (32, 4))
    bytewise.cache.values[:, :, 2, :, length:] = float("nan")
    again, _ = read(bytewise, 2, (32, 4))
    assert torch.equal(again, fresh)
    bytewise.cache.move(2, 0, length)
    bytewise.cache.values[:, :, 0, :, length:] = float("nan")
    assert bytewise.step(torch.tensor([length]), rows(1, seed=5), 128).isfinite().all()


@torch.inference_mode()
def test_torch_computes_in_one_thread_beside_a_step_and_in_all_after_it(bytewise):
    threads = torch.get_num_threads()
    with bytewise.beside():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("columns", [BLOCK, 4 * BLOCK, BLOCK + 3])
def test_a_weight_is_off_by_half_a_byte_s_step_at_most(columns):
    weight = rows(5, seed=1, width=columns)
    weight[2] = 0
    data, scales = quantize(weight)
    assert data.dtype == np.uint8
    assert data.shape == (5, -(-columns // BLOCK), BLOCK)
    back = ((data.astype(np.float32) - 128) * scales[:, :, None]).reshape(5, -1)
    steps = np.repeat(scales, BLOCK, axis=1)[:, :columns]
    assert (np.abs(back[:, :columns] - weight.numpy()) <= 0.501 * steps).all()
    assert not back[:, columns:].any()
