"""How large the parts of the model are, as its own configuration and weights say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BertShape:
    """PL-BERT."""

    vocabulary: int
    kinds: int
    positions: int
    """The longest text, in tokens."""
    embedding: int
    hidden: int
    intermediate: int
    layers: int
    heads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionShape:
    """The denoiser of styles."""

    style: int
    """Of a whole style: voice and manner together."""
    embedding: int
    layers: int
    heads: int
    head: int
    multiplier: int
    positions: int
    sigma_data: float

    @property
    def width(self) -> int:
        """Channels of a row."""
        return self.style + self.embedding

    @property
    def attention(self) -> int:
        """Channels inside an attention."""
        return self.heads * self.head


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderShape:
    """From phonemes and pitch to samples."""

    hidden: int
    """Channels of a phoneme."""
    style: int
    """Of half a style: the voice."""
    width: int
    residual: int
    """Channels in which every block is reminded of the phonemes."""
    channels: int
    """At the generator's entrance; halved with every rise."""
    rises: tuple[int, ...]
    rise_kernels: tuple[int, ...]
    kernels: tuple[int, ...]
    dilations: tuple[tuple[int, ...], ...]

    @property
    def factor(self) -> int:
        """Samples of one step of the pitch curve."""
        factor = 1
        for rise in self.rises:
            factor *= rise
        return factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The whole model."""

    symbols: int
    hidden: int
    half_style: int
    text_layers: int
    prosody_layers: int
    longest_phoneme: int
    """Frames."""
    mels: int
    style_channels: int
    """At the entrance of the encoders that hear a sample."""
    most_style_channels: int
    bert: BertShape
    diffusion: DiffusionShape
    decoder: DecoderShape
