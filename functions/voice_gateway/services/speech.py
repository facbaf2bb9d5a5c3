"""One text, spoken in a personality's voice: from the request to bytes, and the receipt."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from voice_gateway.domain.audio import AudioFormat, rates_of
from voice_gateway.domain.chain import FLOOR, chain_for
from voice_gateway.domain.errors import (
    AllProvidersFailedError,
    BudgetSpentError,
    FailureReason,
    InvalidRequestError,
    NotFoundError,
    StaleWriteError,
    StorageUnavailableError,
)
from voice_gateway.domain.language import primary
from voice_gateway.domain.lexicon import as_said
from voice_gateway.domain.limits import MAX_TEXT_CHARACTERS
from voice_gateway.domain.money import FREE
from voice_gateway.domain.receipt import Asked, Outcome, Receipt, Served
from voice_gateway.domain.samples.sample import SampleRefusal
from voice_gateway.domain.speech import SpeechRequest, is_voice
from voice_gateway.domain.text import split_sentences
from voice_gateway.domain.tiers import Purpose
from voice_gateway.domain.voice_match import traits_of
from voice_gateway.services.bookkeeping import Bookkeeper
from voice_gateway.services.mastering import Mastering
from voice_gateway.services.means import estimate, within_means
from voice_gateway.services.providers import overview
from voice_gateway.services.quota import Reserved

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine
    from typing import Any

    from voice_gateway.domain.budget import BudgetState, Optimize
    from voice_gateway.domain.chain import Quality
    from voice_gateway.domain.personality import AdvancedSettings, Personality, VoiceConfig
    from voice_gateway.domain.samples.sample import VoiceSample
    from voice_gateway.domain.voice_match import VoiceMatches
    from voice_gateway.ports import (
        AudioCache,
        AudioEncoderFactory,
        Clock,
        PersonalityRepository,
        ProviderDirectory,
        ProviderHealth,
        ReceiptStore,
        SpeechObserver,
        SpeechProvider,
        VoiceLevels,
    )
    from voice_gateway.services.budgets import BudgetService
    from voice_gateway.services.chosen_samples import ChosenSamples
    from voice_gateway.services.mastering import MasteredAudio
    from voice_gateway.services.means import Estimate
    from voice_gateway.services.providers import ProviderList
    from voice_gateway.services.quota import CharacterQuota
    from voice_gateway.services.voice_matching import VoiceMatching


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechCommand:
    """What a caller wants spoken; None leaves the choice to the personality."""

    tenant_id: str
    request_id: str
    personality_id: str
    text: str
    language: str | None = None
    quality: Quality | None = None
    optimize: Optimize | None = None
    provider: str | None = None
    """Forces one provider."""
    speed: float | None = None
    pitch: float | None = None
    advanced: AdvancedSettings | None = None
    strict: bool = False
    fresh: bool = False
    """Spoken anew, and not kept."""
    audio_format: AudioFormat = AudioFormat.WAV
    sample_rate: int = 24_000
    channels: int = 1
    purpose: Purpose = Purpose.LIVE
    seconds_left: float | None = None
    """How long the caller's runtime will still wait; None for no bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechAnswer:
    """Audio whose first bytes are ready; who began to speak is known."""

    provider: str
    voice: str
    budget: BudgetState | None
    """How far the tenant's monthly budget is spent; None without a budget."""
    audio: AsyncGenerator[bytes]
    """The bytes, in order. The receipt is stored before this ends; closing it ends the work."""


class _Progress:
    """What the receipt needs to know of the stream."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.first_piece: MasteredAudio | None = None
        self.first_audio: float | None = None
        self.audio_seconds = 0.0
        self.paused = 0.0
        """Seconds that the listener took, not we."""
        self.saving: asyncio.Task[None] | None = None
        """The receipt on its way into the table, and the characters with it."""


class SpeechService:
    """Speaks texts."""

    def __init__(
        self,
        *,
        personalities: PersonalityRepository,
        samples: ChosenSamples,
        receipts: ReceiptStore,
        budgets: BudgetService,
        quota: CharacterQuota,
        router: SpeechProvider,
        providers: ProviderDirectory,
        cache: AudioCache,
        encoders: AudioEncoderFactory,
        levels: VoiceLevels,
        observer: SpeechObserver,
        clock: Clock,
        health: ProviderHealth,
        matching: VoiceMatching,
    ) -> None:
        self._personalities = personalities
        self._samples = samples
        self._receipts = receipts
        self._bookkeeper = Bookkeeper(receipts)
        self._budgets = budgets
        self._quota = quota
        self._router = router
        self._providers = providers
        self._cache = cache
        self._encoders = encoders
        self._levels = levels
        self._observer = observer
        self._clock = clock
        self._health = health
        self._matching = matching
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
            InvalidRequestError: Nothing to pronounce, or too much by the personality's lexicon, a
                language that nobody asked speaks, a forced provider that is not deployed, a sample
                rate that the format cannot carry.
            BudgetSpentError: The only one who may speak costs money, and the month's is gone.
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
            if progress.saving is None:
                giving_back = self._soon(self._settle(command, reserved, 0))
                if isinstance(error, Exception):
                    # Before the refusal is out: a runtime that has answered may stand still.
                    await asyncio.shield(giving_back)
            elif isinstance(error, Exception):
                await progress.saving
            raise

    async def _begin(
        self, command: SpeechCommand, progress: _Progress, reserved: Reserved
    ) -> SpeechAnswer:
        request = await self._prepare(command)
        await reserved.granted()
        stream = self._stream(command, request, progress, reserved)
        try:
            first_bytes = await anext(stream)
        except AllProvidersFailedError as error:
            refused = _blame(error, command, request)
            if refused is error:
                self._observer.failed(command.tenant_id, command.request_id, error.attempts)
            raise refused from None
        first = progress.first_piece
        assert first is not None  # bytes come from a piece
        return SpeechAnswer(
            provider=first.provider,
            voice=first.voice,
            budget=request.budget,
            audio=_resume(first_bytes, stream),
        )

    async def estimate(self, command: SpeechCommand) -> Estimate:
        """Tells what speaking would cost, and speaks nothing.

        Raises:
            InvalidRequestError: There is nothing to pronounce, or too much by the lexicon.
            NotFoundError: The tenant has no such personality.
            StorageUnavailableError: The table did not answer.
        """
        return await estimate(await self._prepare(command), self._providers, self._cache)

    async def overview(self, tenant_id: str) -> ProviderList:
        """Tells who can speak here, and how this tenant stands with them."""
        return await overview(self._providers, self._health, tenant_id)

    async def purge(self, tenant_id: str, personality_id: str | None) -> int:
        """Forgets the audio that is kept for a tenant, all of it or what one personality spoke.

        Returns:
            How many sentences there were.

        Raises:
            StorageUnavailableError: The cache did not answer; nothing can be said of what is left.
        """
        # Whether there is such a personality is not asked: it may have been deleted.
        return await self._cache.purge(tenant_id, personality_id=personality_id)

    async def match_voices(self, tenant_id: str, personality_id: str) -> VoiceMatches:
        """Works out who would speak for a personality at each provider; see `VoiceMatching`."""
        return await self._matching.match(tenant_id, personality_id)

    async def _prepare(self, command: SpeechCommand) -> SpeechRequest:
        (personality, sample), budget, _ = await asyncio.gather(
            asyncio.to_thread(self._personality, command),
            self._budget(command.tenant_id),
            # The router asks right after, and finds the answer here.
            self._health.standings(command.tenant_id),
        )
        request = self._request(command, personality, sample)
        optimize = command.optimize or personality.voice_config.optimize
        return within_means(request, optimize, budget, self._providers)

    async def _budget(self, tenant_id: str) -> BudgetState | None:
        # Mostly it is known, and a thread costs more than the look.
        if (known := self._budgets.remembered(tenant_id)) is not None:
            return known.state
        return await asyncio.to_thread(self._budgets.state, tenant_id)

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
        say = partial(as_said, lexicon=personality.lexicon, language=language)
        sentences = split_sentences(command.text, language, say)
        if (length := sum(map(len, sentences))) > MAX_TEXT_CHARACTERS:
            raise InvalidRequestError(
                f"As the personality's lexicon says it, it is {length} characters long; at most "
                f"{MAX_TEXT_CHARACTERS} are spoken.",
                field="text",
            )
        if not sentences:
            raise InvalidRequestError("There is nothing to pronounce in it.", field="text")
        deadline = None
        if command.seconds_left is not None:
            deadline = self._clock.monotonic() + command.seconds_left
        return SpeechRequest(
            tenant_id=command.tenant_id,
            personality_id=personality.id,
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
            wanted=traits_of(config, sample),
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
            fresh=command.fresh,
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
        encoder = self._encoders(command.audio_format, command.sample_rate, command.channels)
        # A cloned voice goes by its sample; two tenants' samples may have the same name.
        scope = f"{command.tenant_id}/{request.sample_path}" if request.sample_path else ""
        mastering = Mastering(self._levels, request.sentences, scope)
        last: MasteredAudio | None = None
        try:
            async with (
                aclosing(self._router.synthesize(request)) as chunks,
                aclosing(mastering.master(chunks)) as pieces,
            ):
                async for audio in pieces:
                    progress.first_piece = progress.first_piece or audio
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
            if any(a.outcome is not Outcome.PASSED_OVER for a in request.journal.attempts):
                # The listener hung up, or the chain came to its end: what was spoken, or billed
                # unheard, is still accounted for, but nothing may be awaited on this way out.
                self._keep_soon(command, request, progress, reserved)
            raise
        # All is spoken: its receipt is stored while the last of it is encoded and sent.
        if progress.first_audio is None:
            progress.first_audio = self._clock.monotonic()
        saving = self._keep_soon(command, request, progress, reserved)
        ready = encoder.encode(last.samples, last.sample_rate) if last is not None else b""
        if ready := ready + encoder.finish():
            yield ready
        await mastering.remember()
        await saving

    def _keep_soon(
        self,
        command: SpeechCommand,
        request: SpeechRequest,
        progress: _Progress,
        reserved: Reserved,
    ) -> asyncio.Task[None]:
        receipt = self._receipt(command, request, progress)
        progress.saving = self._soon(self._keep(command, receipt, reserved))
        return progress.saving

    def _soon(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)
        return task

    async def _keep(self, command: SpeechCommand, receipt: Receipt, reserved: Reserved) -> None:
        self._budgets.add(command.tenant_id, receipt.cost_usd)
        settling = self._soon(self._settle(command, reserved, receipt.characters_counted))
        try:
            await asyncio.to_thread(self._bookkeeper.keep, command.tenant_id, receipt)
        except (StaleWriteError, StorageUnavailableError) as error:
            # The audio is out: it is too late to fail, so the figures go to the log instead.
            self._observer.receipt_lost(command.tenant_id, receipt, error)
        # Not before: its lines are written by the thread that sends the last of the audio.
        if receipt.served:
            self._observer.served(command.tenant_id, receipt)
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
        asked_provider = request.asked or request.chain[0]
        asked = Asked(
            provider=asked_provider,
            voice=request.voices.get(asked_provider),
            quality=request.quality.value,
        )
        total = self._clock.monotonic() - progress.started - progress.paused
        spoken = sum(a.sentences for a in attempts)
        whole = not any(a.cut or a.skipped for a in attempts)
        served = tuple(
            Served(
                provider=provider,
                voice=voice,
                match=match,
                sentences=sum(a.sentences for a in turns),
            )
            for (provider, voice, match), turns in groupby(
                (a for a in attempts if a.sentences > a.skipped),
                key=lambda a: (a.provider, a.voice, a.match),
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
                turn.provider != asked.provider or not is_voice(turn.voice, asked.voice)
                for turn in served
            ),
            complete=spoken == len(request.sentences) and whole,
            attempts=tuple(attempts),
            sentences=len(request.sentences),
            hedges=sum(a.hedge for a in attempts),
            first_audio_ms=None if first is None else round((first - progress.started) * 1000, 1),
            total_ms=round(total * 1000, 1),
            audio_seconds=round(progress.audio_seconds, 3),
            real_time_factor=(
                round(total / progress.audio_seconds, 4) if progress.audio_seconds else None
            ),
            characters=sum(map(len, request.sentences)),
            purpose=command.purpose.value,
            characters_counted=sum(map(len, request.sentences[:spoken])),
            cache_hits=sum(a.sentences for a in attempts if a.outcome is Outcome.CACHED),
            cost_usd=sum((a.cost_usd for a in attempts), FREE),
            cost_saved_usd=sum((a.cost_saved_usd for a in attempts), FREE),
            budget=request.budget,
            not_applied=tuple(sorted(request.journal.not_applied)),
            sample_refused=request.sample_refused,
            format=command.audio_format.value,
            sample_rate=command.sample_rate,
            channels=command.channels,
        )


def _refusal(config: VoiceConfig, sample: VoiceSample | None) -> SampleRefusal | None:
    """Tells why the sample that a personality names may not be cloned."""
    if config.sample_path is None:
        return None
    return SampleRefusal.GONE if sample is None else sample.refusal


async def _resume(first: bytes, stream: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(stream):
        yield first
        async for ready in stream:
            yield ready


def _blame(
    error: AllProvidersFailedError, command: SpeechCommand, request: SpeechRequest
) -> AllProvidersFailedError | BudgetSpentError | InvalidRequestError:
    """Tells a request that nobody here could ever serve from a chain that is down."""
    reasons = {a.reason for a in error.attempts}
    failed = [a for a in error.attempts if a.outcome is Outcome.FAILED]
    if any(a.provider == FLOOR and a.reason == FailureReason.BAD_AUDIO for a in failed):
        # The floor is a library in this process: if it is silent, there is nothing to say.
        return InvalidRequestError("Nobody here can pronounce any of it.", field="text")
    if failed or "breaker_open" in reasons:
        return error
    if "budget" in reasons:
        dear = ", ".join(sorted(request.too_dear))
        return BudgetSpentError(
            f"This month's budget is spent, and nobody else than {dear} may or can speak this."
        )
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
