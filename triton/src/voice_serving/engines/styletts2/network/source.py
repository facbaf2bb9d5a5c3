"""The voice's raw tone: sines at the pitch and its overtones, and noise where there is no pitch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from voice_serving.engines.styletts2.network.layers import Valid

SAMPLE_RATE: Final = 24_000
HARMONICS: Final = 9
_AMPLITUDE: Final = 0.1
_VOICED_NOISE: Final = 0.003
_VOICED_FROM_HZ: Final = 10.0


class HarmonicSource(nn.Module):
    """A pitch curve to a tone of that pitch.

    Always float32: the phase grows to tens of thousands of radians, which neither half type can
    hold.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.mix = nn.Linear(HARMONICS, 1)

    def forward(self, pitch: Tensor, noise: Tensor, valid: Valid | None) -> Tensor:
        """Sounds.

        Args:
            pitch: Hz, float32 `[B, T]`.
            noise: Standard normal, float32 `[B, HARMONICS, T · factor]`.
            valid: What is real among the T steps.

        Returns:
            float32 `[B, T · factor]`, zero beyond each end.
        """
        overtones = torch.arange(1, HARMONICS + 1, device=pitch.device, dtype=pitch.dtype)
        turns = (pitch[:, None] * overtones[:, None] / SAMPLE_RATE) % 1
        if valid is not None:
            # The phase stands still beyond the end, as it does at the end of a lone sequence.
            turns = turns * valid.mask.transpose(1, 2)
        phase = torch.cumsum(turns, dim=2) * (2 * math.pi) * self.factor
        phase = F.interpolate(phase, scale_factor=float(self.factor), mode="linear")
        voiced = (pitch > _VOICED_FROM_HZ).float().repeat_interleave(self.factor, dim=1)
        # The mix is linear: each part is summed over the overtones before it is scaled.
        weight, bias = self.mix.weight, self.mix.bias
        tone = (weight @ torch.sin(phase)).squeeze(1) * _AMPLITUDE
        breath = (weight @ noise).squeeze(1)
        level = voiced * _VOICED_NOISE + (1 - voiced) * (_AMPLITUDE / 3)
        sound = torch.tanh(tone * voiced + breath * level + bias)
        if valid is not None:
            sound = sound * valid.mask.repeat_interleave(self.factor, dim=1).squeeze(2)
        return sound
