"""What of a voice the GPT is told: 32 latents, from a sample's mel spectrogram."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voice_serving.engines.xtts_v2.network.spectrogram import mel_filters, power_spectrogram

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voice_serving.engines.xtts_v2.shape import XttsShape

BLOCKS: Final = 6
DEPTH: Final = 2
MELS: Final = 80
LATENTS: Final = 32
_HEAD_WIDTH: Final = 64
_HEADS: Final = 8
_FFT: Final = 2048
_WINDOW: Final = 1024
_HOP: Final = 256
_HIGHEST_HZ: Final = 8000.0
_QUIETEST: Final = 1e-5


class _AttentionBlock(nn.Module):
    """Attention of every frame to every other; the shortcut goes past the attention alone."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_groups(width), width)
        self.qkv = nn.Conv1d(width, 3 * width, 1)
        self.proj_out = nn.Conv1d(width, width, 1)
        self._heads = heads

    def forward(self, x: Tensor) -> Tensor:
        n, width, frames = x.shape
        x = self.norm(x)
        qkv = self.qkv(x).view(n, self._heads, 3, -1, frames)
        q, k, v = qkv.transpose(3, 4).unbind(2)
        attended = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = x + self.proj_out(attended.transpose(2, 3).reshape(n, width, frames))
        return out


class _Encoder(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.init = nn.Conv1d(MELS, width, 1)
        self.attn = nn.Sequential(*(_AttentionBlock(width, heads) for _ in range(BLOCKS)))

    def forward(self, mel: Tensor) -> Tensor:
        out: Tensor = self.attn(self.init(mel))
        return out


class _CrossAttention(nn.Module):
    """Latents look at the frames and at themselves."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = _HEADS * _HEAD_WIDTH
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, latents: Tensor, frames: Tensor) -> Tensor:
        def heads(x: Tensor) -> Tensor:
            return x.view(*x.shape[:2], _HEADS, _HEAD_WIDTH).transpose(1, 2)

        k, v = self.to_kv(torch.cat([latents, frames], dim=1)).chunk(2, dim=-1)
        attended = F.scaled_dot_product_attention(heads(self.to_q(latents)), heads(k), heads(v))
        out: Tensor = self.to_out(attended.transpose(1, 2).flatten(2))
        return out


class _Gate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        return value * F.gelu(gate)


class _Scale(nn.Module):
    """Every latent to one length, times a factor a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) * math.sqrt(x.shape[-1]) * self.gamma


class _Perceiver(nn.Module):
    """Any number of frames to 32 latents."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = int(width * 4 * 2 / 3)
        self.latents = nn.Parameter(torch.zeros(LATENTS, width))
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    _CrossAttention(width),
                    nn.Sequential(nn.Linear(width, 2 * inner), _Gate(), nn.Linear(inner, width)),
                ]
            )
            for _ in range(DEPTH)
        )
        self.norm = _Scale(width)

    def forward(self, frames: Tensor) -> Tensor:
        latents = self.latents.expand(len(frames), -1, -1)
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            attention, feed_forward = layer
            latents = attention(latents, frames) + latents
            latents = feed_forward(latents) + latents
        out: Tensor = self.norm(latents)
        return out


class Listener(nn.Module):
    """Conditioning encoder and perceiver, with coqui-tts's names of their weights."""

    def __init__(self, weights: Mapping[str, Tensor], shape: XttsShape) -> None:
        super().__init__()
        self.conditioning_encoder = _Encoder(shape.width, shape.heads)
        self.conditioning_perceiver = _Perceiver(shape.width)
        own = ("gpt.conditioning_encoder.", "gpt.conditioning_perceiver.")
        self.load_state_dict(
            {name.removeprefix("gpt."): w for name, w in weights.items() if name.startswith(own)}
        )
        self.requires_grad_(False)
        self.register_buffer("mel_stats", weights["mel_stats"].float(), persistent=False)
        filters = mel_filters(_FFT, shape.input_rate, MELS, _HIGHEST_HZ)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(_WINDOW), persistent=False)
        self.mel_stats: Tensor
        self.filters: Tensor
        self.window: Tensor

    def forward(self, samples: Tensor) -> Tensor:
        """Latents [32, width] of samples [n] at the GPT's own rate."""
        spectrum = power_spectrogram(samples, self.window, _FFT, _HOP)
        mel = torch.log((self.filters @ spectrum).clamp(min=_QUIETEST))
        frames = self.conditioning_encoder((mel / self.mel_stats[:, None])[None])
        latents: Tensor = self.conditioning_perceiver(frames.transpose(1, 2))[0]
        return latents


def _groups(width: int) -> int:
    groups = 8 if width <= 16 else 16 if width <= 64 else 32
    while width % groups:
        groups //= 2
    return groups
