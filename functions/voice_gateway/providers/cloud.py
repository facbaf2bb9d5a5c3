"""What the vendors in the cloud have in common: accounts, voices, samples, patience."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.voice_match import most_like
from voice_gateway.domain.voices import named

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from voice_gateway.domain.speech import SpeechRequest, WordTiming
    from voice_gateway.domain.voices import Voice

Answer = TypeVar("Answer")

STALL_SECONDS: Final = 20.0
"""How long a vendor may say nothing. The router is less patient; this is for whoever is not."""
VOICES_TTL_SECONDS: Final = 6 * 3600.0
"""Vendors add voices every few weeks, and announce a year ahead which ones go."""
_SECONDS_A_LETTER: Final = 0.035
"""Half of what a quick speaker takes; a third is what 8 kHz taken for 24 leave."""
_LETTERS_TO_JUDGE_BY: Final = 12
_TRUNCATED: Final = 0.6
"""Audio that lasts less than this part of what its own word timings say is not all of it."""
# What XML 1.0 has no way to write; a lone surrogate is no character either.
_UNWRITABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def field(provider: str, account: Mapping[str, object], name: str, default: str = "") -> str:
    """Reads a field of a vendor's account.

    Args:
        provider: Whose account.
        account: Its fields.
        name: Of the field.
        default: Where it may be missing; an empty one may not.

    Raises:
        ProviderError: `auth`; it is missing, or no string.
    """
    value = account.get(name, default)
    if not isinstance(value, str) or not (value or default):
        detail = f"its credentials have no `{name}`"
        raise ProviderError(provider, FailureReason.AUTH, detail)
    return value


class Threads:
    """Where a vendor's SDK may block: a few threads of its own.

    The event loop's common ones are also the floor's: a vendor that hangs must not take them.
    """

    def __init__(self, provider: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix=provider)

    async def run(self, work: Callable[..., Answer], *arguments: object) -> Answer:
        """Waits for work that blocks; when nobody waits any more, it ends by itself."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def leave(self, work: Callable[[], object]) -> None:
        """Has work done that nobody waits for."""
        self._pool.submit(work)


class VoiceList:
    """A vendor's voices, asked for once in a while."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[tuple[Voice, ...]]],
        *,
        ttl_seconds: float = VOICES_TTL_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Asks nobody yet.

        Args:
            fetch: Asks the vendor.
            ttl_seconds: How long an answer is good for.
            now: Seconds that never go back.
        """
        self._fetch = fetch
        self._ttl_seconds = ttl_seconds
        self._now = now
        self._voices: tuple[Voice, ...] = ()
        self._fetched: float | None = None
        self._one_at_a_time = asyncio.Lock()

    async def get(self) -> tuple[Voice, ...]:
        """Returns them; an old list rather than none when the vendor does not answer.

        Raises:
            ProviderError: They were never fetched, and cannot be now.
        """
        if not self._fresh():
            async with self._one_at_a_time:
                if not self._fresh():
                    await self._refresh()
        return self._voices

    def _fresh(self) -> bool:
        return self._fetched is not None and self._now() - self._fetched < self._ttl_seconds

    async def _refresh(self) -> None:
        try:
            self._voices = await self._fetch()
        except ProviderError:
            if not self._voices:
                raise
        self._fetched = self._now()


def voice_for(
    provider: str, voices: Sequence[Voice], request: SpeechRequest, classes: Sequence[str]
) -> Voice:
    """The voice that speaks a request: the pinned one, or the one most like the wanted.

    A pinned voice that the vendor does not have is noted in the journal and replaced; when nothing
    may be replaced, the request is at fault.

    Args:
        provider: Whose voices.
        voices: All of them.
        request: What is to be spoken.
        classes: The best first.

    Raises:
        ProviderError: `rejected` for a strict request's missing voice, `unavailable` when no voice
            speaks the language.
    """
    if (pinned := request.voices.get(provider)) is not None:
        if (voice := named(voices, pinned)) is not None:
            return voice
        if request.strict:
            detail = "it does not have the voice that is pinned for it"
            raise ProviderError(provider, FailureReason.REJECTED, detail)
        request.journal.not_applied.add("voice")
    wanted = {"speed": request.speed != 1, "pitch": request.pitch != 0}
    voice = most_like(
        request.wanted,
        voices,
        request.language,
        classes=classes,
        controls=frozenset(name for name, asked in wanted.items() if asked),
    )
    if voice is None:
        detail = "none of its voices speaks the language"
        raise ProviderError(provider, FailureReason.UNAVAILABLE, detail, of_request=True)
    return voice


def applied(request: SpeechRequest, voice: Voice, name: str, low: float, high: float) -> float:
    """The value of `speed` or `pitch` that a vendor is told: within its bounds, or none.

    Args:
        request: What was asked.
        voice: Who speaks; one that cannot follow the setting is told nothing.
        name: `speed` or `pitch`.
        low: The vendor's least.
        high: The vendor's most.
    """
    asked: float = getattr(request, name)
    if name not in voice.controls:
        return 1.0 if name == "speed" else 0.0
    return min(max(asked, low), high)


def unless(asked: float, applied: float) -> float | None:
    """What a chunk says of a setting: nothing where it was followed."""
    return None if applied == asked else applied


def in_markup(text: str) -> str:
    """A text as it may stand between tags: read out to the last character, never obeyed.

    Quotation marks stay, for they mean nothing there, and each character more may be billed.
    """
    return escape(_UNWRITABLE.sub(" ", text))


def in_quotes(text: str) -> str:
    """A text as it may stand between an attribute's quotation marks."""
    return quoteattr(_UNWRITABLE.sub(" ", text), {'"': "&quot;"})[1:-1]


class Pcm16:
    """16-bit little-endian samples, cut anywhere."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._rest = b""
        self.samples = 0
        """How many there were so far."""

    def push(self, data: bytes) -> NDArray[np.float32]:
        """Returns those that are whole, in [-1, 1]; shape [n]."""
        data = self._rest + data
        whole = len(data) & ~1
        self._rest = data[whole:]
        samples = np.frombuffer(data[:whole], "<i2").astype(np.float32) * np.float32(1 / 32768)
        self.samples += samples.size
        return samples

    def finish(self) -> None:
        """Ends a sentence.

        Raises:
            ProviderError: `bad_audio`; half a sample is left over.
        """
        if self._rest:
            raise ProviderError(
                self._provider, FailureReason.BAD_AUDIO, "its audio ends in half a sample"
            )


def check_length(provider: str, seconds: float, words: Sequence[WordTiming]) -> None:
    """Compares a sentence's audio with what the vendor itself says of its words.

    Raises:
        ProviderError: `bad_audio`; it is far too short: cut off, or made at another rate.
    """
    if seconds and words and seconds < _TRUNCATED * max(word.end for word in words):
        detail = "its audio is shorter than the words in it"
        raise ProviderError(provider, FailureReason.BAD_AUDIO, detail)


def check_pace(provider: str, seconds: float, sentence: str, speed: float) -> None:
    """Compares a sentence's audio with its letters, where the vendor tells no more.

    Raises:
        ProviderError: `bad_audio`; nobody speaks so fast: it was cut off, or made at another rate.
    """
    letters = sum(character.isalnum() for character in sentence)
    if letters >= _LETTERS_TO_JUDGE_BY and 0 < seconds * speed < _SECONDS_A_LETTER * letters:
        detail = "its audio is too short for its text"
        raise ProviderError(provider, FailureReason.BAD_AUDIO, detail)


async def within(provider: str, seconds: float, answer: Awaitable[Answer]) -> Answer:
    """Waits for a vendor's next word.

    Args:
        provider: Whose.
        seconds: How long it may say nothing.
        answer: What it is to say.

    Raises:
        ProviderError: `timeout`.
    """
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        detail = f"it said nothing for {seconds:.0f} s"
        raise ProviderError(provider, FailureReason.TIMEOUT, detail) from None
