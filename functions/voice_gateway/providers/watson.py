"""IBM Watson Text to Speech: a WebSocket a sentence, signed in by IBM's SDK."""

from __future__ import annotations

import json
import math
import re
import socket
import threading
import warnings
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from voice_gateway.domain.chain import Quality
from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.prices import usd_per_million
from voice_gateway.domain.speech import ProviderCapabilities, SpeechChunk, WordTiming
from voice_gateway.domain.voice_match import likeness
from voice_gateway.domain.voices import Gender, Voice, all_names
from voice_gateway.providers.cloud import (
    STALL_SECONDS,
    Pcm16,
    Threads,
    VoiceList,
    applied,
    check_length,
    field,
    in_markup,
    unless,
    voice_for,
    within,
)
from voice_gateway.providers.pipe import Pipe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from ibm_cloud_sdk_core import ApiException
    from ibm_watson import TextToSpeechV1

    from voice_gateway.domain.speech import SpeechRequest
    from voice_gateway.ports import SpeechProvider, VendorCredentials
    from voice_gateway.providers.registry import Deployment

NAME: Final = "watson"
LANGUAGES: Final = all_names(("de", "en", "es", "fr", "it", "ja", "ko", "nl", "pt"))
_RATE: Final = 22_050
_ACCEPT: Final = f"audio/l16;rate={_RATE};endianness=little-endian"
_DECLARED_RATE: Final = re.compile(r"rate=(\d{4,6})")
_SPEED: Final = (0.5, 2.0)
_PITCH: Final = (-12.0, 12.0)
"""Semitones."""
_CONNECT_SECONDS: Final = 5.0
_IDENTITY: Final = "https://iam.cloud.ibm.com"
_CLASSES: Final = ("natural", "expressive", "neural")
_REASONS: Final[Mapping[int, FailureReason]] = {
    401: FailureReason.AUTH,
    403: FailureReason.AUTH,
    429: FailureReason.QUOTA,
    408: FailureReason.TIMEOUT,
    504: FailureReason.TIMEOUT,
}
"""By HTTP status; every other one is `unavailable`."""


def offer(deployment: Deployment) -> Callable[[], SpeechProvider] | None:
    """Returns what makes the provider; None without credentials. With wrong ones it fails."""
    credentials = deployment.credentials(NAME)
    return None if credentials is None else partial(WatsonProvider, credentials)


class WatsonProvider:
    """Speaks a connection a sentence, as the service wants it.

    The SDK's own WebSocket call cannot be cancelled and does not check the server's certificate, so
    only tokens and voices come by the SDK.
    """

    def __init__(
        self, credentials: VendorCredentials, *, stall_seconds: float = STALL_SECONDS
    ) -> None:
        """Connects to nobody yet.

        Args:
            credentials: `api_key` and `url`, as IBM hands them out; `identity_url` where tokens
                come from elsewhere.
            stall_seconds: How long the service may say nothing.
        """
        self._credentials = credentials
        self._stall_seconds = stall_seconds
        self._list = VoiceList(self._fetch_voices)
        self._threads = Threads(NAME)
        self._client: TextToSpeechV1 | None = None
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
            usd_per_million_characters=usd_per_million(NAME, "neural"),
            price_of_voice=lambda voice: usd_per_million(NAME, _class_of(voice)),
        )

    async def warm_up(self) -> None:
        """Nothing: the SDK is imported when somebody is to be spoken to."""

    async def aclose(self) -> None:
        """Closes what is kept open, and forgets the token."""
        if self._client is not None:
            self._client.http_client.close()
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
        """Speaks sentence by sentence, each in pieces; closing the generator hangs up.

        Raises:
            ProviderError: The service refused, broke off or said nothing.
        """
        voice = await self.voice_for(request)
        speed = applied(request, voice, "speed", *_SPEED)
        pitch = applied(request, voice, "pitch", *_PITCH)
        client = await self._connected()
        for index, sentence in enumerate(request.sentences):
            connection = _Connection(client, _query(voice, speed, pitch), in_markup(sentence))
            try:
                async for chunk in self._turn(connection, index, voice.name):
                    yield replace(
                        chunk,
                        speed=unless(request.speed, speed),
                        pitch=unless(request.pitch, pitch),
                        match=likeness(request.wanted, request.language, voice),
                    )
            finally:
                connection.hang_up()

    async def _turn(
        self, connection: _Connection, sentence: int, voice: str
    ) -> AsyncGenerator[SpeechChunk]:
        pcm, rate = Pcm16(NAME), _RATE
        words, untold = list[WordTiming](), list[WordTiming]()
        last = False
        while not last:
            item = await within(NAME, self._stall_seconds, connection.pipe.get())
            if isinstance(item, ProviderError):
                raise item
            if isinstance(item, dict):
                rate = _declared_rate(item) or rate
                told = [WordTiming(*word) for word in item.get("words", ())]
                words += told
                untold += told
                continue
            last = item is None
            if last:
                pcm.finish()
                check_length(NAME, pcm.samples / rate, words)
            samples = pcm.push(item or b"")
            if samples.size or last:
                yield SpeechChunk(
                    samples=samples,
                    sample_rate=rate,
                    sentence=sentence,
                    last=last,
                    provider=NAME,
                    voice=voice,
                    words=tuple(untold),
                )
                untold.clear()

    async def _connected(self) -> TextToSpeechV1:
        account = await self._credentials.read()
        if self._client is None or account != self._account:
            await self.aclose()
            self._client, self._account = await self._threads.run(_client, account), account
        return self._client

    async def _fetch_voices(self) -> tuple[Voice, ...]:
        client = await self._connected()
        return await within(NAME, self._stall_seconds, self._threads.run(_listed, client))


class _RefusedError(Exception):
    """The service said that it will not speak; in what words is not passed on."""


class _Connection:
    """One sentence on one WebSocket, read by a thread of its own.

    Through the pipe come dicts (what the service says), bytes (audio), None (the end) and, in the
    place of all that, an error.
    """

    def __init__(self, client: TextToSpeechV1, query: str, text: str) -> None:
        from websocket import WebSocket

        self.pipe: Pipe[bytes | dict[str, Any] | ProviderError | None] = Pipe()
        self._client = client
        self._query = query
        self._text = text
        self._socket = WebSocket(enable_multithread=True)
        threading.Thread(target=self._listen, name="watson", daemon=True).start()

    def hang_up(self) -> None:
        """Ends the connection at once, and with it the thread."""
        self.pipe.close()
        if (opened := self._socket.sock) is not None:
            # It may have ended by itself this very moment.
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        from ibm_cloud_sdk_core import ApiException
        from requests import RequestException
        from websocket import WebSocketBadStatusException, WebSocketException

        try:
            self._speak()
        except WebSocketBadStatusException as error:
            self.pipe.put(_failure(error.status_code, error.resp_headers))
        except ApiException as error:
            self.pipe.put(_refused(error))
        except _RefusedError:
            detail = "the service refused the sentence"
            self.pipe.put(ProviderError(NAME, FailureReason.UNAVAILABLE, detail, of_request=True))
        except (WebSocketException, RequestException, OSError, ValueError) as error:
            # Its own words may quote the request: its kind is enough.
            detail = f"the connection broke ({type(error).__name__})"
            self.pipe.put(ProviderError(NAME, FailureReason.UNAVAILABLE, detail))
        finally:
            self._socket.shutdown()  # type: ignore[no-untyped-call]

    def _speak(self) -> None:
        from websocket import ABNF

        signed: dict[str, Any] = {"headers": {}}
        self._client.authenticator.authenticate(signed)
        url = re.sub("^http", "ws", self._client.service_url)
        self._socket.settimeout(_CONNECT_SECONDS)
        self._socket.connect(  # type: ignore[no-untyped-call]
            f"{url}/v1/synthesize?{self._query}", header=signed["headers"], suppress_origin=True
        )
        # From here on, whoever listens is the one who loses patience.
        self._socket.settimeout(None)
        asked = {"text": self._text, "accept": _ACCEPT, "timings": ["words"]}
        self._socket.send(json.dumps(asked))
        while True:
            kind, data = self._socket.recv_data()
            if kind == ABNF.OPCODE_CLOSE:
                self.pipe.put(None)
                return
            if kind == ABNF.OPCODE_BINARY:
                wanted = self.pipe.put(data)
            else:
                said = json.loads(data)
                if "error" in said:
                    raise _RefusedError
                wanted = self.pipe.put(said)
            if not wanted:
                return


def _client(account: Mapping[str, object]) -> TextToSpeechV1:
    with warnings.catch_warnings():
        # The SDK's other modules have escapes that newer Pythons warn of.
        warnings.simplefilter("ignore")
        from ibm_watson import TextToSpeechV1
    from ibm_cloud_sdk_core.authenticators import IAMAuthenticator

    identity = field(NAME, account, "identity_url", _IDENTITY)
    authenticator = IAMAuthenticator(field(NAME, account, "api_key"), url=identity)
    authenticator.token_manager.http_config = {"timeout": _CONNECT_SECONDS}
    client = TextToSpeechV1(authenticator=authenticator)
    client.set_service_url(field(NAME, account, "url").rstrip("/"))
    client.set_http_config({"timeout": _CONNECT_SECONDS})
    return client


def _listed(client: TextToSpeechV1) -> tuple[Voice, ...]:
    from ibm_cloud_sdk_core import ApiException
    from requests import RequestException

    try:
        found = client.list_voices().get_result()["voices"]
    except ApiException as error:
        raise _refused(error) from None
    except RequestException as error:
        detail = f"its voices cannot be listed ({type(error).__name__})"
        raise ProviderError(NAME, FailureReason.UNAVAILABLE, detail) from None
    genders = {"female": Gender.FEMALE, "male": Gender.MALE}
    return tuple(
        Voice(
            provider=NAME,
            name=voice["name"],
            languages=(voice["language"],),
            gender=genders.get(voice["gender"]),
            voice_class=_class_of(voice["name"]),
            sample_rate=_RATE,
            streaming=True,
        )
        for voice in found
    )


def _class_of(voice: str) -> str:
    """`expressive` of `en-US_EmmaExpressive`; `V3Voice` is the plain neural kind."""
    return next((known for known in _CLASSES if voice.lower().endswith(known)), "neural")


def _classes(quality: Quality) -> tuple[str, ...]:
    best_first = quality in (Quality.HIGHEST, Quality.HIGH)
    return _CLASSES if best_first else tuple(reversed(_CLASSES))


def _query(voice: Voice, speed: float, pitch: float) -> str:
    asked: dict[str, str | int] = {"voice": voice.name}
    if speed != 1:
        asked["rate_percentage"] = round((speed - 1) * 100)
    if pitch:
        asked["pitch_percentage"] = round((math.exp2(pitch / 12) - 1) * 100)
    return urlencode(asked)


def _declared_rate(said: Mapping[str, Any]) -> int | None:
    streams: list[Mapping[str, str]] = said.get("binary_streams", [])
    kinds = (_DECLARED_RATE.search(stream.get("content_type", "")) for stream in streams)
    return next((int(found[1]) for found in kinds if found), None)


def _refused(error: ApiException) -> ProviderError:
    """Of the SDK's HTTP calls, which sign in first."""
    headers = error.http_response.headers if error.http_response is not None else None
    # IBM's identity service says 400 of a key that it does not know.
    return _failure(401 if error.status_code == 400 else error.status_code, headers)


def _failure(status: int, headers: Mapping[str, str] | None) -> ProviderError:
    told = {name.lower(): value for name, value in (headers or {}).items()}.get("retry-after", "")
    return ProviderError(
        NAME,
        _REASONS.get(status, FailureReason.UNAVAILABLE),
        f"the service did not speak ({status})",
        retry_after_seconds=float(told) if told.isdecimal() else None,
        of_request=status in (400, 404, 406, 413, 415),
    )
