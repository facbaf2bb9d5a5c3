"""What goes down to a provider, and what comes back up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voice_gateway.domain.chain import Quality
from voice_gateway.domain.language import primary
from voice_gateway.domain.personality import AdvancedSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from voice_gateway.domain.receipt import Attempt
    from voice_gateway.domain.samples.sample import PreparedWindow, SampleRefusal


@dataclass(slots=True)
class Journal:
    """Where the router writes what it tried; the service reads it for the receipt."""

    attempts: list[Attempt] = field(default_factory=list)
    not_applied: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechRequest:
    """Sentences to speak in order, and how.

    A request holds all sentences that are still to be spoken, not one, so that an engine can carry
    its style from one to the next and a stream costs one call.
    """

    sentences: tuple[str, ...]
    """Non-empty; each has something to pronounce."""
    language: str
    """BCP 47, lower case: `en`, `zh-cn`."""
    chain: tuple[str, ...]
    """Provider names in the order to ask; the first is the one the caller asked for."""
    quality: Quality = Quality.HIGH
    voices: Mapping[str, str] = field(default_factory=dict)
    """Provider → voice name; a provider without an entry chooses by language."""
    speed: float = 1.0
    pitch: float = 0.0
    """Semitones."""
    advanced: AdvancedSettings = field(default_factory=AdvancedSettings)
    sample_path: str | None = None
    """The voice sample to clone, where a provider can: only one whose speaker agreed to it."""
    sample_hash: str | None = None
    """SHA-256 of that sample: which version of the voice it is."""
    windows: Mapping[str, PreparedWindow] = field(default_factory=dict)
    """Provider → what it listens to of that sample."""
    sample_refused: SampleRefusal | None = None
    """Why the personality's sample is not here."""
    strict: bool = False
    """Fail rather than substitute."""
    deadline: float | None = None
    """`Clock.monotonic` time by which the last sample must be out; None for no bound."""
    journal: Journal = field(default_factory=Journal)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechChunk:
    """A piece of audio, never across a sentence's end."""

    samples: NDArray[np.float32]
    """Mono, in [-1, 1]; shape [n]. May be empty only when `last` is true."""
    sample_rate: int
    sentence: int
    """Index into the request's `sentences`."""
    last: bool
    """Whether this chunk ends its sentence."""
    provider: str
    voice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCapabilities:
    """What a provider can do, without asking it."""

    languages: frozenset[str]
    """Primary language subtags it speaks (`en`, `zh`); see `speaks`."""
    cloning: bool = False
    speed: bool = True
    pitch: bool = False
    advanced: bool = False
    """Whether `AdvancedSettings` mean anything to it."""
    usd_per_million_characters: float = 0.0

    def speaks(self, language: str) -> bool:
        """Tells whether the language of a BCP 47 tag is spoken, whatever its region."""
        return primary(language) in self.languages
