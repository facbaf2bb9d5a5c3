"""StyleTTS2 without a server around it: a network over random weights, and sentences for it."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import torch

from voice_serving.engines.styletts2.network.checkpoint import filled
from voice_serving.engines.styletts2.network.model import Manner, Network
from voice_serving.engines.styletts2.network.rearrange import rearranged, shape_of
from voice_serving.engines.styletts2.network.source import HARMONICS
from voice_serving.engines.styletts2.sentence import Sentence

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from upstream_styletts2 import Upstream

SAMPLES_PER_FRAME = 600


def network_of(upstream: Upstream) -> Network:
    """Our network with the package's weights."""
    modules = {name: module.state_dict() for name, module in upstream.modules.items()}
    weights = rearranged(modules, upstream.config)
    return filled(shape_of(weights, upstream.config, upstream.bert_config), weights)


def text(length: int, seed: int = 0) -> Tensor:
    """Random tokens after the pad, `[1, length]`."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(1, 170, (1, length), generator=generator)
    numbers[0, 0] = 0
    return numbers


def noise(style: int, steps: int, seconds: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """For the diffusion, `[steps, 1, style]`, and for the source, `[1, HARMONICS, samples]`."""
    generator = torch.Generator().manual_seed(seed)
    styles = torch.randn(steps, 1, style, generator=generator)
    return styles, torch.randn(1, HARMONICS, seconds * 24_000, generator=generator)


def manner(reference: Tensor, style_noise: Tensor, **changes: Any) -> Manner:
    """The authors' settings, but for `changes`: numbers, or tensors."""
    values: dict[str, Any] = {
        "alpha": 0.3,
        "beta": 0.7,
        "carry": 0.0,
        "speed": 1.0,
        "guidance": None,
        "previous": torch.zeros_like(reference),
        **changes,
    }
    columns = {
        name: torch.full((len(reference), 1), value) if isinstance(value, float) else value
        for name, value in values.items()
    }
    return Manner(reference=reference, noise=style_noise, **columns)


def sentence(length: int, style: int = 32, seed: int = 0, **changes: Any) -> Sentence:
    """A random sentence in a random style."""
    random = np.random.default_rng(seed)
    values: dict[str, Any] = {
        "tokens": (0, *random.integers(1, 170, length - 1).tolist()),
        "reference": (random.standard_normal(style) * 0.1).astype(np.float32),
        "previous": None,
        "carry": 0.7,
        "alpha": 0.3,
        "beta": 0.7,
        "guidance": 1.0,
        "steps": 3,
        "speed": 1.0,
        "seed": seed,
        **changes,
    }
    return Sentence(**values)


def recording(seconds: float = 3.0, rate: int = 24_000, seed: int = 0) -> NDArray[np.float32]:
    """Something that swells like syllables, with a tone in it."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * random.uniform(90, 240) * time) * np.sin(3 * time) ** 2
    return (0.3 * tone + 0.02 * random.standard_normal(len(time))).astype(np.float32)


def wav(samples: NDArray[np.float32], rate: int = 24_000) -> tuple[bytes, str]:
    """A prepared sample, and its id."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    content = file.getvalue()
    return content, hashlib.sha256(content).hexdigest()
