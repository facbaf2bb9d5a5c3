"""What of a voice the vocoder is told: one vector, from a network that tells speakers apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voice_serving.engines.xtts_v2.network.spectrogram import power_spectrogram

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voice_serving.engines.xtts_v2.shape import XttsShape

RATE: Final = 16000
"""Hz that it listens at."""
_BLOCKS: Final = (3, 4, 6, 3)
_FILTERS: Final = (32, 64, 128, 256)
_MELS: Final = 64
_FFT: Final = 512
_HOP: Final = 160
_ATTENTION: Final = 128
_SQUEEZE: Final = 8


class _Squeeze(nn.Module):
    """Weighs channels by what all of them hear."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // _SQUEEZE
        self.fc = nn.Sequential(
            nn.Linear(channels, narrow), nn.ReLU(), nn.Linear(narrow, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.fc(x.mean(dim=(2, 3)))
        return x * weights[:, :, None, None]


class _Block(nn.Module):
    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.se = _Squeeze(channels)
        self.downsample = (
            nn.Identity()
            if before == channels and stride == 1
            else nn.Sequential(
                nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        # The norm follows the rectifier here, unlike elsewhere.
        inner = self.bn1(F.relu(self.conv1(x)))
        return F.relu(self.se(self.bn2(self.conv2(inner))) + self.downsample(x))


class SpeakerEncoder(nn.Module):
    """A ResNet over the mel spectrogram, with coqui-tts's names of its weights."""

    def __init__(self, weights: Mapping[str, Tensor], shape: XttsShape) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, _FILTERS[0], 3, padding=1)
        self.bn1 = nn.BatchNorm2d(_FILTERS[0])
        before = _FILTERS[0]
        for number, (blocks, channels) in enumerate(zip(_BLOCKS, _FILTERS, strict=True), start=1):
            stride = 1 if number == 1 else 2
            layer = nn.Sequential(
                *(
                    _Block(channels if index else before, channels, 1 if index else stride)
                    for index in range(blocks)
                )
            )
            self.add_module(f"layer{number}", layer)
            before = channels
        wide = before * _MELS // 8
        self.attention = nn.Sequential(
            nn.Conv1d(wide, _ATTENTION, 1),
            nn.ReLU(),
            nn.BatchNorm1d(_ATTENTION),
            nn.Conv1d(_ATTENTION, wide, 1),
            nn.Softmax(dim=2),
        )
        self.fc = nn.Linear(2 * wide, shape.speaker_width)
        own = "torch_spec."
        self.load_state_dict({n: w for n, w in weights.items() if not n.startswith(own)})
        self.requires_grad_(False)
        self.eval()
        # Emphasis, window and filters come with the checkpoint.
        self.register_buffer("emphasis", weights[f"{own}0.filter"], persistent=False)
        self.register_buffer("window", weights[f"{own}1.spectrogram.window"], persistent=False)
        self.register_buffer("filters", weights[f"{own}1.mel_scale.fb"].t(), persistent=False)
        self.emphasis: Tensor
        self.window: Tensor
        self.filters: Tensor

    def forward(self, samples: Tensor) -> Tensor:
        """A vector [speaker width] of length one, of samples [n] at `RATE`."""
        padded = F.pad(samples[None, None], (1, 0), mode="reflect")
        sharp = F.conv1d(padded, self.emphasis)[0, 0]
        mel = torch.log(self.filters @ power_spectrogram(sharp, self.window, _FFT, _HOP) + 1e-6)
        x = F.instance_norm(mel[None])[:, None]
        x = self.bn1(F.relu(self.conv1(x)))
        for number in range(1, len(_BLOCKS) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        x = x.flatten(1, 2)
        weights = self.attention(x)
        mean = (x * weights).sum(dim=2)
        spread = ((x.square() * weights).sum(dim=2) - mean.square()).clamp(min=1e-5).sqrt()
        vector: Tensor = self.fc(torch.cat([mean, spread], dim=1))
        return F.normalize(vector, dim=1)[0]
