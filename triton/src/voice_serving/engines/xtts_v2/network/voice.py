"""A voice as the networks hear it, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from voice_serving.engines.xtts_v2.network.checkpoint import SPEAKER_ENCODER
from voice_serving.engines.xtts_v2.network.listening import Listener
from voice_serving.engines.xtts_v2.network.speaker import RATE, SpeakerEncoder
from voice_serving.engines.xtts_v2.network.spectrogram import resample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_serving.engines.xtts_v2.network.checkpoint import Checkpoint

LEAST_SECONDS = 0.33
"""Pieces of a sample that are shorter than this say nothing."""


@dataclass(slots=True, eq=False)
class Voice:
    """Who speaks."""

    latents: Tensor
    """For the GPT, [n, width]."""
    vector: Tensor
    """For the vocoder, [speaker width]."""
    prefix: Tensor | None = None
    """Keys and values of the latents, once somebody has spoken: 8 MB, and a third of the wait for
    a first token."""


class Cloner(nn.Module):
    """Makes a voice of samples, as coqui-tts does with the checkpoint's own settings."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self._shape = checkpoint.shape
        self.listener = Listener(checkpoint.weights, checkpoint.shape)
        self.speaker = SpeakerEncoder(checkpoint.under(SPEAKER_ENCODER), checkpoint.shape)

    @torch.inference_mode()
    def clone(self, samples: Sequence[tuple[Tensor, int]]) -> tuple[Tensor, Tensor] | None:
        """Listens to samples.

        Args:
            samples: Mono in [-1, 1], [n], each with its rate in Hz.

        Returns:
            Latents [32, width] and vector [speaker width], or None where there is too little.
        """
        shape = self._shape
        heard = [
            resample(audio.clamp(-1, 1), rate, shape.input_rate)[
                : shape.reference_seconds * shape.input_rate
            ]
            for audio, rate in samples
        ]
        chunk = shape.chunk_seconds * shape.input_rate
        told = torch.cat(heard)[: shape.conditioning_seconds * shape.input_rate]
        pieces = [
            piece
            for piece in torch.split(told, chunk)
            if len(piece) >= LEAST_SECONDS * shape.input_rate
        ]
        if not pieces:
            return None
        latents = torch.stack([self.listener(piece) for piece in pieces]).mean(dim=0)
        vectors = [self.speaker(resample(audio, shape.input_rate, RATE)) for audio in heard]
        return latents, torch.stack(vectors).mean(dim=0)
