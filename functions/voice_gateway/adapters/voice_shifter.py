"""Speed and pitch, for providers that lack them: Signalsmith Stretch, formants kept in place.

The library stretches time and moves pitch, one without the other. With the pitch it moves the
resonances of the mouth, which makes a smaller or larger speaker of it. So the spectral envelope of
the voice before is put over the voice after, frame by frame: cepstral smoothing that follows the
peaks (a "true envelope").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEED: Final = 1
"""The library adds a little chance to stretched noise: always the same one."""
_FRAME_SECONDS: Final = 0.046
_HOPS_A_FRAME: Final = 4
_ENVELOPE_SECONDS: Final = 0.0018
"""How fine the envelope is: shorter than any voice's period, so that it sees no single harmonic."""
_ENVELOPE_ROUNDS: Final = 4
_GAIN_LIMIT: Final = 4.0
"""Nepers: the envelope never moves anything by more than 35 dB."""


class StretchShifter:
    """A `VoiceShifter`; the library is loaded when something is first shifted."""

    def shift(
        self, samples: NDArray[np.float32], sample_rate: int, *, speed: float, pitch: float
    ) -> NDArray[np.float32]:
        """Changes speed and pitch; see the port."""
        if samples.size == 0:
            return samples
        if pitch != 0:
            moved = _stretch(samples, sample_rate, speed=1, pitch=pitch)
            samples = _with_envelope_of(samples, moved, sample_rate)
        if speed != 1:
            samples = _stretch(samples, sample_rate, speed=speed, pitch=0)
        return samples


def _stretch(
    samples: NDArray[np.float32], sample_rate: int, *, speed: float, pitch: float
) -> NDArray[np.float32]:
    from python_stretch import Signalsmith

    stretch = Signalsmith.Stretch(_SEED)
    stretch.preset(1, sample_rate)
    stretch.timeFactor = speed
    if pitch != 0:
        stretch.setTransposeSemitones(pitch)
    changed = np.asarray(stretch.process(np.ascontiguousarray(samples[np.newaxis])), np.float32)
    return np.ravel(changed)


def _with_envelope_of(
    model: NDArray[np.float32], samples: NDArray[np.float32], sample_rate: int
) -> NDArray[np.float32]:
    """Gives `samples` the spectral envelope of `model`, which is as long, at each moment."""
    frame = 1 << round(np.log2(_FRAME_SECONDS * sample_rate))
    hop = frame // _HOPS_A_FRAME
    quefrencies = round(_ENVELOPE_SECONDS * sample_rate)
    window = np.sqrt(np.hanning(frame + 1)[:-1]).astype(np.float32)

    def frames(audio: NDArray[np.float32]) -> NDArray[np.complex64]:
        padded = np.zeros(-(-audio.size // hop) * hop + 2 * frame, dtype=np.float32)
        padded[frame : frame + audio.size] = audio
        spectra: NDArray[np.complex64] = np.fft.rfft(
            sliding_window_view(padded, frame)[::hop] * window
        ).astype(np.complex64)
        return spectra

    before, after = frames(model), frames(samples)
    difference = _envelope(before, quefrencies) - _envelope(after, quefrencies)
    gain = np.exp(np.clip(difference, -_GAIN_LIMIT, _GAIN_LIMIT))
    shaped = np.fft.irfft(after * gain, frame) * window
    out = np.zeros((shaped.shape[0] + _HOPS_A_FRAME - 1) * hop)
    for part in range(_HOPS_A_FRAME):
        # Every fourth frame lies side by side: four additions instead of one a frame.
        piece = shaped[part::_HOPS_A_FRAME].reshape(-1)
        out[part * hop : part * hop + piece.size] += piece
    overlap = float(np.sum(window**2)) / hop
    return np.asarray(out[frame : frame + samples.size] / overlap, dtype=np.float32)


def _envelope(spectra: NDArray[np.complex64], quefrencies: int) -> NDArray[np.floating]:
    """Returns the smooth log magnitude of each frame, in nepers, that lies over its harmonics."""
    level = np.log(np.abs(spectra) + 1e-5)
    target = level
    for _ in range(_ENVELOPE_ROUNDS + 1):
        cepstra = np.fft.irfft(target, axis=1)
        cepstra[:, quefrencies : cepstra.shape[1] - quefrencies + 1] = 0
        smooth = np.fft.rfft(cepstra, axis=1).real
        target = np.maximum(level, smooth)
    return smooth
