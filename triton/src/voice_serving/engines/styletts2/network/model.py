"""All parts together, in the two stages that the length of the speech divides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from voice_serving.engines.styletts2.network.albert import Albert
from voice_serving.engines.styletts2.network.decoder import Decoder
from voice_serving.engines.styletts2.network.diffusion import Denoiser, sample_style
from voice_serving.engines.styletts2.network.layers import StyledNorm
from voice_serving.engines.styletts2.network.prosody import (
    CurvePredictor,
    DurationPredictor,
    TextEncoder,
    frame_index,
    spread,
)
from voice_serving.engines.styletts2.network.source import HarmonicSource
from voice_serving.engines.styletts2.network.style import StyleEncoder, mel_spectrogram

if TYPE_CHECKING:
    from voice_serving.engines.styletts2.network.layers import Valid
    from voice_serving.engines.styletts2.network.shapes import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How each sentence of a batch is to be spoken; every tensor has the batch first."""

    reference: Tensor
    """The sample's style, `[B, style]`."""
    noise: Tensor
    """For the diffusion, `[steps, B, style]`."""
    guidance: Tensor | None
    """`[B, 1]`; None is 1 for all."""
    alpha: Tensor
    """How much of the voice comes from the text instead of the sample, `[B, 1]`."""
    beta: Tensor
    """The same of the manner."""
    previous: Tensor
    """The style of the sentence before, `[B, style]`."""
    carry: Tensor
    """How much of it is kept, `[B, 1]`; 0 for a first sentence."""
    speed: Tensor
    """`[B, 1]`; 2.0 takes half the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the text stage found out."""

    phonemes: Tensor
    """For the decoder, `[B, N, hidden]`."""
    prosody: Tensor
    """For the curves, `[B, N, hidden + half style]`."""
    frames: Tensor
    """How long each phoneme lasts; float32 `[B, N]`, whole, at least 1, 0 beyond each end."""
    style: Tensor
    """The voice, then the manner, both as mixed; `[B, style]`."""


class Network(nn.Module):
    """StyleTTS2."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.bert = Albert(shape.bert)
        self.bert_output = nn.Linear(shape.bert.hidden, shape.hidden)
        self.denoiser = Denoiser(shape.diffusion)
        self.text = TextEncoder(shape)
        self.durations = DurationPredictor(shape)
        self.curves = CurvePredictor(shape)
        self.decoder = Decoder(shape.decoder)
        self.voice_encoder = StyleEncoder(shape)
        self.manner_encoder = StyleEncoder(shape)

    def in_half(self) -> Network:
        """Brings to bfloat16 what bears it.

        Not the norms' scales, whose products would lose the voice's timbre; not the source, whose
        phase needs 24 bits; not what decides on durations and pitch, which is a hundredth of the
        work.
        """
        for part in (self.bert, self.denoiser, self.decoder):
            part.to(torch.bfloat16)
        for module in self.decoder.modules():
            if isinstance(module, StyledNorm | HarmonicSource):
                module.float()
        return self

    def hear(self, samples: Tensor) -> Tensor:
        """The style of one sample: mono at 24 kHz, float32 `[n]`, to `[style]`."""
        mel = mel_spectrogram(samples, self.shape.mels)[None]
        return torch.cat([self.voice_encoder(mel), self.manner_encoder(mel)], dim=-1)[0]

    def read(self, tokens: Tensor, manner: Manner, valid: Valid | None) -> Reading:
        """The text stage.

        Args:
            tokens: int64 `[B, N]`.
            manner: Of each sentence.
            valid: What is real among the N tokens.
        """
        features = self.bert(tokens, valid)
        style = sample_style(
            self.denoiser,
            manner.noise,
            features,
            manner.reference.to(features.dtype),
            manner.guidance,
            valid,
        )
        style = manner.carry * manner.previous + (1 - manner.carry) * style
        half = self.shape.half_style
        own = manner.reference
        voice = manner.alpha * style[:, :half] + (1 - manner.alpha) * own[:, :half]
        how = manner.beta * style[:, half:] + (1 - manner.beta) * own[:, half:]
        prosody, frames = self.durations(
            self.bert_output(features.to(self.bert_output.weight.dtype)), how, valid
        )
        frames = torch.round(frames / manner.speed).clamp(min=1)
        if valid is not None:
            frames = frames.masked_fill(~valid.mask[..., 0], 0)
        return Reading(
            phonemes=self.text(tokens, valid),
            prosody=prosody,
            frames=frames,
            style=torch.cat([voice, how], dim=-1),
        )

    def sound(self, reading: Reading, longest: int, noise: Tensor, valid: Valid | None) -> Tensor:
        """The sound stage.

        Args:
            reading: Of the same batch.
            longest: Frames to which all are padded.
            noise: For the source, `[B, harmonics, samples]`.
            valid: What is real among the frames.

        Returns:
            float32 `[B, samples]`, in [-1, 1].
        """
        voice, how = reading.style.split(self.shape.half_style, dim=-1)
        index = frame_index(reading.frames.long(), longest)
        pitch, energy, _ = self.curves(spread(reading.prosody, index), how, valid)
        phonemes = spread(reading.phonemes, index)
        samples: Tensor = self.decoder(phonemes, pitch, energy, voice, noise, valid)
        return samples
