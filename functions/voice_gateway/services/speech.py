"""One text, spoken in a personality's voice: from the request to bytes, and the receipt."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from voice_gateway.domain.audio import AudioFormat, SentenceTrimmer, rates_of, silence
from voice_gateway.domain.chain import FLOOR, chain_for
from voice_gateway.domain.errors import (
    AllProvidersFailedError,
    FailureReason,
    InvalidRequestError,
    NotFoundError,
    StorageUnavailableError,
)
from voice_gateway.domain.language import primary
from voice_gateway.domain.receipt import Asked, Outcome, Receipt, Served
from voice_gateway.domain.samples.sample import SampleRefusal
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.domain.text import pause_after, split_sentences
from voice_gateway.domain.tiers import Purpose
from voice_gateway.services.quota import Reserved

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
    from typing import Any

    from numpy.typing import NDArray

    from voice_gateway.domain.chain import Quality
    from voice_gateway.domain.personality import AdvancedSettings, Personality, VoiceConfig
    from voice_gateway.domain.samples.sample import VoiceSample
    from voice_gateway.domain.speech import SpeechChunk
    from voice_gateway.ports import (
        AudioEncoderFactory,
        Clock,
        PersonalityRepository,
        ReceiptStore,
        SpeechObserver,
        SpeechProvider,
    )
    from voice_gateway.services.chosen_samples import ChosenSamples
    from voice_gateway.services.quota import CharacterQuota


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechCommand:
    """What a caller wants spoken; None leaves the choice to the personality."""

    tenant_id: str
    request_id: str
    personality_id: str
    text: str
    language: str | None = None
    quality: Quality | None = None
    provider: str | None = None
    """Forces one provider."""
    speed: float | None = None
    pitch: float | None = None
    advanced: AdvancedSettings | None = None
    strict: bool = False
    audio_format: AudioFormat = AudioFormat.WAV
    sample_rate: int = 24_000
    purpose: Purpose = Purpose.LIVE
    seconds_left: float | None = None
    """How long the caller's runtime will still wait; None for no bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechAnswer:
    """Audio whose first bytes are ready; who began to speak is known."""

    provider: str
    voice: str
    audio: AsyncGenerator[bytes]
    """The bytes, in order. The receipt is stored before this ends; closing it ends the work."""


class _Progress:
    """What the receipt needs to know of the stream."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.first_chunk: SpeechChunk | None = None
        self.first_audio: float | None = None
        self.audio_seconds = 0.0
        self.accounted = False
        """Whether the receipt is on its way, and the characters with it."""
        self.paused = 0.0
        """Seconds that the listener took, not we."""


class SpeechService:
    """Speaks texts."""

    def __init__(
        self,
        *,
        personalities: PersonalityRepository,
        samples: ChosenSamples,
        receipts: ReceiptStore,
        quota: CharacterQuota,
        router: SpeechProvider,
        encoders: AudioEncoderFactory,
        observer: SpeechObserver,
        clock: Clock,
    ) -> None:
        self._personalities = personalities
        self._samples = samples
        self._receipts = receipts
        self._quota = quota
        self._router = router
        self._encoders = encoders
        self._observer = observer
        self._clock = clock
        self._saving: set[asyncio.Task[None]] = set()

    async def warm_up(self) -> None:
        """Does beforehand what would make the first request slow."""
        await self._router.warm_up()

    async def aclose(self) -> None:
        """Ends what is still being stored, and closes the providers."""
        await asyncio.gather(*self._saving)
        await self._router.aclose()

    async def receipt(self, tenant_id: str, request_id: str) -> Receipt:
        """Returns the receipt of an answer that has ended.

        Raises:
            NotFoundError: The tenant has none with this id.
            StorageUnavailableError: The table did not answer.
        """
        return await asyncio.to_thread(self._receipts.get, tenant_id, request_id)

    async def speak(self, command: SpeechCommand) -> SpeechAnswer:
        """Starts speaking and returns once there is something to hear.

        Raises:
            InvalidRequestError: Nothing to pronounce, a language that nobody asked speaks, a forced
                provider that is not deployed, a sample rate that the format cannot carry.
            NotFoundError: The tenant has no such personality.
            AllProvidersFailedError: Nobody could speak.
            ProviderError: A provider refused the request itself (`rejected`).
            QuotaExceededError: The tenant has used up its characters of this month.
            StorageUnavailableError: The table did not answer.
        """
        progress = _Progress(self._clock.monotonic())
        if (rates := rates_of(command.audio_format)) and command.sample_rate not in rates:
            listed = ", ".join(map(str, rates))
            raise InvalidRequestError(
                f"{command.audio_format} takes one of {listed}.", field="sample_rate"
            )
        # While the personality is read: the text as it came, and hardly ever is more of it spoken.
        reserved = Reserved(
            self._quota, command.tenant_id, command.purpose.allowance, len(command.text)
        )
        try:
            return await self._begin(command, progress, reserved)
        except BaseException as error:
            if not progress.accounted:
                giving_back = self._soon(self._settle(command, reserved, 0))
                if isinstance(error, Exception):
                    # Before the refusal is out: a runtime that has answered may stand still.
                    await asyncio.shield(giving_back)
            raise

    async def _begin(
        self, command: SpeechCommand, progress: _Progress, reserved: Reserved
    ) -> SpeechAnswer:
        personality, sample = await asyncio.to_thread(self._personality, command)
        request = self._request(command, personality, sample)
        await reserved.granted()
        stream = self._stream(command, request, progress, reserved)
        try:
            first_bytes = await anext(stream)
        except AllProvidersFailedError as error:
            refused = _blame(error, command, request)
            if refused is error:
                self._observer.failed(command.tenant_id, command.request_id, error.attempts)
            raise refused from None
        first = progress.first_chunk
        assert first is not None  # bytes come from a chunk
        return SpeechAnswer(
            provider=first.provider, voice=first.voice, audio=_resume(first_bytes, stream)
        )

    def _personality(self, command: SpeechCommand) -> tuple[Personality, VoiceSample | None]:
        try:
            found = self._personalities.get(command.tenant_id, command.personality_id)
        except NotFoundError as error:
            raise NotFoundError(error.message, field="personality") from None
        return found, self._samples.chosen(found)

    def _request(
        self, command: SpeechCommand, personality: Personality, sample: VoiceSample | None
    ) -> SpeechRequest:
        config = personality.voice_config
        refused = _refusal(config, sample)
        cloned = sample if refused is None else None
        if refused is not None and command.strict:
            raise InvalidRequestError(
                f"The personality's own voice may not be cloned ({refused}), and no substitute is "
                "allowed.",
                field="strict",
            )
        language = (command.language or config.language).lower()
        quality = command.quality or config.quality
        sentences = split_sentences(command.text, language)
        if not sentences:
            raise InvalidRequestError("There is nothing to pronounce in it.", field="text")
        deadline = None
        if command.seconds_left is not None:
            deadline = self._clock.monotonic() + command.seconds_left
        return SpeechRequest(
            sentences=sentences,
            language=language,
            chain=chain_for(
                quality,
                preferred=config.provider,
                # A request that names a quality means that quality's chain.
                own_chain=config.fallback_chain if command.quality is None else None,
                forced=command.provider,
                strict=command.strict,
            ),
            quality=quality,
            # A pinned voice speaks the personality's own language; another one needs another voice.
            voices=config.voices if primary(language) == primary(config.language) else {},
            speed=config.speed if command.speed is None else command.speed,
            pitch=config.pitch if command.pitch is None else command.pitch,
            advanced=command.advanced or config.advanced,
            sample_path=None if cloned is None else cloned.path,
            sample_hash=None
            if cloned is None or cloned.report is None
            else cloned.report.content_hash,
            windows={} if cloned is None else {w.provider: w for w in cloned.windows},
            sample_refused=refused,
            strict=command.strict,
            deadline=deadline,
        )

    async def _stream(
        self,
        command: SpeechCommand,
        request: SpeechRequest,
        progress: _Progress,
        reserved: Reserved,
    ) -> AsyncGenerator[bytes]:
        """Yields the answer's bytes, none of them empty."""
        encoder = self._encoders(command.audio_format, command.sample_rate)
        last: _Audio | None = None
        try:
            async with aclosing(self._router.synthesize(request)) as chunks:
                async for audio in _joined(chunks, request.sentences, progress):
                    progress.audio_seconds += audio.samples.size / audio.sample_rate
                    if audio.ends:
                        last = audio
                        continue
                    if ready := encoder.encode(audio.samples, audio.sample_rate):
                        handed_over = self._clock.monotonic()
                        if progress.first_audio is None:
                            progress.first_audio = handed_over
                        yield ready
                        progress.paused += self._clock.monotonic() - handed_over
        except BaseException:
            if progress.first_chunk is not None:
                # The listener hung up, or the chain ended in the middle: what was spoken is still
                # accounted for, but nothing may be awaited on this way out.
                self._keep_soon(command, request, progress, reserved)
            raise
        # All is spoken: its receipt is stored while the last of it is encoded and sent.
        if progress.first_audio is None:
            progress.first_audio = self._clock.monotonic()
        saving = self._keep_soon(command, request, progress, reserved)
        ready = encoder.encode(last.samples, last.sample_rate) if last is not None else b""
        if ready := ready + encoder.finish():
            yield ready
        await saving

    def _keep_soon(
        self,
        command: SpeechCommand,
        request: SpeechRequest,
        progress: _Progress,
        reserved: Reserved,
    ) -> asyncio.Task[None]:
        progress.accounted = True
        receipt = self._receipt(command, request, progress)
        return self._soon(self._keep(command, receipt, reserved))

    def _soon(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)
        return task

    async def _keep(self, command: SpeechCommand, receipt: Receipt, reserved: Reserved) -> None:
        self._observer.served(command.tenant_id, receipt)
        settling = self._soon(self._settle(command, reserved, receipt.characters_counted))
        try:
            await asyncio.to_thread(self._receipts.save, command.tenant_id, receipt)
        except StorageUnavailableError as error:
            # The audio is out: it is too late to fail, so the figures go to the log instead.
            self._observer.receipt_lost(command.tenant_id, receipt, error)
        await settling

    async def _settle(self, command: SpeechCommand, reserved: Reserved, spoken: int) -> None:
        try:
            await reserved.settle(spoken)
        except StorageUnavailableError as error:
            self._observer.miscounted(command.tenant_id, command.request_id, error)

    def _receipt(
        self, command: SpeechCommand, request: SpeechRequest, progress: _Progress
    ) -> Receipt:
        attempts = request.journal.attempts
        asked = Asked(
            provider=request.chain[0],
            voice=request.voices.get(request.chain[0]),
            quality=request.quality.value,
        )
        total = self._clock.monotonic() - progress.started - progress.paused
        spoken = sum(a.sentences for a in attempts)
        whole = not any(a.cut or a.skipped for a in attempts)
        served = tuple(
            Served(provider=provider, voice=voice, sentences=sum(a.sentences for a in turns))
            for (provider, voice), turns in groupby(
                (a for a in attempts if a.sentences > a.skipped),
                key=lambda a: (a.provider, a.voice),
            )
        )
        first = progress.first_audio
        return Receipt(
            request_id=command.request_id,
            personality=command.personality_id,
            asked=asked,
            served=served,
            substituted=request.sample_refused is not None
            or any(
                turn.provider != asked.provider or not _is_voice(turn.voice, asked.voice)
                for turn in served
            ),
            complete=spoken == len(request.sentences) and whole,
            attempts=tuple(attempts),
            sentences=len(request.sentences),
            first_audio_ms=None if first is None else round((first - progress.started) * 1000, 1),
            total_ms=round(total * 1000, 1),
            audio_seconds=round(progress.audio_seconds, 3),
            real_time_factor=(
                round(total / progress.audio_seconds, 4) if progress.audio_seconds else None
            ),
            characters=sum(map(len, request.sentences)),
            purpose=command.purpose.value,
            characters_counted=sum(map(len, request.sentences[:spoken])),
            cost_usd=sum(a.cost_usd for a in attempts),
            not_applied=tuple(sorted(request.journal.not_applied)),
            sample_refused=request.sample_refused,
            format=command.audio_format.value,
            sample_rate=command.sample_rate,
        )


@dataclass(frozen=True, slots=True)
class _Audio:
    samples: NDArray[np.float32]
    sample_rate: int
    ends: bool
    """Whether the text ends with it."""


async def _joined(
    chunks: AsyncIterator[SpeechChunk], sentences: tuple[str, ...], progress: _Progress
) -> AsyncGenerator[_Audio]:
    """Trims each sentence and puts its pause between it and the next."""
    current: tuple[int, SentenceTrimmer] | None = None
    async for chunk in chunks:
        pieces = []
        if progress.first_chunk is None:
            progress.first_chunk = chunk
        elif current is None or current[0] != chunk.sentence:
            pieces.append(silence(pause_after(sentences[chunk.sentence - 1]), chunk.sample_rate))
        if current is None or current[0] != chunk.sentence:
            current = (chunk.sentence, SentenceTrimmer(chunk.sample_rate))
        pieces.append(current[1].push(chunk.samples))
        if chunk.last:
            pieces.append(current[1].finish())
        ends = chunk.last and chunk.sentence == len(sentences) - 1
        yield _Audio(np.concatenate(pieces), chunk.sample_rate, ends)


def _refusal(config: VoiceConfig, sample: VoiceSample | None) -> SampleRefusal | None:
    """Tells why the sample that a personality names may not be cloned."""
    if config.sample_path is None:
        return None
    return SampleRefusal.GONE if sample is None else sample.refusal


def _is_voice(spoken: str | None, asked: str | None) -> bool:
    """Tells whether the voice that spoke is the one asked for, as far as that was said.

    Names are `voice` or `voice/speaker`; a speaker may be asked for by number and is named by name.
    """
    if asked is None or spoken is None:
        return True
    voice, _, speaker = asked.lower().partition("/")
    spoken_voice, _, spoken_speaker = spoken.lower().partition("/")
    return voice == spoken_voice and (not speaker or speaker.isdigit() or speaker == spoken_speaker)


async def _resume(first: bytes, stream: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(stream):
        yield first
        async for ready in stream:
            yield ready


def _blame(
    error: AllProvidersFailedError, command: SpeechCommand, request: SpeechRequest
) -> AllProvidersFailedError | InvalidRequestError:
    """Tells a request that nobody here could ever serve from a chain that is down."""
    reasons = {a.reason for a in error.attempts}
    failed = [a for a in error.attempts if a.outcome is Outcome.FAILED]
    if any(a.provider == FLOOR and a.reason == FailureReason.BAD_AUDIO for a in failed):
        # The floor is a library in this process: if it is silent, there is nothing to say.
        return InvalidRequestError("Nobody here can pronounce any of it.", field="text")
    if failed:
        return error
    if "language" in reasons:
        asked = ", ".join(request.chain)
        return InvalidRequestError(
            f"{request.language} is spoken by none of the providers asked: {asked}.",
            field="language",
        )
    field = "strict" if command.provider is None else "provider"
    if "cannot_clone" in reasons:
        return InvalidRequestError(
            f"{request.chain[0]} cannot clone a voice, and no substitute is allowed.", field=field
        )
    return InvalidRequestError(
        f"{request.chain[0]} is not deployed here, and no substitute is allowed.", field=field
    )
