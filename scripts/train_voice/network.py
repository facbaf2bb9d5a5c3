"""The acoustic model: phoneme ids to durations, pitch, voicing and two spectral envelopes.

``Voice`` has two halves that meet in ``prosody`` and ``speech``: an encoder that sees the whole
sentence, since a question is a question from its first word, and a decoder that sees every frame
and about a tenth of a second around it. All layers normalise per position and hide the padding,
so a sentence sounds the same alone and in a batch.
"""

import math
from typing import Final, NamedTuple

import torch
from source_filter import HOP, NOISE_BANDS, PULSE_BANDS, SourceFilter
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MELODY", "Frames", "Voice"]

SYMBOLS: Final = 256
_SPEAKERS: Final = 2
_ENCODER: Final = 144
_DECODER: Final = 176
_HEADS: Final = 4
MELODY: Final = 3
"""Pitch points of a phoneme, evenly spread over it."""
_PLACE: Final = 7  # features of a frame's place in its phoneme

# How far chance may go at a scale of 1. The teacher has none; these are what reads as alive.
_PITCH_DRIFT: Final = 0.022  # slow, in nepers: about a third of a semitone
_PITCH_JITTER: Final = 0.004
_LEVEL_DRIFT: Final = 0.08
_DURATION_SPREAD: Final = 0.10
_DRIFT_FRAMES: Final = 41  # the drift's period, roughly: a quarter of a second

_LOUDEST: Final = 3.0  # log magnitude; no speech comes near, no nonsense can overflow
_LONGEST: Final = 400.0  # frames of one phoneme, more than two seconds


class Frames(NamedTuple):
    """What the vocoder needs, frame by frame."""

    log_pitch: Tensor
    """[batch, frames] natural logarithm of Hz."""
    voicing: Tensor
    """[batch, frames] logit."""
    pulse: Tensor
    """[batch, frames, PULSE_BANDS]"""
    noise: Tensor
    """[batch, frames, NOISE_BANDS]"""


class _Gated(nn.Module):
    """Normalise, convolve, gate, add: on [batch, time, channels], padding kept at zero."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        padding = dilation * (kernel // 2)
        self.spread = nn.Conv1d(channels, 2 * channels, kernel, padding=padding, dilation=dilation)
        self.mix = nn.Linear(channels, channels)
        nn.init.normal_(self.mix.weight, std=0.3 / math.sqrt(channels))
        nn.init.zeros_(self.mix.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        hidden = self.spread((self.norm(x) * mask).transpose(1, 2))
        value, gate = hidden.chunk(2, 1)
        return x + self.mix((value * torch.sigmoid(gate)).transpose(1, 2)) * mask


class _Attention(nn.Module):
    """Self-attention in which half of the heads look ahead and half look back.

    Each head prefers what is near by a slope that it learns. That is all that it knows of position.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.project = nn.Linear(channels, 3 * channels)
        self.mix = nn.Linear(channels, channels)
        nn.init.normal_(self.mix.weight, std=0.3 / math.sqrt(channels))
        nn.init.zeros_(self.mix.bias)
        self.slope = nn.Parameter(torch.linspace(-4.0, -1.5, _HEADS // 2).repeat(2))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        length = x.shape[1]
        query, key, value = (
            part.unflatten(2, (_HEADS, -1)).transpose(1, 2)
            for part in self.project(self.norm(x)).chunk(3, 2)
        )
        place = torch.arange(length, device=x.device).float()
        distance = place[None, :] - place[:, None]
        ahead, back = torch.relu(distance), torch.relu(-distance)
        half = _HEADS // 2
        slope = torch.exp(self.slope)[:, None, None]
        bias = torch.cat(
            [
                -slope[:half] * ahead - 1e4 * (back > 0).float(),
                -slope[half:] * back - 1e4 * (ahead > 0).float(),
            ]
        )
        score = query @ key.transpose(2, 3) / math.sqrt(query.shape[3]) + bias
        score = score + (mask.transpose(1, 2).unsqueeze(1) - 1) * 1e4
        found = (torch.softmax(score, 3) @ value).transpose(1, 2).flatten(2)
        return x + self.mix(found) * mask


class Voice(nn.Module):
    """A voice with Piper's signature.

    Args:
        transform: See ``SourceFilter``.
    """

    def __init__(self, transform: str = "fft") -> None:
        super().__init__()
        self.symbols = nn.Embedding(SYMBOLS, _ENCODER)
        self.speakers = nn.Embedding(_SPEAKERS, _ENCODER)
        self.encoder = nn.ModuleList(
            [
                _Gated(_ENCODER, 5, 1),
                _Gated(_ENCODER, 3, 2),
                _Gated(_ENCODER, 3, 4),
                _Attention(_ENCODER),
                _Gated(_ENCODER, 3, 8),
                _Gated(_ENCODER, 3, 16),
                _Attention(_ENCODER),
                _Gated(_ENCODER, 3, 1),
            ]
        )
        self.duration = nn.Sequential(
            nn.LayerNorm(_ENCODER), nn.Linear(_ENCODER, 128), nn.GELU(), nn.Linear(128, 1)
        )
        # Heard in training alone: it makes the encoder know the melody of the whole sentence, where
        # the decoder is taught only a third of a second of it at a time.
        self.melody = nn.Linear(_ENCODER, MELODY)
        self.enter = nn.Linear(_ENCODER + _PLACE, _DECODER)
        self.decoder = nn.ModuleList([_Gated(_DECODER, 3, d) for d in (1, 2, 4, 2, 1)])
        self.leave = nn.Sequential(
            nn.LayerNorm(_DECODER), nn.Linear(_DECODER, 2 + PULSE_BANDS + NOISE_BANDS)
        )
        nn.init.normal_(self.symbols.weight, std=0.5)
        nn.init.normal_(self.speakers.weight, std=0.5)
        with torch.no_grad():  # start near silence at 130 Hz, not at a shout
            self.leave[1].weight.mul_(0.3)
            self.leave[1].bias.fill_(-5.0)
            self.leave[1].bias[:2] = torch.tensor([math.log(130.0), 0.0])
            self.melody.bias.fill_(math.log(130.0))
        self.vocoder = SourceFilter(transform)
        kernel = torch.hann_window(_DRIFT_FRAMES + 2, periodic=False)[1:-1]
        self.register_buffer("drift", (kernel / kernel.norm())[None, None], persistent=False)
        # Predicted durations come out a hair short or long for each speaker; export measures it.
        self.register_buffer("pace", torch.ones(_SPEAKERS))

    def prosody(self, ids: Tensor, mask: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """Read the sentence.

        Args:
            ids: [batch, ids] Piper's phoneme ids.
            mask: [batch, ids, 1] 1 where there is an id, 0 for padding.
            speaker: [batch] or [1].

        Returns:
            The encoding [batch, ids, channels], and log(1 + frames) of every id [batch, ids].
        """
        x = (self.symbols(ids) + self.speakers(speaker).unsqueeze(1)) * mask
        for layer in self.encoder:
            x = layer(x, mask)
        return x, self.duration(x).squeeze(2)

    def speech(self, encoded: Tensor, frames: Tensor, time: Tensor, mask: Tensor) -> Frames:
        """Say what was read, for given durations.

        Args:
            encoded: [batch, ids, channels] from ``prosody``.
            frames: [batch, ids] how many frames each id lasts.
            time: [batch, frames] or [1, frames] which frames to say, counted from 0.
            mask: [batch, frames, 1] 0 for frames that are none.
        """
        ends = torch.cumsum(frames, 1)
        where = (ends.unsqueeze(1) <= time.unsqueeze(2)).float().sum(2).long()
        where = where.clamp(max=ends.shape[1] - 1)
        lasts = torch.gather(frames.expand(where.shape[0], -1), 1, where)
        to_go = torch.gather(ends, 1, where) - time - 0.5
        gone = lasts - to_go
        place = torch.stack(
            [
                gone / lasts.clamp(min=1.0),
                to_go / lasts.clamp(min=1.0),
                torch.log(1 + lasts) / 3,
                torch.exp(-gone.clamp(min=0.0) / 2),
                torch.exp(-to_go.clamp(min=0.0) / 2),
                torch.exp(-gone.clamp(min=0.0) / 8),
                torch.exp(-to_go.clamp(min=0.0) / 8),
            ],
            2,
        )
        row = torch.arange(where.shape[0], device=where.device).unsqueeze(1) * encoded.shape[1]
        said = encoded.flatten(0, 1)[where + row]
        x = self.enter(torch.cat([said, place], 2)) * mask
        for layer in self.decoder:
            x = layer(x, mask)
        out = self.leave(x)
        return Frames(
            out[..., 0],
            out[..., 1],
            out[..., 2 : 2 + PULSE_BANDS],
            out[..., 2 + PULSE_BANDS :],
        )

    def forward(self, ids: Tensor, lengths: Tensor, scales: Tensor, speaker: Tensor) -> Tensor:
        """Speak, with the signature of an exported Piper voice.

        Args:
            ids: int64 [batch, ids].
            lengths: int64 [batch], ids that are no padding.
            scales: float32 [3]: noise (how far chance moves pitch, level and hiss), length (longer
                is slower) and noise_w (how far chance moves durations).
            speaker: int64 [1], or [batch].

        Returns:
            float32 [batch, 1, 1, time]. A row shorter than the longest ends in silence.
        """
        mask = (torch.arange(ids.shape[1], device=ids.device)[None] < lengths[:, None]).float()
        encoded, log_frames = self.prosody(ids, mask.unsqueeze(2), speaker)
        lasting = (torch.exp(log_frames.clamp(max=math.log(_LONGEST))) - 1).clamp(min=0.0)
        sway = torch.exp(torch.randn_like(lasting) * scales[2] * _DURATION_SPREAD)
        lasting = lasting * sway * scales[1] * self.pace[speaker].unsqueeze(1) * mask
        # Rounding the running sum, not each duration, keeps the sentence as long as it should be.
        # Ceil of a whole number changes nothing: it marks the [batch, 1, ids] that Piper reads.
        ends = torch.floor(torch.cumsum(lasting, 1) + 0.5)
        frames = torch.ceil((ends - F.pad(ends, (1, 0))[:, :-1]).unsqueeze(1)).squeeze(1)
        total = frames.sum(1)
        count = total.max().clamp(min=1.0).long()
        time = torch.arange(count, device=ids.device).float().unsqueeze(0)
        alive = (time < total.unsqueeze(1)).float()
        spoken = self.speech(encoded, frames, time, alive.unsqueeze(2))

        chance = scales[0]
        wander = torch.randn_like(torch.stack([spoken.log_pitch, spoken.log_pitch], 1)).flatten(
            0, 1
        )
        slow = F.conv1d(wander.unsqueeze(1), self.drift, padding=_DRIFT_FRAMES // 2)
        slow = slow.squeeze(1).unflatten(0, (-1, 2)) * chance
        jitter = torch.randn_like(spoken.log_pitch) * chance * _PITCH_JITTER
        pitch = torch.exp(spoken.log_pitch + slow[:, 0] * _PITCH_DRIFT + jitter).clamp(45.0, 500.0)
        level = (slow[:, 1] * _LEVEL_DRIFT).unsqueeze(2)
        gate = torch.sigmoid(2 * spoken.voicing) * alive

        blocks = torch.cat([alive, alive[:, -1:]], 1)
        silence = torch.zeros_like(blocks).unsqueeze(2).expand(-1, -1, HOP).flatten(1)
        fresh = chance.clamp(0.0, 1.0)
        hiss = self.vocoder.fixed_noise(silence) * torch.sqrt(1 - fresh * fresh)
        hiss = hiss + torch.randn_like(silence) * fresh
        # Frames behind the end of a short row reach half a hop into its last one: hush them.
        noise = (spoken.noise + level).clamp(max=_LOUDEST) - 50 * (1 - alive).unsqueeze(2)
        pulse = (spoken.pulse + level).clamp(max=_LOUDEST)
        audio = self.vocoder(pitch, gate, pulse, noise, hiss)
        audio = (audio.unflatten(1, (-1, HOP)) * alive.unsqueeze(2)).flatten(1)
        return audio.clamp(-1.0, 1.0).unsqueeze(1).unsqueeze(1)
