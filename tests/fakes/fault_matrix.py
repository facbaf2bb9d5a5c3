"""Runs the matrix of faults through the whole service, and says what broke a promise."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Final, Protocol

import soundfile

from fakes.faults import Fault, Order, Where
from fakes.levels import FakeVoiceLevels
from fakes.personalities import FakePersonalities
from fakes.providers import ScriptedProvider
from fakes.receipts import FakeReceipts
from fakes.routing import routed
from fakes.speaking import speech_service
from voice_gateway.adapters.system_clock import SystemClock
from voice_gateway.domain.audio import AudioFormat
from voice_gateway.domain.chain import Quality
from voice_gateway.domain.errors import AllProvidersFailedError, ProviderError
from voice_gateway.domain.personality import Personality, VoiceConfig
from voice_gateway.domain.receipt import Outcome, Receipt
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.domain.text import pause_after
from voice_gateway.providers.registry import ProviderRegistry
from voice_gateway.services.speech_requests import SpeechCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from voice_gateway.ports import SpeechProvider

TENANT: Final = "demo"
SENTENCES: Final = tuple(f"This is number {n}." for n in ("one", "two", "three", "four", "five"))
PATIENCE: Final = 1.5
_RATE: Final = 24_000
_EXACT_SECONDS: Final = 0.08
_AUTH, _QUOTA, _DOWN, _LATE, _NO_SPEECH = "auth", "quota", "unavailable", "timeout", "bad_audio"
CLOUD_REASONS: Final[Mapping[Fault, frozenset[str]]] = {
    Fault.UNAUTHORIZED: frozenset({_AUTH}),
    Fault.FORBIDDEN: frozenset({_AUTH}),
    Fault.QUOTA: frozenset({_QUOTA}),
    Fault.ERROR: frozenset({_DOWN}),
    Fault.UNAVAILABLE: frozenset({_DOWN}),
    Fault.HANG_BEFORE: frozenset({_LATE}),
    Fault.HANG_WITHIN: frozenset({_LATE}),
    Fault.CUT: frozenset({_DOWN, _NO_SPEECH}),
    Fault.EMPTY: frozenset({_NO_SPEECH}),
    Fault.SILENCE: frozenset({_NO_SPEECH}),
    Fault.GARBAGE: frozenset({_NO_SPEECH}),
    # Declared where the protocol can: then it is no fault at all.
    Fault.WRONG_RATE: frozenset({_NO_SPEECH, ""}),
    Fault.DRIP: frozenset({""}),
}
"""What the receipt may give as the reason; an empty one is for whoever spoke on unharmed."""
TRITON_REASONS: Final[Mapping[Fault, frozenset[str]]] = {
    **CLOUD_REASONS,
    **dict.fromkeys(
        (Fault.UNAUTHORIZED, Fault.FORBIDDEN, Fault.QUOTA), frozenset({_DOWN})
    ),  # Triton knows neither keys nor quotas: whatever refuses stands before it
}


class Faulty(Protocol):
    """A provider whose server goes wrong to order."""

    @property
    def provider(self) -> SpeechProvider:
        """Speaks through that server."""
        ...

    @property
    def reasons(self) -> Mapping[Fault, frozenset[str]]:
        """What the receipt may give as the reason of each fault."""
        ...

    async def give(self, order: Order | None) -> None:
        """Forgets what was asked before; takes an order, or none."""
        ...

    async def asked(self) -> list[str]:
        """Which sentences the server was asked for since."""
        ...


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the matrix."""

    provider: str
    order: Order
    audio_format: AudioFormat
    """PCM is streamed, FLAC is sent when it is whole."""
    alone: bool
    """Whether nobody else may speak."""

    def __str__(self) -> str:
        mode = "streamed" if self.audio_format is AudioFormat.PCM else "buffered"
        company = "alone" if self.alone else "with a successor"
        return f"{self.provider} {self.order.fault} at {self.order.where}, {mode}, {company}"


@dataclass(slots=True)
class Verdict:
    """What became of a case."""

    case: Case
    told: str
    """For people: who spoke how much, and why."""
    broken: list[str] = field(default_factory=list)
    """The promises that did not hold."""


def cases(provider: str) -> Iterator[Case]:
    """All cells of one provider."""
    for fault, where, audio_format, alone in product(
        Fault, Where, (AudioFormat.PCM, AudioFormat.FLAC), (False, True)
    ):
        yield Case(provider, Order(fault, where), audio_format, alone)


@dataclass(slots=True)
class _Heard:
    seconds: float
    error: Exception | None
    receipt: Receipt
    successor: list[tuple[str, ...]]


class Matrix:
    """One provider's part of the matrix."""

    def __init__(self, faulty: Faulty) -> None:
        self._faulty = faulty
        self._name = faulty.provider.name
        self._successor = "piper" if self._name != "piper" else "google"
        self._levels = FakeVoiceLevels()
        self._own: dict[int, float] = {}
        """Seconds that the first so many sentences take, when all is well."""
        self._others: dict[int, float] = {}
        """Seconds that the last so many take from the successor."""

    async def run(self, tell: Callable[[Verdict], object] = lambda _: None) -> list[Verdict]:
        """Runs all cells, one after the other, and tells of each."""
        whole = len(SENTENCES)
        await self._faulty.give(None)
        # The first call of all imports an SDK, and may take its time.
        first = SpeechRequest(sentences=SENTENCES[:1], language="en", chain=(self._name,))
        async for _ in self._faulty.provider.synthesize(first):
            pass
        for count in range(1, whole + 1):
            well = await self._speak(AudioFormat.PCM, SENTENCES[:count], self._name, alone=True)
            assert well.receipt.complete, f"{self._name} is not well: {_told(well)}"
            self._own[count] = well.seconds
            other = await self._speak(
                AudioFormat.PCM, SENTENCES[-count:], self._successor, alone=True
            )
            self._others[count] = other.seconds
        verdicts = []
        for case in cases(self._name):
            verdicts.append(await self._judge(case))
            tell(verdicts[-1])
        return verdicts

    async def _judge(self, case: Case) -> Verdict:
        await self._faulty.give(case.order)
        heard = await self._speak(case.audio_format, SENTENCES, self._name, alone=case.alone)
        asked = await self._faulty.asked()
        first = next(a for a in heard.receipt.attempts if a.provider == self._name)
        verdict = Verdict(case, _told(heard))
        broken = verdict.broken

        def promise(kept: bool, words: str) -> None:
            if not kept:
                broken.append(words)

        own, reason = first.sentences, first.reason or ""
        harmless = reason == ""
        promise(reason in self._faulty.reasons[case.order.fault], f"the reason is {reason!r}")
        struck = case.order.sentence
        promise(harmless or own in (struck - 1, struck), f"{own} sentences before the fault")
        promise(not first.cut or own == struck, "a cut where nothing broke off")
        repeated = [text for text in set(asked) if asked.count(text) > 1]
        promise(not repeated, f"asked again for {repeated}")
        promise(asked == list(SENTENCES[: len(asked)]), f"asked out of order: {asked}")
        if harmless:
            promise(heard.error is None, f"failed: {heard.error}")
            promise(heard.receipt.complete, "not complete")
            promise(heard.successor == [], "a successor was asked in vain")
            self._length(heard, self._own[5], self._own[5], promise)
        elif case.alone:
            promise(isinstance(heard.error, AllProvidersFailedError), f"error: {heard.error!r}")
            promise(not heard.receipt.complete, "complete, and not whole")
        else:
            left = len(SENTENCES) - own
            promise(heard.error is None, f"failed: {heard.error}")
            promise(heard.successor == [SENTENCES[own:]], f"successor: {heard.successor}")
            promise(heard.receipt.complete is not first.cut, "complete, or not, in vain")
            promise(heard.receipt.substituted, "a substitute that the receipt hides")
            promise(first.outcome is Outcome.FAILED, f"the outcome is {first.outcome}")
            # Whoever follows somebody begins after the pause that the sentence asks for.
            rest = self._others[left] + (pause_after(SENTENCES[own - 1]) if own else 0.0)
            most = self._own.get(own, 0.0) + rest
            least = (self._own.get(own - 1, 0.0) if first.cut else self._own.get(own, 0.0)) + rest
            self._length(heard, least, most, promise)
        return verdict

    def _length(self, heard: _Heard, least: float, most: float, promise: Any) -> None:
        within = least - _EXACT_SECONDS <= heard.seconds <= most + _EXACT_SECONDS
        promise(within, f"{heard.seconds:.2f} s, not {least:.2f} to {most:.2f} s")

    async def _speak(
        self, audio_format: AudioFormat, sentences: tuple[str, ...], name: str, *, alone: bool
    ) -> _Heard:
        clock = SystemClock()
        successor = ScriptedProvider(self._successor, seconds=0.4)
        everybody = {self._name: self._faulty.provider, self._successor: successor}
        registry = ProviderRegistry({n: lambda p=p: p for n, p in everybody.items()})  # type: ignore[misc]
        receipts = FakeReceipts(clock)
        router = routed(registry, clock, patience_seconds=dict.fromkeys(Quality, PATIENCE))
        config = {"fallback_chain": [self._name, self._successor]}
        personality = Personality(
            id="marcel",
            tenant_id=TENANT,
            name="Marcel",
            voice_config=VoiceConfig.model_validate(config),
            created_at=clock.now(),
            updated_at=clock.now(),
        )
        service = speech_service(
            FakePersonalities(personality),
            registry,
            router,
            clock,
            receipts=receipts,
            levels=self._levels,
        )
        command = SpeechCommand(
            tenant_id=TENANT,
            request_id="case",
            personality_id="marcel",
            text=" ".join(sentences),
            provider=name if alone else None,
            audio_format=audio_format,
            sample_rate=_RATE,
        )
        data, error = bytearray(), None
        try:
            answer = await service.speak(command)
            async for piece in answer.audio:
                data += piece
        except (AllProvidersFailedError, ProviderError) as failed:
            error = failed
        await asyncio.gather(*service._saving)
        await asyncio.gather(*router._telling)
        receipt = receipts.get(TENANT, "case")
        return _Heard(_seconds(bytes(data), audio_format), error, receipt, successor.asked)


def _seconds(data: bytes, audio_format: AudioFormat) -> float:
    if not data:
        return 0.0
    if audio_format is AudioFormat.PCM:
        return len(data) / 2 / _RATE
    return float(soundfile.info(io.BytesIO(data)).duration)


def _told(heard: _Heard) -> str:
    parts = []
    for attempt in heard.receipt.attempts:
        words = f"{attempt.provider} {attempt.sentences}"
        words += f" ({attempt.reason})" if attempt.reason else ""
        parts.append(words + (" cut" if attempt.cut else ""))
    return ", ".join(parts) + (", then a clear error" if heard.error else "")
