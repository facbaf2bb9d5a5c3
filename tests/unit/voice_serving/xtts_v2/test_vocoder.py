"""How far the vocoder looks, at each of its rates."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional as F

from voice_serving.engines.xtts_v2.network.checkpoint import VOCODER, read_checkpoint
from voice_serving.engines.xtts_v2.network.vocoder import AFTER, CONTEXT, UPSAMPLING, Vocoder

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

FACTORS = [factor for _, factor in UPSAMPLING]
RATES = list(itertools.accumulate(FACTORS, lambda rate, factor: rate * factor))
"""Rows a frame after each widening."""


@pytest.fixture(scope="module")
def vocoder(tiny_xtts: Path) -> Vocoder:
    checkpoint = read_checkpoint(tiny_xtts)
    return Vocoder(checkpoint.under(VOCODER), checkpoint.shape, torch.float32)


def voice_of(vocoder: Vocoder) -> Tensor:
    width = vocoder.cond_layer.weight.shape[1]
    return F.normalize(torch.randn(1, width, generator=torch.Generator().manual_seed(1)))


def frames_of(vocoder: Vocoder, count: int) -> Tensor:
    width = vocoder.conv_pre.weight.shape[1]
    return torch.randn(1, count, width, generator=torch.Generator().manual_seed(2))


@torch.inference_mode()
@pytest.mark.parametrize(("first", "end"), [(0, 9), (17, 25), (20, 21), (30, 40)])
def test_what_is_wanted_is_the_same_as_of_the_whole(vocoder, first, end):
    frames, voice = frames_of(vocoder, 40), voice_of(vocoder)
    whole = vocoder(frames, voice)
    low, high = max(0, first - CONTEXT), min(40, end + CONTEXT)
    part = vocoder(frames[:, low:high], voice, (first - low, end - low))
    assert part.shape == (1, (end - first) * vocoder.hop)
    assert torch.allclose(part, whole[:, first * vocoder.hop : end * vocoder.hop], atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("number", range(len(AFTER)))
def test_beyond_its_context_a_sample_looks_at_nothing(vocoder, number):
    """Numbers that are none stand beyond it and do not arrive; two rows further in they do."""
    rate, frames = RATES[number], 8
    channels = vocoder.ups[number].weight.shape[1]
    voice = voice_of(vocoder)[:, None]
    first, end = 3 * rate, 5 * rate

    def arrives(context: int) -> bool:
        x = torch.full((1, frames * rate, channels), float("nan"))
        x[:, first - context : end + context] = 0.1
        for later in range(number + 1, len(AFTER)):
            x = vocoder._rise(later, x, voice)
        samples = vocoder.conv_post(F.leaky_relu_(x))[0, 3 * vocoder.hop : 5 * vocoder.hop]
        return bool(samples.isnan().any())

    assert not arrives(AFTER[number])
    assert arrives(AFTER[number] - 2)
