"""What the services need from the outside; adapters and providers implement it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import datetime
    from typing import BinaryIO

    import numpy as np
    from numpy.typing import NDArray

    from voice_gateway.domain.audio import AudioFormat
    from voice_gateway.domain.idempotency import OnceOnly
    from voice_gateway.domain.listing import PersonalityFilter
    from voice_gateway.domain.personality import Personality
    from voice_gateway.domain.receipt import Attempt, Receipt
    from voice_gateway.domain.samples.signal import DecodedSample
    from voice_gateway.domain.speech import (
        ProviderCapabilities,
        SampleWindow,
        SpeechChunk,
        SpeechRequest,
    )


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


class SampleWindows(Protocol):
    """Where the stretches lie that providers clone from."""

    def fetch(self, window: SampleWindow) -> bytes:
        """Reads the WAV.

        Raises:
            NotFoundError: It is gone.
            StorageUnavailableError: The store did not answer.
        """
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

    def __call__(self, audio_format: AudioFormat, sample_rate: int) -> AudioEncoder:
        """Makes one that gives out `audio_format` at `sample_rate` Hz, mono."""
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


class PersonalityRepository(Protocol):
    """Keeps personalities, one tenant's apart from another's."""

    def create(self, personality: Personality, once: OnceOnly | None = None) -> Personality | None:
        """Stores a new one; over one that is gone, too.

        Args:
            personality: In its first version.
            once: Stores nothing when the same request came before.

        Returns:
            None when it is stored; else what the same request made when it came first.

        Raises:
            ConflictError: The tenant has one with this id, deleted perhaps.
            InvalidRequestError: The key was used for another request.
            StaleWriteError: Somebody else is writing it at this moment.
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

    def replace(self, previous: Personality, changed: Personality) -> None:
        """Puts a version in the place of the one before, and keeps both in the history.

        Raises:
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


class ReceiptStore(Protocol):
    """Keeps receipts for a day, for whoever streamed the audio and wants the figures after."""

    def save(self, tenant_id: str, receipt: Receipt) -> None:
        """Stores one.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...

    def get(self, tenant_id: str, request_id: str) -> Receipt:
        """Fetches one.

        Raises:
            NotFoundError: The tenant has none with this id.
            StorageUnavailableError: The table did not answer.
        """
        ...


class ApiKeyRepository(Protocol):
    """Knows which API keys are good; sees only their hashes."""

    def find(self, tenant_id: str, key_hash: str) -> frozenset[str] | None:
        """Returns the key's scopes, or None when there is no such key or it was revoked.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        ...


class Clock(Protocol):
    """Time, so that tests can own it."""

    def now(self) -> datetime:
        """Wall time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...
