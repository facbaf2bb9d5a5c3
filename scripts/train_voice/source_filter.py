"""The voice's vocoder: pulses and noise, each through its own filter, frame by frame.

Two sources run through the whole utterance in the time domain: a train of band-limited pulses whose
phase never jumps, and noise. Every frame cuts a Hann window out of both, shapes each with its own
minimum-phase filter and adds the result to its neighbours. Which bands are voiced is therefore not
a switch: it is the balance of the two filters at each frequency. Because both sources are
continuous and the windows add up to one, nothing clicks where a voiced sound ends.

Frame ``l`` is centred on sample ``(l + 1/2) * HOP``. Its window reaches over two blocks of ``HOP``
samples, where block ``l`` lies between the centres of frames ``l - 1`` and ``l``. The pitch goes in
a straight line across a block.
"""

import math
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["HOP", "NOISE_BANDS", "PULSE_BANDS", "SourceFilter"]

RATE: Final = 22050
HOP: Final = 128
PULSE_BANDS: Final = 80
NOISE_BANDS: Final = 48

_WINDOW: Final = 2 * HOP
_SIZE: Final = 5 * HOP
"""Transform length. A filter may ring for the 3 hops behind the window before it wraps around."""
_BINS: Final = _SIZE // 2 + 1
_NOISE_TABLE: Final = 1 << 16
"""Samples of fixed noise, 3 s: what the voice hisses with when its caller asks for no chance."""


class SourceFilter(nn.Module):
    """Turns pitch and two spectral envelopes into sound.

    Args:
        transform: "fft" to train with, "matmul" to export: as two matrix products the transform
            needs no operator that ONNX runtimes implement differently or slowly.
    """

    def __init__(self, transform: str = "fft") -> None:
        super().__init__()
        self._fft = transform == "fft"
        for name, bands in (("pulse", PULSE_BANDS), ("noise", NOISE_BANDS)):
            level, phase = _envelope_basis(bands)
            self.register_buffer(f"{name}_level", level, persistent=False)
            self.register_buffer(f"{name}_phase", phase, persistent=False)
        window = torch.hann_window(_WINDOW)
        self.register_buffer("window", window, persistent=False)
        # Kept in the checkpoint, unlike the rest: the exporter computes with what is a constant.
        turn = torch.arange(_SIZE) * (2 * math.pi / _SIZE)
        self.register_buffer("cosine", torch.cos(turn))
        self.register_buffer("sine", torch.sin(turn))
        self.register_buffer("sample", torch.arange(_SIZE))
        self.register_buffer("bin", torch.arange(_BINS))
        weight = torch.full((_BINS, 1), 2 / _SIZE)
        weight[[0, -1]] = 1 / _SIZE
        self.register_buffer("weight", weight)
        generator = torch.Generator().manual_seed(7)
        table = torch.randn(_NOISE_TABLE, generator=generator)
        self.register_buffer("noise_table", table, persistent=False)

    def forward(
        self, pitch: Tensor, gate: Tensor, pulse: Tensor, noise: Tensor, hiss: Tensor
    ) -> Tensor:
        """Make sound.

        Args:
            pitch: [batch, frames] in Hz.
            gate: [batch, frames] 0 for unvoiced to 1 for voiced.
            pulse: [batch, frames, PULSE_BANDS] log magnitude of each harmonic.
            noise: [batch, frames, NOISE_BANDS] log magnitude of the noise.
            hiss: [batch, (frames + 1) * HOP] white noise of variance 1.

        Returns:
            [batch, frames * HOP] samples.
        """
        pulse_real, pulse_imaginary = self._spectrum(self._pulses(pitch), pulse, "pulse", gate)
        noise_real, noise_imaginary = self._spectrum(hiss, noise, "noise", None)
        return self._overlap_add(pulse_real + noise_real, pulse_imaginary + noise_imaginary)

    def fixed_noise(self, like: Tensor) -> Tensor:
        """Give the same noise every time, [1, samples], for a tensor [batch, samples]."""
        index = torch.arange(like.shape[1], device=like.device) % _NOISE_TABLE
        return self.noise_table[index].unsqueeze(0)

    def _pulses(self, pitch: Tensor) -> Tensor:
        """Give a pulse train [batch, (frames + 1) * HOP]: all harmonics at amplitude 1.

        The phase at each block's start is summed in float64 and wrapped before it goes back to
        float32: a minute of speech is as clean as its first word.
        """
        begin = torch.cat([pitch[:, :1], pitch], 1)
        end = torch.cat([pitch, pitch[:, -1:]], 1)
        turns = ((begin + end) * (HOP / 2 / RATE)).double()
        before = torch.cumsum(turns, 1) - turns
        start = (before - torch.floor(before)).float()
        step = (torch.arange(HOP, device=pitch.device) + 0.5).float()
        glide = (end - begin).unsqueeze(2) * (step * step / (2 * HOP * RATE))
        phase = (start.unsqueeze(2) + begin.unsqueeze(2) * (step / RATE) + glide).flatten(1)
        phase = phase - torch.floor(phase)
        current = (begin.unsqueeze(2) + (end - begin).unsqueeze(2) * (step / HOP)).flatten(1)
        harmonics = torch.floor(RATE / 2 / current)
        # Dirichlet's kernel: 1 + 2 cos + 2 cos(2 .) + ... in closed form, here without its mean.
        below = torch.sin(math.pi * phase)
        near = below.abs() < 1e-3
        kernel = torch.sin((2 * harmonics + 1) * math.pi * phase) / torch.where(
            near, torch.ones_like(below), below
        )
        return (torch.where(near, 2 * harmonics + 1, kernel) - 1) / 2

    def _spectrum(
        self, source: Tensor, envelope: Tensor, name: str, gate: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Cut frames out of a source and filter them: real and imaginary [batch, frames, bins]."""
        blocks = source.unflatten(1, (-1, HOP))
        frames = torch.cat([blocks[:, :-1], blocks[:, 1:]], 2)
        if self._fft:
            spectrum = torch.fft.rfft(frames * self.window, _SIZE)
            real, imaginary = spectrum.real, spectrum.imag
        else:
            both = (frames * self.window) @ self._to_spectrum()
            real, imaginary = both[..., :_BINS], both[..., _BINS:]
        gain = torch.exp(envelope @ getattr(self, f"{name}_level"))
        if gate is not None:
            gain = gain * gate.unsqueeze(2)
        angle = envelope @ getattr(self, f"{name}_phase")
        cosine, sine = gain * torch.cos(angle), gain * torch.sin(angle)
        return real * cosine - imaginary * sine, real * sine + imaginary * cosine

    def _to_spectrum(self) -> Tensor:
        """Give the discrete Fourier transform as a matrix [window, 2 * bins].

        It is made of one turn of a wave inside the graph, where a runtime folds it into a constant
        when it loads: as a table in the file it would be a fifth of the voice.
        """
        turn = (self.sample[:_WINDOW].unsqueeze(1) * self.bin) % _SIZE
        return torch.cat([self.cosine[turn], -self.sine[turn]], 1)

    def _from_spectrum(self) -> Tensor:
        """Give the inverse transform [2 * bins, size]."""
        turn = (self.bin.unsqueeze(1) * self.sample) % _SIZE
        return torch.cat([self.weight * self.cosine[turn], -self.weight * self.sine[turn]], 0)

    def _overlap_add(self, real: Tensor, imaginary: Tensor) -> Tensor:
        if self._fft:
            pieces = torch.fft.irfft(torch.complex(real, imaginary), _SIZE)
        else:
            pieces = torch.cat([real, imaginary], 2) @ self._from_spectrum()
        rows = _SIZE // HOP
        pieces = pieces.unflatten(2, (rows, HOP))
        total = sum(F.pad(pieces[:, :, row], (0, 0, row, rows - 1 - row)) for row in range(rows))
        frames = real.shape[1]
        # Block 0 begins half a hop before the first sample.
        return total.flatten(1)[:, HOP // 2 : HOP // 2 + frames * HOP]


def _envelope_basis(bands: int) -> tuple[Tensor, Tensor]:
    """Give the log magnitude and the minimum phase that each band adds, both [bands, bins].

    A band is a triangle between its neighbours, evenly spaced in mel. Because the phase of a
    minimum-phase filter is linear in its log magnitude (the Hilbert transform), each triangle has
    its own fixed phase and a filter's phase costs one product with a matrix.
    """
    fine = 16 * _SIZE
    frequency = np.linspace(0, RATE / 2, fine // 2 + 1)
    corners = _from_mel(np.linspace(0, _to_mel(np.array(RATE / 2)), bands))
    level = np.stack([np.interp(frequency, corners, row) for row in np.eye(bands)])
    cepstrum = np.fft.irfft(level, axis=1)
    cepstrum[:, 1 : fine // 2] *= 2
    cepstrum[:, fine // 2 + 1 :] = 0
    phase = np.fft.rfft(cepstrum, axis=1).imag
    pick = slice(None, None, 16)
    return torch.tensor(level[:, pick].copy()).float(), torch.tensor(phase[:, pick].copy()).float()


def _to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 2595 * np.log10(1 + hertz / 700)


def _from_mel(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return 700 * (10 ** (mel / 2595) - 1)
