"""Providers that come and go, callers by the dozen, and ears that tell who heard what.

Every sentence is spoken as a tone of its own pitch, so that an answer's audio says which sentences
are in it: none may be missing, none twice, and none another caller's.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import soundfile

from fakes.levels import FakeVoiceLevels
from fakes.personalities import FakePersonalities
from fakes.providers import tone
from fakes.receipts import FakeReceipts
from fakes.speaking import speech_service
from voice_gateway.domain.audio import AudioFormat
from voice_gateway.domain.chain import FLOOR, Quality
from voice_gateway.domain.errors import AllProvidersFailedError, FailureReason, ProviderError
from voice_gateway.domain.personality import Personality, VoiceConfig
from voice_gateway.domain.speech import ProviderCapabilities, SpeechChunk
from voice_gateway.providers.registry import ProviderRegistry
from voice_gateway.services.speech_requests import SpeechCommand

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from numpy.typing import NDArray

    from voice_gateway.domain.receipt import Receipt
    from voice_gateway.domain.speech import SpeechRequest
    from voice_gateway.ports import Clock
    from voice_gateway.providers.fallback import FallbackProvider

TENANT: Final = "demo"
SENTENCES: Final = 4
_RATE: Final = 24_000
_SECONDS: Final = 0.12
"""Of each sentence's tone."""
_BINS: Final = 8192
_LOWEST_HERTZ, _STEP_HERTZ = 200.0, 25.0
_FAULTS: Final = ("refuse", "quota", "cut", "hang", "silence", "garbage", "slow")


def sentence(caller: int, number: int) -> str:
    """What a caller says."""
    return f"Caller {caller} says {number}."


def pitch(text: str) -> float:
    """The tone of a sentence, in Hz."""
    _, caller, _, number = text.rstrip(".").split()
    return _LOWEST_HERTZ + _STEP_HERTZ * (int(caller) * SENTENCES + int(number))


def hear(samples: NDArray[np.float32], rate: int) -> list[float]:
    """The tones in an answer, in order: what lies between its pauses."""
    frame = rate // 200
    frames = samples[: samples.size // frame * frame].reshape(-1, frame)
    loud = np.abs(frames).max(axis=1) > 0.01
    edges = np.flatnonzero(np.diff(np.concatenate(([0], loud.astype(np.int8), [0]))))
    tones = []
    for start, end in edges.reshape(-1, 2) * frame:
        spectrum = np.abs(np.fft.rfft(samples[start:end] * np.hanning(end - start), _BINS))
        tones.append(float(np.argmax(spectrum)) * rate / _BINS)
    return tones


@dataclass
class FlappingProvider:
    """Well for a while, then ill, each time in another way; always by the same clock."""

    name: str
    clock: Clock
    rate: int
    usd_per_million: float = 0.0
    turn: int = 0
    """Sets it apart from the others: not all are ill at once, or in the same way."""
    flaps: bool = True
    spoken: Counter[str] = field(default_factory=Counter)
    """How often it began each sentence."""
    _calls: int = 0

    @property
    def capabilities(self) -> ProviderCapabilities:
        """English, at a price."""
        return ProviderCapabilities(
            languages=frozenset({"en"}), usd_per_million_characters=self.usd_per_million
        )

    async def warm_up(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to close."""

    async def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        """Speaks, or does not, as the hour has it."""
        fault, where = self._weather()
        for index, text in enumerate(request.sentences):
            await asyncio.sleep(1.5 if fault == "slow" else 0.01)
            ill = index == min(where, len(request.sentences) - 1)
            if ill and fault in ("refuse", "quota"):
                reason = FailureReason.QUOTA if fault == "quota" else FailureReason.UNAVAILABLE
                raise ProviderError(self.name, reason, fault, retry_after_seconds=1.0)
            if ill and fault == "hang":
                await asyncio.Event().wait()
            self.spoken[text] += 1
            samples = tone(_SECONDS, rate=self.rate, hertz=pitch(text))
            if ill and fault == "silence":
                samples *= 0
            if ill and fault == "garbage":
                samples[-1] = np.nan
            for half, piece in enumerate(np.array_split(samples, 2)):
                if ill and fault == "cut" and half:
                    raise ProviderError(self.name, FailureReason.UNAVAILABLE, fault)
                yield SpeechChunk(
                    samples=piece,
                    sample_rate=self.rate,
                    sentence=index,
                    last=bool(half),
                    provider=self.name,
                    voice="tone",
                )

    def _weather(self) -> tuple[str | None, int]:
        # Each second second is a bad one, for two calls of three; one fault follows the other.
        hour = int(self.clock.monotonic())
        self._calls += 1
        ill = self.flaps and (hour + self.turn) % 2 and self._calls % 3
        fault = _FAULTS[(hour // 2 + self.turn) % len(_FAULTS)] if ill else None
        return fault, (hour // 2 + self.turn) % SENTENCES


@dataclass
class Report:
    """What a crowd went through."""

    answers: int = 0
    broken_off: int = 0
    """Answers whose last sentence broke off, and whose listeners were told so."""
    receipts: list[Receipt] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)


class Crowd:
    """Callers who ask all the time, at a house whose providers flap."""

    def __init__(self, clock: Clock, route: Callable[[ProviderRegistry], FallbackProvider]) -> None:
        self._clock = clock
        self.providers = (
            FlappingProvider("piper", clock, 22_050),
            FlappingProvider("google", clock, 24_000, usd_per_million=30.0, turn=3),
            FlappingProvider("azure", clock, 16_000, usd_per_million=16.0, turn=5),
            FlappingProvider(FLOOR, clock, 22_050, flaps=False),
        )
        registry = ProviderRegistry({p.name: lambda p=p: p for p in self.providers})  # type: ignore[misc]
        self.receipts = FakeReceipts(clock)
        self.router = route(registry)
        self.service = speech_service(
            FakePersonalities(
                Personality(
                    id="marcel",
                    tenant_id=TENANT,
                    name="Marcel",
                    voice_config=VoiceConfig.model_validate(
                        {"fallback_chain": ["piper", "google", "azure"], "quality": Quality.FAST}
                    ),
                    created_at=clock.now(),
                    updated_at=clock.now(),
                )
            ),
            registry,
            self.router,
            clock,
            receipts=self.receipts,
            levels=FakeVoiceLevels(**{f":{p.name}:tone": -16.0 for p in self.providers}),
        )

    async def run(self, callers: int, seconds: float) -> Report:
        """Lets them ask for so long, and listens to every answer.

        Raises:
            AssertionError: Somebody heard what they should not have, or did not what they should.
        """
        report = Report()
        ends = self._clock.monotonic() + seconds
        await asyncio.gather(*(self._call(number, ends, report) for number in range(callers)))
        await self.service.aclose()
        return report

    async def _call(self, caller: int, ends: float, report: Report) -> None:
        # Not all at once, and not in step with the weather.
        await asyncio.sleep(0.031 * caller)
        asked = 0
        while self._clock.monotonic() < ends:
            asked += 1
            request_id = f"{caller}-{asked}"
            audio, broken_off = await self._ask(caller, request_id)
            # The receipt of an answer that broke off is stored behind it.
            await asyncio.sleep(0.3)
            receipt = self.receipts.get(TENANT, request_id)
            report.answers += 1
            report.broken_off += broken_off
            report.receipts.append(receipt)
            report.outcomes.update(
                f"{a.outcome} {a.reason or ''}".strip() for a in receipt.attempts
            )
            heard = [round((hertz - _LOWEST_HERTZ) / _STEP_HERTZ) for hertz in hear(audio, _RATE)]
            first = caller * SENTENCES
            wanted = list(range(first, first + SENTENCES))
            assert heard == wanted, f"{request_id} heard {heard} instead of {wanted}: {receipt}"
            assert receipt.complete is not (broken_off or any(a.cut for a in receipt.attempts))
            assert sum(a.sentences for a in receipt.attempts) == SENTENCES

    async def _ask(self, caller: int, request_id: str) -> tuple[NDArray[np.float32], bool]:
        command = SpeechCommand(
            tenant_id=TENANT,
            request_id=request_id,
            personality_id="marcel",
            text=" ".join(sentence(caller, number) for number in range(SENTENCES)),
            audio_format=AudioFormat.PCM,
            sample_rate=_RATE,
        )
        answer = await self.service.speak(command)
        data, broken_off = bytearray(), False
        try:
            async for piece in answer.audio:
                data += piece
        except AllProvidersFailedError:
            broken_off = True
        samples, _ = soundfile.read(
            io.BytesIO(bytes(data)),
            format="RAW",
            subtype="PCM_16",
            channels=1,
            samplerate=_RATE,
            dtype="float32",
        )
        return samples, broken_off
