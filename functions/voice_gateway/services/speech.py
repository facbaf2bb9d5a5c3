"""One text, spoken in a personality's voice: from the request to bytes, and the receipt."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voice_gateway.domain.audio import rates_of
from voice_gateway.domain.errors import (
    AllProvidersFailedError,
    InvalidRequestError,
    NotFoundError,
    StaleWriteError,
    StorageUnavailableError,
)
from voice_gateway.domain.receipt import Outcome, Receipt
from voice_gateway.services.bookkeeping import Bookkeeper
from voice_gateway.services.mastering import Mastering
from voice_gateway.services.means import estimate, within_means
from voice_gateway.services.providers import overview
from voice_gateway.services.quota import Reserved
from voice_gateway.services.receipts import Progress, receipt_of
from voice_gateway.services.speech_requests import blame, request_for

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine
    from typing import Any

    from voice_gateway.domain.budget import BudgetState
    from voice_gateway.domain.personality import Personality
    from voice_gateway.domain.samples.sample import VoiceSample
    from voice_gateway.domain.speech import SpeechRequest
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
    from voice_gateway.services.speech_requests import SpeechCommand
    from voice_gateway.services.voice_matching import VoiceMatching


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechAnswer:
    """Audio whose first bytes are ready; who began to speak is known."""

    provider: str
    voice: str
    budget: BudgetState | None
    """How far the tenant's monthly budget is spent; None without a budget."""
    audio: AsyncGenerator[bytes]
    """The bytes, in order. The receipt is stored before this ends; closing it ends the work."""


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
        progress = Progress(self._clock.monotonic())
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
        self, command: SpeechCommand, progress: Progress, reserved: Reserved
    ) -> SpeechAnswer:
        request = await self._prepare(command)
        await reserved.granted()
        stream = self._stream(command, request, progress, reserved)
        try:
            first_bytes = await anext(stream)
        except AllProvidersFailedError as error:
            refused = blame(error, command, request)
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
        request = request_for(command, personality, sample, self._clock.monotonic())
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

    async def _stream(
        self,
        command: SpeechCommand,
        request: SpeechRequest,
        progress: Progress,
        reserved: Reserved,
    ) -> AsyncGenerator[bytes]:
        """Yields the answer's bytes, none of them empty."""
        encoder = self._encoders(command.audio_format, command.sample_rate, command.channels)
        mastering = Mastering(self._levels, request)
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
        # In Lambda nothing goes on after the answer has ended.
        await asyncio.gather(saving, *request.journal.afterwards)

    def _keep_soon(
        self,
        command: SpeechCommand,
        request: SpeechRequest,
        progress: Progress,
        reserved: Reserved,
    ) -> asyncio.Task[None]:
        receipt = receipt_of(command, request, progress, self._clock.monotonic())
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


async def _resume(first: bytes, stream: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(stream):
        yield first
        async for ready in stream:
            yield ready
