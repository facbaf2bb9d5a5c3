"""What goes down to a provider, and what comes back up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voice_gateway.domain.chain import Quality
from voice_gateway.domain.language import primary
from voice_gateway.domain.personality import AdvancedSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from voice_gateway.domain.budget import BudgetState
    from voice_gateway.domain.receipt import Attempt
    from voice_gateway.domain.samples.sample import PreparedWindow, SampleRefusal
    from voice_gateway.domain.voice_match import SpeakerTraits


@dataclass(slots=True)
class Journal:
    """Where the router writes what it tried; the service reads it for the receipt."""

    attempts: list[Attempt] = field(default_factory=list)
    not_applied: set[str] = field(default_factory=set)
    afterwards: list[Awaitable[None]] = field(default_factory=list)
    """What goes on when all is heard, and must have ended before the answer does."""


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
    """Provider names in the order to ask."""
    asked: str | None = None
    """Whom the caller asked for, where that is not the first of the chain."""
    too_dear: frozenset[str] = frozenset()
    """Providers of the chain that the budget forbids to ask; what they said before may be used."""
    tenant_id: str = ""
    """Whose request it is: what fails for one tenant's reasons is held against nobody else's."""
    budget: BudgetState | None = None
    """How far the tenant's monthly budget is spent; None without a budget."""
    quality: Quality = Quality.HIGH
    voices: Mapping[str, str] = field(default_factory=dict)
    """Provider → voice name; a provider without an entry chooses the one most like `wanted`."""
    wanted: SpeakerTraits | None = None
    """How the personality sounds, as far as that is known."""
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
    personality_id: str = ""
    """Who speaks: what is kept of it is purged with it."""
    strict: bool = False
    """Fail rather than substitute."""
    fresh: bool = False
    """Neither taken from the cache nor kept in it."""
    deadline: float | None = None
    """`Clock.monotonic` time by which the last sample must be out; None for no bound."""
    journal: Journal = field(default_factory=Journal)


@dataclass(frozen=True, slots=True)
class WordTiming:
    """When a word is heard, in seconds from the start of its sentence's audio."""

    word: str
    start: float
    end: float


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
    speed: float | None = None
    """The speed it was spoken at, where the provider could not follow the request's."""
    pitch: float | None = None
    """The semitones it was spoken at, likewise."""
    match: float | None = None
    """How like the wanted voice this one is, 0 to 1; None where nothing was compared."""
    words: tuple[WordTiming, ...] = ()
    """Those of the sentence that became known with this chunk, where the provider tells them."""
    gain: float | None = None
    """Of a whole sentence that is mastered already: what at."""


def _none(request: SpeechRequest, voice: str | None) -> int:
    return 0


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
    """Of the voice that it chooses by itself."""
    price_of_voice: Callable[[str], float] | None = None
    """Where prices differ: a voice's name → USD per million characters."""
    billed_characters: Callable[[str], int] = len
    """How many characters of a sentence are paid for."""
    billed_markup: Callable[[SpeechRequest, str | None], int] = _none
    """How many are paid for beside each sentence of a request, in a voice or in the one that it
    chooses itself."""
    version: str = "1"
    """Of engine and model: audio of another one is not taken from the cache."""

    def price(self, voice: str | None) -> float:
        """Returns USD per million characters in this voice; None for the one it chooses itself."""
        if voice is None or self.price_of_voice is None:
            return self.usd_per_million_characters
        return self.price_of_voice(voice)

    def speaks(self, language: str) -> bool:
        """Tells whether the language of a BCP 47 tag is spoken, whatever its region."""
        return primary(language) in self.languages

    def lacks(self, request: SpeechRequest) -> set[str]:
        """Names the settings of a request that it has no way to apply."""
        missing = {
            "pitch": request.pitch != 0 and not self.pitch,
            "speed": request.speed != 1 and not self.speed,
            "advanced": request.advanced != AdvancedSettings() and not self.advanced,
            "sample_path": request.sample_path is not None and not self.cloning,
        }
        return {name for name, is_missing in missing.items() if is_missing}


def is_voice(spoken: str | None, asked: str | None) -> bool:
    """Tells whether the voice that spoke is the one asked for, as far as that was said.

    Names are `voice` or `voice/speaker`; a speaker may be asked for by number and is named by name.
    """
    if asked is None or spoken is None:
        return True
    voice, _, speaker = asked.lower().partition("/")
    spoken_voice, _, spoken_speaker = spoken.lower().partition("/")
    return voice == spoken_voice and (not speaker or speaker.isdigit() or speaker == spoken_speaker)
