"""What the services need from the outside; adapters and providers implement it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal
    from typing import BinaryIO

    import numpy as np
    from numpy.typing import NDArray

    from voice_gateway.domain.access import ApiKey
    from voice_gateway.domain.audio import AudioFormat
    from voice_gateway.domain.audio_cache import CachedSentence, Claim, Lookup, SentenceKey
    from voice_gateway.domain.budget import Budget
    from voice_gateway.domain.health import Failure, Heard, ProviderReport, Standing
    from voice_gateway.domain.idempotency import OnceOnly
    from voice_gateway.domain.ledger import MonthlyCosts
    from voice_gateway.domain.listing import PersonalityFilter
    from voice_gateway.domain.personality import Personality
    from voice_gateway.domain.receipt import Attempt, Receipt
    from voice_gateway.domain.samples.sample import PreparedWindow, StoredObject, VoiceSample
    from voice_gateway.domain.samples.signal import DecodedSample
    from voice_gateway.domain.samples.upload import UploadForm
    from voice_gateway.domain.speech import ProviderCapabilities, SpeechChunk, SpeechRequest
    from voice_gateway.domain.statistics import Figures, Window
    from voice_gateway.domain.tiers import Allowance, Ceiling, Plan, Stock
    from voice_gateway.domain.voice_match import VoiceMatches
    from voice_gateway.domain.voices import Voice


class SpeechProvider(Protocol):
    """Turns sentences into audio. Does that one thing: no retries, no deadlines, no metrics."""

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    @property
    def capabilities(self) -> ProviderCapabilities:
        """What it can do, without asking it."""
        ...

    async def warm_up(self) -> None:
        """Does beforehand what would make the first request slow; speaks nothing, never raises."""
        ...

    def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        """Speaks the sentences in order, a sentence's chunks together, its last one marked.

        Closing the generator cancels the work.

        Raises:
            ProviderError: It could not, and why.
        """
        ...

    async def aclose(self) -> None:
        """Releases connections."""
        ...


@runtime_checkable
class VoiceCatalogue(Protocol):
    """A provider that can tell which voices it has."""

    @property
    def name(self) -> str:
        """The provider's registered name."""
        ...

    async def voices(self) -> tuple[Voice, ...]:
        """Lists them, in the provider's own order; asks it once in a while only.

        Raises:
            ProviderError: It could not be asked, and why.
        """
        ...

    async def voice_for(self, request: SpeechRequest) -> Voice | None:
        """Tells who would speak a request: the pinned voice, or the one most like the wanted.

        Returns:
            The voice; None when only whoever hosts the voices can tell.

        Raises:
            ProviderError: Nobody would, or it could not be asked.
        """
        ...


class VoiceMatchStore(Protocol):
    """Keeps who would speak for each personality, apart from what its owner decides."""

    def save(self, tenant_id: str, personality_id: str, matches: VoiceMatches) -> None:
        """Puts them in the place of those before.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...

    def find(self, tenant_id: str, personality_id: str) -> VoiceMatches | None:
        """Fetches them; None where there are none.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...


class SampleWindows(Protocol):
    """Where the stretches lie that providers clone from."""

    def fetch(self, window: PreparedWindow) -> bytes:
        """Reads the WAV.

        Raises:
            NotFoundError: It is gone.
            StorageUnavailableError: The store did not answer.
        """
        ...


class VendorCredentials(Protocol):
    """What opens a vendor's door."""

    async def read(self) -> Mapping[str, object]:
        """Returns the fields of the vendor's account, as its provider names them.

        Raises:
            ProviderError: `auth`; they are not there, or cannot be read.
        """
        ...


class ProviderDirectory(Protocol):
    """The providers that this deployment has."""

    def get(self, name: str) -> SpeechProvider | None:
        """Returns the provider, or None when this deployment has none of this name."""
        ...

    def names(self) -> tuple[str, ...]:
        """Returns every name that it has."""
        ...


class ProviderHealth(Protocol):
    """What all functions know together of how the providers do.

    None of its methods raises, and none takes longer than a shared memory may: where that is away,
    every process goes on with what it has seen itself.
    """

    async def standings(self, tenant_id: str) -> Mapping[str, Standing]:
        """Returns the providers that are not open to every request of this tenant, by name.

        It is a fraction of a second old at most.
        """
        ...

    async def claim(self, provider: str, tenant_id: str) -> bool:
        """Takes the one place at a provider that is ajar; whoever gets it reports as a trial."""
        ...

    async def report(
        self, provider: str, tenant_id: str, result: Heard | Failure | None, *, trial: bool
    ) -> None:
        """Tells how a turn went.

        Args:
            provider: Whose turn it was.
            tenant_id: Whose request it was.
            result: None when it tells nothing of the provider: the listener hung up, say.
            trial: Whether the turn had the one place at a provider that was ajar.
        """
        ...

    async def overview(
        self, providers: Iterable[str], tenant_id: str
    ) -> Mapping[str, ProviderReport]:
        """Returns how each has been in the last ten minutes."""
        ...


class HedgeAllowance(Protocol):
    """Keeps the number of hedges a small share of the number of requests."""

    def asked(self) -> None:
        """Another request has come."""
        ...

    async def take(self) -> bool:
        """Takes leave for one hedge, if the requests so far allow one. Never raises."""
        ...


class AudioEncoder(Protocol):
    """Turns float32 audio into the bytes of one format, as it comes."""

    def encode(self, samples: NDArray[np.float32], sample_rate: int) -> bytes:
        """Takes mono samples of any rate, which may change on the way; returns what is ready."""
        ...

    def finish(self) -> bytes:
        """Returns the last bytes; nothing may be encoded after."""
        ...


class AudioEncoderFactory(Protocol):
    """Makes an encoder for one answer."""

    def __call__(
        self, audio_format: AudioFormat, sample_rate: int, channels: int = 1
    ) -> AudioEncoder:
        """Makes one that gives out `audio_format` at `sample_rate` Hz, the same in each channel."""
        ...


class VoiceLevels(Protocol):
    """Remembers how loud each voice is, so that its gain is measured once and stays the same."""

    async def find(self, voice: str) -> float | None:
        """Returns the voice's loudness in LUFS, or None when nobody measured it; never raises."""
        ...

    async def remember(self, voice: str, lufs: float) -> None:
        """Keeps it, unless somebody was faster; never raises."""
        ...


class VoiceShifter(Protocol):
    """Changes how fast and how high a voice speaks, and leaves it the same voice."""

    def shift(
        self, samples: NDArray[np.float32], sample_rate: int, *, speed: float, pitch: float
    ) -> NDArray[np.float32]:
        """Changes a piece of mono audio; the same piece always gives the same samples.

        Args:
            samples: Shape [n].
            sample_rate: Hz.
            speed: 2.0 takes half the time, at the same pitch.
            pitch: Semitones, at the same speed and with the same formants.

        Returns:
            Shape [n / speed], rounded.
        """
        ...


class AudioCache(Protocol):
    """Keeps sentences that were spoken, and sees to it that callers at once have them spoken once.

    Only `purge` raises: without the cache everything goes on, and takes longer.
    """

    async def look_up(self, keys: Sequence[SentenceKey]) -> list[Lookup | Claim | CachedSentence]:
        """Tells of each sentence whether it is there, and claims those that nobody is speaking.

        The first sentence is handed over at once, if it is there.
        """
        ...

    async def holds(self, keys: Sequence[SentenceKey]) -> list[bool]:
        """Tells of each sentence whether it is there, and claims none."""
        ...

    async def fetch(self, key: SentenceKey) -> CachedSentence | None:
        """Returns a sentence, or None when it is there no more."""
        ...

    async def wait_for(self, key: SentenceKey, seconds: float) -> CachedSentence | None:
        """Waits for what somebody else is speaking.

        Returns:
            The sentence; None when they gave up or died, or took longer.
        """
        ...

    async def keep(
        self,
        key: SentenceKey,
        sentence: CachedSentence,
        claim: Claim | None,
        *,
        since: Claim | None = None,
    ) -> None:
        """Keeps a sentence for a day, and ends the claim; one that was lost keeps nothing.

        Args:
            key: Names it.
            sentence: The sentence.
            claim: The one for this very sentence, where there is one.
            since: Without one, another that is as old as the work: a purge that came later is
                obeyed.
        """
        ...

    async def renew(self, claims: Sequence[Claim]) -> None:
        """Says that these sentences are still being spoken."""
        ...

    async def give_up(self, claims: Sequence[Claim]) -> None:
        """Lets somebody else speak them."""
        ...

    async def purge(
        self, tenant_id: str, *, personality_id: str | None = None, sample_hash: str | None = None
    ) -> int:
        """Forgets a tenant's audio: all of it, or what one personality spoke, or one sample's.

        What is being spoken at this moment is not kept either.

        Returns:
            How many sentences there were.

        Raises:
            StorageUnavailableError: The cache did not answer; nothing can be said of what is left.
        """
        ...


class SampleDecoder(Protocol):
    """Reads recordings that strangers send."""

    def decode(self, source: bytes | BinaryIO) -> DecodedSample:
        """Decodes a recording, within the bounds of `domain/samples/requirements`.

        Memory stays bounded whatever the bytes claim, and every value of the result is finite
        and near full scale.

        Raises:
            InvalidSampleError: It is no usable recording, and why.
        """
        ...


class SampleConverter(Protocol):
    """Does to a sample what needs a library."""

    def resample(
        self, samples: NDArray[np.float32], sample_rate: int, output_rate: int
    ) -> NDArray[np.float32]:
        """Brings mono audio of shape [n] from one rate to another, both in Hz."""
        ...

    def wav(self, samples: NDArray[np.float32], sample_rate: int) -> bytes:
        """Writes mono audio as 16-bit WAV: the same samples give the same bytes, always."""
        ...


class SampleRepository(Protocol):
    """Keeps what is known of voice samples, one tenant's apart from another's."""

    def create(self, sample: VoiceSample, *, ceiling: Ceiling | None = None) -> None:
        """Stores a new one.

        Args:
            sample: In its first version.
            ceiling: How many there may be that are not buried; None for any number.

        Raises:
            ConflictError: The tenant has one with this id.
            PlanLimitError: There would be too many.
            StaleWriteError: Somebody else is writing the tenant's counts at this moment.
            StorageUnavailableError: The table did not answer.
        """
        ...

    def get(self, tenant_id: str, sample_id: str) -> VoiceSample:
        """Fetches one, tombstones too.

        Raises:
            NotFoundError: The tenant has none with this id.
            StorageUnavailableError: The table did not answer.
        """
        ...

    def replace(self, *changes: tuple[VoiceSample, VoiceSample]) -> None:
        """Puts versions in the place of the ones before (previous, changed): all of them, or none.

        Args:
            changes: Samples of one tenant, each once; at most `MAX_CHANGES`.

        Raises:
            StaleWriteError: One is no longer, or not just now, in the version before.
            StorageUnavailableError: The table did not answer.
        """
        ...

    def of_personality(self, tenant_id: str, personality_id: str) -> Sequence[VoiceSample]:
        """Lists a personality's samples, the newest first, tombstones too.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...

    def due(self, now: datetime) -> Sequence[tuple[str, str]]:
        """Lists the samples of all tenants that somebody has to look after by now.

        Returns:
            Tenants' and samples' ids.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...


class SampleFiles(Protocol):
    """Keeps the bytes of voice samples, every version of them until they are purged."""

    def upload_form(self, path: str) -> UploadForm:
        """Makes a form that uploads one original straight into the store, and nothing else.

        Raises:
            StorageUnavailableError: The store did not answer.
        """
        ...

    def write(self, path: str, data: bytes) -> StoredObject:
        """Stores bytes at a path.

        Raises:
            StorageUnavailableError: The store did not answer.
        """
        ...

    def latest(self, path: str) -> StoredObject | None:
        """Tells what lies at a path now; None when nothing does.

        Raises:
            StorageUnavailableError: The store did not answer.
        """
        ...

    def read(self, path: str, version: StoredObject) -> bytes | None:
        """Fetches the bytes of one version; None when they are gone.

        Raises:
            StorageUnavailableError: The store did not answer.
        """
        ...

    def purge(self, folder: str) -> None:
        """Deletes every version of everything below a folder; a second time finds nothing to do.

        Raises:
            StorageUnavailableError: The store did not answer, or kept something.
        """
        ...


class SampleQueue(Protocol):
    """Where whoever looks after samples is told of one."""

    def attend(self, tenant_id: str, sample_id: str) -> None:
        """Has a sample looked after soon, once or more often.

        Raises:
            StorageUnavailableError: The queue did not answer.
        """
        ...


class ConditioningCache(Protocol):
    """What the models keep of a voice."""

    def forget(self, content_hashes: Sequence[str]) -> None:
        """Deletes what was made of these samples or windows; of unknown ones there is nothing.

        Raises:
            StorageUnavailableError: Not everybody who keeps such things confirmed it.
        """
        ...


class VoiceAudioCache(Protocol):
    """What was spoken before in a cloned voice."""

    def purge(self, tenant_id: str, *, personality_id: str, content_hashes: Sequence[str]) -> None:
        """Deletes what was spoken by a personality, or in a voice that was cloned from these.

        Raises:
            StorageUnavailableError: The cache did not answer.
        """
        ...


class SampleObserver(Protocol):
    """Counts what became of samples; sees no audio and no names."""

    def judged(self, sample: VoiceSample) -> None:
        """A sample got its verdict."""
        ...

    def purged(self, sample: VoiceSample) -> None:
        """Nothing is left of a sample but its tombstone."""
        ...


class SpeechObserver(Protocol):
    """Counts what was spoken; sees receipts, never text or audio."""

    def served(self, tenant_id: str, receipt: Receipt) -> None:
        """An answer left the house, whole or not."""
        ...

    def failed(self, tenant_id: str, request_id: str, attempts: Sequence[Attempt]) -> None:
        """Nobody of the chain could speak."""
        ...

    def receipt_lost(self, tenant_id: str, receipt: Receipt, error: Exception) -> None:
        """The receipt could not be stored: its figures must survive in the log."""
        ...

    def miscounted(self, tenant_id: str, request_id: str, error: Exception) -> None:
        """What was reserved and not spoken could not be given back to the tenant's allowance."""
        ...


class PersonalityRepository(Protocol):
    """Keeps personalities, one tenant's apart from another's."""

    def create(
        self,
        personality: Personality,
        once: OnceOnly | None = None,
        *,
        ceiling: Ceiling | None = None,
    ) -> Personality | None:
        """Stores a new one; over one that is gone, too.

        Args:
            personality: In its first version.
            once: Stores nothing when the same request came before.
            ceiling: How many of those that are counted there may be; None for any number.

        Returns:
            None when it is stored; else what the same request made when it came first.

        Raises:
            ConflictError: The tenant has one with this id, deleted perhaps.
            InvalidRequestError: The key was used for another request.
            PlanLimitError: There would be too many.
            StaleWriteError: Somebody else is writing it, or counting, at this moment.
            StorageUnavailableError: The table did not answer.
        """
        ...

    def get(
        self, tenant_id: str, personality_id: str, *, with_deleted: bool = False
    ) -> Personality:
        """Fetches one.

        Args:
            tenant_id: Whose it is.
            personality_id: Which one.
            with_deleted: Also one that can still be restored.

        Raises:
            NotFoundError: The tenant has none with this id.
            StorageUnavailableError: The table did not answer.
        """
        ...

    def replace(
        self, previous: Personality, changed: Personality, *, ceiling: Ceiling | None = None
    ) -> None:
        """Puts a version in the place of the one before, and keeps both in the history.

        Args:
            previous: As it was read.
            changed: Its next version.
            ceiling: How many of those that are counted there may be; None for any number.

        Raises:
            PlanLimitError: It comes back, and there would be too many.
            StaleWriteError: It is no longer, or not just now, in the version `previous`.
            StorageUnavailableError: The table did not answer.
        """
        ...

    def list(
        self,
        tenant_id: str,
        *,
        limit: int,
        cursor: str | None = None,
        wanted: PersonalityFilter = ...,
    ) -> tuple[Sequence[Personality], str | None]:
        """Lists by id, a page at a time.

        Returns:
            The page, and the cursor of the next one (None at the end).

        Raises:
            InvalidRequestError: The cursor is not one of ours.
            StorageUnavailableError: The table did not answer.
        """
        ...

    def versions(
        self, personality: Personality, *, limit: int, cursor: str | None = None
    ) -> tuple[Sequence[Personality], str | None]:
        """Lists what it is and was, the newest version first, a page at a time.

        Returns:
            The page, and the cursor of the next one (None at the end).

        Raises:
            InvalidRequestError: The cursor is not one of this history's.
            StorageUnavailableError: The table did not answer.
        """
        ...


class TenantRepository(Protocol):
    """Knows what a tenant may have."""

    def plan(self, tenant_id: str) -> Plan:
        """Returns the tenant's plan; of a tenant nobody knows, the free one.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...


class UsageMeter(Protocol):
    """Counts what tenants keep and use up."""

    def stock(self, tenant_id: str) -> Mapping[Stock, int]:
        """Returns how many of each kind the tenant keeps.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...

    def used(self, tenant_id: str, month: str) -> Mapping[Allowance, int]:
        """Returns how much of each allowance the tenant used in a month (`2026-11`).

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...

    def take(
        self, tenant_id: str, month: str, allowance: Allowance, amount: int, *, limit: int
    ) -> int | None:
        """Uses so much of an allowance, all of it or nothing, however many callers there are.

        Returns:
            None when it is taken; else how much was used already.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...

    def correct(self, tenant_id: str, month: str, allowance: Allowance, change: int) -> None:
        """Adds to what was used, or takes from it, whatever the limit.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...


class ReceiptStore(Protocol):
    """Keeps receipts for a day, for whoever streamed the audio and wants the figures after."""

    def save(self, tenant_id: str, receipt: Receipt) -> None:
        """Stores one and adds it to the ledger and the statistics: all of it or nothing, once.

        The first one of a request counts; a second one changes nothing, so that whoever does not
        know whether it was stored may store it again.

        Raises:
            StaleWriteError: Others are adding to the same sums at this moment; nothing was stored.
            StorageUnavailableError: The table did not answer; it may be stored nevertheless.
        """
        ...

    def get(self, tenant_id: str, request_id: str) -> Receipt:
        """Fetches one.

        Raises:
            NotFoundError: The tenant has none with this id.
            StorageUnavailableError: The table did not answer.
        """
        ...


class Ledger(Protocol):
    """Knows what speech cost; what `ReceiptStore.save` wrote is in it at once."""

    def month(self, tenant_id: str, month: str) -> MonthlyCosts:
        """Reads a tenant's month (`2026-11`), by provider and by personality.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...

    def spent(self, tenant_id: str, month: str) -> Decimal:
        """Reads what a tenant's month cost so far, in dollars: the part that a budget needs.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...


class Statistics(Protocol):
    """Knows how speech went; what `ReceiptStore.save` wrote is in it at once."""

    def figures(self, tenant_id: str, window: Window) -> Figures:
        """Reads a tenant's figures over a window that ends now.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...


class BudgetRepository(Protocol):
    """Keeps what a tenant may spend."""

    def get(self, tenant_id: str) -> Budget:
        """Returns the tenant's budget; without a limit when none was set.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...

    def put(self, tenant_id: str, budget: Budget) -> None:
        """Sets it, whatever it was.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...


class ApiKeyRepository(Protocol):
    """Keeps API keys, or rather their hashes."""

    def find(self, tenant_id: str, key_hash: str) -> ApiKey | None:
        """Finds a key by its hash, be it good or not; None when there is none.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...

    def get(self, tenant_id: str, wanted: str) -> ApiKey:
        """Fetches a key by its id.

        Raises:
            NotFoundError: The tenant has none with this id.
            StorageUnavailableError: The table did not answer.
        """
        ...

    def list(
        self, tenant_id: str, *, limit: int, cursor: str | None = None
    ) -> tuple[Sequence[ApiKey], str | None]:
        """Lists by id, the dead ones too, a page at a time.

        Returns:
            The page, and the cursor of the next one (None at the end).

        Raises:
            InvalidRequestError: The cursor is not one of ours.
            StorageUnavailableError: The table did not answer.
        """
        ...

    def create(self, api_key: ApiKey) -> None:
        """Stores a new one.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...

    def rotate(self, old: ApiKey, new: ApiKey, *, until: datetime) -> None:
        """Stores a new one, and with it lets the old one end.

        Args:
            old: The one that is replaced.
            new: The one that takes its place.
            until: When the old one ends.

        Raises:
            ConflictError: The old one was revoked or replaced already.
            StaleWriteError: Somebody else is writing it at this moment.
            StorageUnavailableError: The table did not answer.
        """
        ...

    def revoke(self, api_key: ApiKey, now: datetime) -> None:
        """Makes a key useless for good; one that was revoked before stays as it is.

        Raises:
            NotFoundError: The tenant has no such key.
            StorageUnavailableError: The table did not answer.
        """
        ...

    def note_use(self, api_key: ApiKey, now: datetime) -> None:
        """Remembers when it was last used.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...


class TokenVerifier(Protocol):
    """Knows which people's tokens are good."""

    def verify(self, token: str) -> Mapping[str, object] | None:
        """Returns what a token claims; None when its word is not to be taken.

        Raises:
            KeySetUnavailableError: Nobody could say.
        """
        ...


class AuthorizationObserver(Protocol):
    """Hears what must not stand in the way of an answer."""

    def use_not_noted(self, key_id: str, error: Exception) -> None:
        """When a key was last used could not be stored."""
        ...

    def keys_not_fetched(self, error: Exception) -> None:
        """The identity provider did not give its keys; those of the last time are still used."""
        ...


class Clock(Protocol):
    """Time, so that tests can own it."""

    def now(self) -> datetime:
        """Wall time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...
