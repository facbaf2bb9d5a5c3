"""What the receipt and the provider's health learn of one provider's turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from voice_gateway.domain.billing import billed_sentences, charge
from voice_gateway.domain.errors import ProviderError
from voice_gateway.domain.health import Failure, Heard
from voice_gateway.domain.receipt import Attempt

if TYPE_CHECKING:
    from voice_gateway.domain.receipt import Outcome
    from voice_gateway.domain.speech import SpeechChunk, SpeechRequest
    from voice_gateway.ports import SpeechProvider


class Turn:
    """One provider's turn: what was heard of it so far, counted in the whole text's sentences.

    Attributes:
        provider: Its registered name.
        first: The first sentence that it was asked for.
        next_unspoken: The sentence that whoever comes next begins with.
        in_sentence: Whether the last sentence heard is still missing its end.
        skipped: How many sentences gave nothing to hear, with nobody left to ask.
        trial: Whether it has the one place at a provider whose door is ajar.
        hedge: Whether it was started beside another one.
        started: `Clock.monotonic` time.
        first_audio: The same, of its first audible samples; None before them.
        paused: Seconds that the listener took, not the provider.
    """

    def __init__(
        self,
        provider: SpeechProvider,
        request: SpeechRequest,
        *,
        first: int,
        started: float,
        trial: bool,
        hedge: bool,
    ) -> None:
        self.provider = provider.name
        self._request = request
        self._sentences = request.sentences
        self._capabilities = provider.capabilities
        self._pinned = request.voices.get(provider.name)
        self.first = first
        self.next_unspoken = first
        self.in_sentence = False
        self.skipped = 0
        self.trial = trial
        self.hedge = hedge
        self.started = started
        self.first_audio: float | None = None
        self.paused = 0.0
        self._voice: str | None = None
        self._match: float | None = None
        self._came = first
        self._came_whole = True

    @property
    def mute(self) -> bool:
        """Whether nothing of the whole text has been heard, from this provider or one before."""
        return self.first == 0 and self._voice is None

    @property
    def over(self) -> bool:
        """Whether no sentence is left for anybody."""
        return self.next_unspoken == len(self._sentences)

    def came(self, sentence: int, *, whole: bool) -> None:
        """Audio of a sentence came, up to its end or not: it is billed, heard or not."""
        self._came = sentence + 1
        self._came_whole = whole

    def heard(self, chunk: SpeechChunk) -> None:
        """A piece went out to the listener; its sentence is numbered as the whole text's are."""
        self._voice, self._match = chunk.voice, chunk.match
        self.next_unspoken = chunk.sentence + 1
        self.in_sentence = not chunk.last

    def skip(self, sentence: int) -> None:
        """A sentence that nobody can say is passed over."""
        self.skipped += 1
        self.next_unspoken = sentence + 1

    def attempt(
        self, outcome: Outcome, now: float, why: ProviderError | str | None = None
    ) -> Attempt:
        """Writes it down for the receipt."""
        failure = why if isinstance(why, ProviderError) else None
        reason = failure.reason.value if failure else cast(str | None, why)
        begun = self._sentences[self.first : self.next_unspoken]
        billed = billed_sentences(
            self._sentences[self.first :],
            self._came - self.first,
            cut=not self._came_whole,
            outcome=outcome,
            reason=reason,
        )
        voice = self._voice or self._pinned
        characters, cost = charge(self._capabilities, self._request, voice, billed)
        return Attempt(
            provider=self.provider,
            outcome=outcome,
            hedge=self.hedge,
            reason=reason,
            detail=failure and failure.detail,
            voice=self._voice,
            match=self._match,
            sentences=len(begun),
            cut=self.in_sentence,
            skipped=self.skipped,
            characters=characters,
            cost_usd=cost,
            first_audio_ms=self._first_audio_ms(),
            elapsed_ms=self._elapsed_ms(now),
        )

    def failure(self, error: ProviderError) -> Failure | None:
        """What its error tells of the provider's health; None when the request was at fault."""
        if error.of_request or not error.retryable:
            return None
        return Failure(error.reason, error.retry_after_seconds)

    def success(self, now: float) -> Heard:
        """What its end tells."""
        return Heard(first_audio_ms=self._first_audio_ms(), total_ms=self._elapsed_ms(now))

    def beginning(self) -> Heard | None:
        """What it tells although it did not come to its end; None when nothing was heard."""
        first = self._first_audio_ms()
        return None if first is None else Heard(first_audio_ms=first)

    def _first_audio_ms(self) -> float | None:
        if self.first_audio is None:
            return None
        return round((self.first_audio - self.started) * 1000, 1)

    def _elapsed_ms(self, now: float) -> float:
        return round((now - self.started - self.paused) * 1000, 1)
