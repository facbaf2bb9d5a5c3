"""What the voice should get right: sound, durations, pitch and voicing."""

from typing import Final

import torch
from lessons import CONTEXT, SEGMENT, Batch
from network import Voice
from source_filter import HOP
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Losses"]

_WINDOWS: Final = (256, 512, 1024, 2048)
_FLOOR: Final = 2e-4  # amplitude of white noise under which the loss hears silence


class Losses:
    """Measures a voice on a batch; the parts are weighted already and only need adding."""

    def __init__(self) -> None:
        self._windows = [torch.hann_window(size) for size in _WINDOWS]

    def __call__(self, voice: Voice, batch: Batch) -> dict[str, Tensor]:
        """Measure; each part is a scalar."""
        encoded, log_frames = voice.prosody(batch.ids, batch.mask, batch.speaker)
        mask = batch.mask.squeeze(2)
        duration = (log_frames - torch.log1p(batch.frames)).abs() * mask
        spoken = voice.speech(encoded, batch.frames, batch.time, batch.alive.unsqueeze(2))
        wrong = (spoken.log_pitch - torch.log(batch.pitch)).abs() * batch.voiced
        voicing = F.binary_cross_entropy_with_logits(spoken.voicing, batch.voiced, reduction="none")
        sung = (batch.melody > 0).float()
        melody = (voice.melody(encoded) - batch.melody).abs() * sung
        # The vocoder gets the teacher's pitch: only then do harmonics lie on harmonics.
        inner = slice(CONTEXT, CONTEXT + SEGMENT)
        gate = F.avg_pool1d(batch.voiced.unsqueeze(1), 3, 1, 1).squeeze(1)
        alive = batch.alive[:, inner]
        audio = voice.vocoder(
            batch.pitch[:, inner],
            (gate * batch.alive)[:, inner],
            spoken.pulse[:, inner],
            spoken.noise[:, inner],
            torch.randn(len(alive), (SEGMENT + 1) * HOP),
        )
        audio = (audio.unflatten(1, (-1, HOP)) * alive.unsqueeze(2)).flatten(1)
        return {
            "sound": self._spectral(audio, batch.audio),
            "duration": duration.sum() / mask.sum(),
            "pitch": 2.0 * wrong.sum() / (batch.voiced.sum() + 1),
            "melody": melody.sum() / (sung.sum() + 1),
            "voicing": 0.3 * (voicing * batch.alive).sum() / batch.alive.sum(),
        }

    def _spectral(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Compare log and plain magnitudes at four resolutions."""
        total = ours.new_zeros(())
        for window in self._windows:
            floor = float(window.square().sum()) * _FLOOR**2
            a, b = (self._power(signal, window) + floor for signal in (ours, theirs))
            total = total + 0.5 * (torch.log(a) - torch.log(b)).abs().mean()
            a, b = a.sqrt(), b.sqrt()
            total = total + 0.5 * (a - b).abs().sum() / b.sum()
        return total / len(self._windows)

    @staticmethod
    def _power(signal: Tensor, window: Tensor) -> Tensor:
        size = len(window)
        bins = torch.stft(signal, size, size // 4, window=window, center=False, return_complex=True)
        return bins.real.square() + bins.imag.square()
