"""Google Cloud Text-to-Speech over gRPC: streamed where the voice can, else a sentence at once."""

from __future__ import annotations

import io
import wave
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from voice_gateway.domain.chain import Quality
from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.prices import usd_per_million
from voice_gateway.domain.speech import ProviderCapabilities, SpeechChunk
from voice_gateway.domain.voice_match import likeness
from voice_gateway.domain.voices import Gender, Voice, all_names
from voice_gateway.providers.cloud import (
    STALL_SECONDS,
    Pcm16,
    Threads,
    VoiceList,
    applied,
    check_pace,
    field,
    unless,
    voice_for,
    within,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from google.cloud.texttospeech_v1 import TextToSpeechAsyncClient

    from voice_gateway.domain.speech import SpeechRequest
    from voice_gateway.ports import SpeechProvider, VendorCredentials
    from voice_gateway.providers.registry import Deployment

NAME: Final = "google"
_SPOKEN: Final = (
    "af am ar bg bn ca cmn cs da de el en es et eu fi fil fr gl gu he hi hr hu id is it ja jv kn "
    "ko lt lv ml mr ms nb nl pa pl pt ro ru sk sl sr sv sw ta te th tr uk ur vi yue"
)
LANGUAGES: Final = all_names(_SPOKEN.split())
_RATE: Final = 24_000
_SPEED: Final = (0.25, 2.0)
_PITCH: Final = (-20.0, 20.0)
"""Semitones."""
_HOST: Final = "texttospeech.googleapis.com"
_STREAMING_CLASS: Final = "chirp3-hd"
_CLASSES: Final = (
    "chirp3-hd",
    "chirp-hd",
    "studio",
    "neural2",
    "polyglot",
    "news",
    "casual",
    "wavenet",
    "standard",
)
"""As the second half of a voice's name begins, lower case; the longer of two that fit first."""
_GOOD: Final = ("chirp3-hd", "neural2", "wavenet", "standard")
_CHEAP: Final = ("neural2", "wavenet", "standard", "chirp3-hd")
_REASONS: Final[Mapping[str, FailureReason]] = {
    "UNAUTHENTICATED": FailureReason.AUTH,
    "PERMISSION_DENIED": FailureReason.AUTH,
    "RESOURCE_EXHAUSTED": FailureReason.QUOTA,
    "DEADLINE_EXCEEDED": FailureReason.TIMEOUT,
}
"""By gRPC status; every other one is `unavailable`."""


def offer(deployment: Deployment) -> Callable[[], SpeechProvider] | None:
    """Returns what makes the provider; None without credentials. With wrong ones it fails."""
    credentials = deployment.credentials(NAME)
    return None if credentials is None else partial(GoogleProvider, credentials)


class GoogleProvider:
    """Speaks a call a sentence, on one channel a process.

    Texts are sent as plain text, never as SSML: Google obeys nothing that stands in them.
    """

    def __init__(
        self, credentials: VendorCredentials, *, stall_seconds: float = STALL_SECONDS
    ) -> None:
        """Connects to nobody yet.

        Args:
            credentials: `api_key`, with `endpoint` (`host:port`, without TLS) for a local server;
                or the fields of a service account's key file.
            stall_seconds: How long the service may say nothing.
        """
        self._credentials = credentials
        self._stall_seconds = stall_seconds
        self._list = VoiceList(self._fetch_voices)
        self._threads = Threads(NAME)
        self._client: TextToSpeechAsyncClient | None = None
        self._account: Mapping[str, object] = {}

    @property
    def name(self) -> str:
        """The registered name."""
        return NAME

    @property
    def capabilities(self) -> ProviderCapabilities:
        """What the service can do."""
        return ProviderCapabilities(
            languages=LANGUAGES,
            pitch=True,
            usd_per_million_characters=usd_per_million(NAME, _STREAMING_CLASS),
            price_of_voice=lambda voice: usd_per_million(NAME, _class_of(voice)),
        )

    async def warm_up(self) -> None:
        """Nothing: the SDK is imported when somebody is to be spoken to."""

    async def aclose(self) -> None:
        """Closes the channel."""
        if self._client is not None:
            await self._client.transport.close()  # type: ignore[no-untyped-call]
            self._client = None

    async def voices(self) -> tuple[Voice, ...]:
        """Lists the service's voices.

        Raises:
            ProviderError: They could not be fetched.
        """
        return await self._list.get()

    async def voice_for(self, request: SpeechRequest) -> Voice:
        """Tells who would speak a request.

        Raises:
            ProviderError: Nobody, or nobody can tell.
        """
        return voice_for(NAME, await self._list.get(), request, _classes(request.quality))

    async def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        """Speaks sentence by sentence; closing the generator cancels the call.

        Raises:
            ProviderError: The service refused, broke off or said nothing.
        """
        voice = await self.voice_for(request)
        speed = applied(request, voice, "speed", *_SPEED)
        pitch = applied(request, voice, "pitch", *_PITCH)
        client = await self._connected()
        plain = SpeechChunk(
            samples=np.zeros(0, dtype=np.float32),
            sample_rate=_RATE,
            sentence=0,
            last=False,
            provider=NAME,
            voice=voice.name,
            speed=unless(request.speed, speed),
            pitch=unless(request.pitch, pitch),
            match=likeness(request.wanted, request.language, voice),
        )
        for index, sentence in enumerate(request.sentences):
            pcm, rate = Pcm16(NAME), _RATE
            async for data, rate in self._audio(client, sentence, voice, speed, pitch):
                if (samples := pcm.push(data)).size:
                    yield replace(plain, samples=samples, sample_rate=rate, sentence=index)
            pcm.finish()
            if voice.streaming:  # samples without a header: nothing else tells their rate
                check_pace(NAME, pcm.samples / rate, sentence, speed)
            yield replace(plain, sample_rate=rate, sentence=index, last=True)

    async def _audio(
        self,
        client: TextToSpeechAsyncClient,
        sentence: str,
        voice: Voice,
        speed: float,
        pitch: float,
    ) -> AsyncGenerator[tuple[bytes, int]]:
        """Yields a sentence's samples as bytes, with their rate."""
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError

        options: dict[str, Any] = {"metadata": self._metadata(), "retry": None, "timeout": None}
        stream: Any = None
        try:
            if not voice.streaming:
                asked = _whole(sentence, voice, speed, pitch)
                answering = client.synthesize_speech(asked, **options)
                answer = await within(NAME, self._stall_seconds, answering)
                yield _from_wav(answer.audio_content)
                return
            parts = _in_parts(sentence, voice, speed)
            stream = await client.streaming_synthesize(parts, **options)
            pieces = aiter(stream)
            while piece := await within(NAME, self._stall_seconds, anext(pieces, None)):
                yield piece.audio_content, _RATE
        except GoogleAPICallError as error:
            raise _failure(error) from None
        except GoogleAuthError as error:
            detail = f"it takes none of our credentials ({type(error).__name__})"
            raise ProviderError(NAME, FailureReason.AUTH, detail) from None
        finally:
            if stream is not None:
                stream.cancel()

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        key = self._account.get("api_key")
        return (("x-goog-api-key", key),) if isinstance(key, str) else ()

    async def _connected(self) -> TextToSpeechAsyncClient:
        account = await self._credentials.read()
        if self._client is None or account != self._account:
            await self.aclose()
            # The import takes a second; the client itself belongs to the loop.
            await self._threads.run(import_module, "google.cloud.texttospeech_v1")
            self._client, self._account = _client(account), account
        return self._client

    async def _fetch_voices(self) -> tuple[Voice, ...]:
        client = await self._connected()
        from google.api_core.exceptions import GoogleAPICallError

        listing = client.list_voices(metadata=self._metadata(), retry=None, timeout=None)
        try:
            answer = await within(NAME, self._stall_seconds, listing)
        except GoogleAPICallError as error:
            raise _failure(error) from None
        return tuple(map(_voice, answer.voices))


def _client(account: Mapping[str, object]) -> TextToSpeechAsyncClient:
    import grpc.aio
    from google.cloud.texttospeech_v1 import TextToSpeechAsyncClient
    from google.cloud.texttospeech_v1.services.text_to_speech.transports import (
        TextToSpeechGrpcAsyncIOTransport,
    )

    if "private_key" in account:
        from google.oauth2.service_account import Credentials

        try:
            signer = Credentials.from_service_account_info(account)  # type: ignore[no-untyped-call]
        except ValueError:
            # Its words may quote the key.
            detail = "its credentials are no service account's"
            raise ProviderError(NAME, FailureReason.AUTH, detail) from None
        return TextToSpeechAsyncClient(credentials=signer)
    field(NAME, account, "api_key")
    if "endpoint" in account:
        channel = grpc.aio.insecure_channel(field(NAME, account, "endpoint"))
    else:
        channel = grpc.aio.secure_channel(_HOST, grpc.ssl_channel_credentials())
    return TextToSpeechAsyncClient(transport=TextToSpeechGrpcAsyncIOTransport(channel=channel))


def _voice(found: Any) -> Voice:
    from google.cloud.texttospeech_v1 import SsmlVoiceGender

    genders = {
        SsmlVoiceGender.FEMALE: Gender.FEMALE,
        SsmlVoiceGender.MALE: Gender.MALE,
        SsmlVoiceGender.NEUTRAL: Gender.NEUTRAL,
    }
    streams = _class_of(found.name) == _STREAMING_CLASS
    return Voice(
        provider=NAME,
        name=found.name,
        languages=tuple(found.language_codes),
        gender=genders.get(found.ssml_gender),
        voice_class=_class_of(found.name),
        sample_rate=found.natural_sample_rate_hertz,
        streaming=streams,
        # The service refuses a pitch for a Chirp voice.
        controls=frozenset({"speed"} if "chirp" in _class_of(found.name) else {"speed", "pitch"}),
    )


def _class_of(voice: str) -> str:
    """The kind that a name tells: `chirp3-hd` of `en-US-Chirp3-HD-Kore`."""
    kind = voice.lower().split("-", 2)[-1]
    return next((known for known in _CLASSES if kind.startswith(known)), kind.partition("-")[0])


def _classes(quality: Quality) -> tuple[str, ...]:
    return _CHEAP if quality is Quality.MEDIUM else _GOOD


def _whole(sentence: str, voice: Voice, speed: float, pitch: float) -> Any:
    from google.cloud import texttospeech_v1 as tts

    return tts.SynthesizeSpeechRequest(
        input=tts.SynthesisInput(text=sentence),
        voice=tts.VoiceSelectionParams(language_code=voice.languages[0], name=voice.name),
        audio_config=tts.AudioConfig(
            audio_encoding=tts.AudioEncoding.LINEAR16,
            sample_rate_hertz=_RATE,
            speaking_rate=speed,
            pitch=pitch,
        ),
    )


async def _in_parts(sentence: str, voice: Voice, speed: float) -> AsyncGenerator[Any]:
    from google.cloud import texttospeech_v1 as tts

    yield tts.StreamingSynthesizeRequest(
        streaming_config=tts.StreamingSynthesizeConfig(
            voice=tts.VoiceSelectionParams(language_code=voice.languages[0], name=voice.name),
            streaming_audio_config=tts.StreamingAudioConfig(
                audio_encoding=tts.AudioEncoding.PCM,
                sample_rate_hertz=_RATE,
                speaking_rate=speed,
            ),
        )
    )
    yield tts.StreamingSynthesizeRequest(input=tts.StreamingSynthesisInput(text=sentence))


def _from_wav(content: bytes) -> tuple[bytes, int]:
    """The samples and their rate, as the header has it: it need not be the one asked for."""
    if not content:
        return b"", _RATE
    try:
        with wave.open(io.BytesIO(content)) as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                raise wave.Error
            return file.readframes(file.getnframes()), file.getframerate()
    except (wave.Error, EOFError):
        detail = "its audio is no 16-bit mono WAV"
        raise ProviderError(NAME, FailureReason.BAD_AUDIO, detail) from None


def _failure(error: Any) -> ProviderError:
    from google.rpc.error_details_pb2 import RetryInfo

    status = error.grpc_status_code.name if error.grpc_status_code is not None else "UNKNOWN"
    waits = [d.retry_delay.ToTimedelta() for d in error.details if isinstance(d, RetryInfo)]
    return ProviderError(
        NAME,
        _REASONS.get(status, FailureReason.UNAVAILABLE),
        # Its own words may quote the request: the status is enough.
        f"the service did not speak ({status})",
        retry_after_seconds=waits[0].total_seconds() if waits else None,
        of_request=status in ("INVALID_ARGUMENT", "OUT_OF_RANGE", "NOT_FOUND"),
    )
