"""Azure's neural voices, by Microsoft's Speech SDK: audio as it comes, with the words' times."""

from __future__ import annotations

import time
import unicodedata
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

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
    in_quotes,
    unless,
    voice_for,
    within,
)
from voice_gateway.providers.pipe import Pipe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from voice_gateway.domain.speech import SpeechRequest
    from voice_gateway.ports import SpeechProvider, VendorCredentials
    from voice_gateway.providers.registry import Deployment

NAME: Final = "azure"
_SPOKEN: Final = (
    "af am ar as az bg bn bs ca cs cy da de el en es et eu fa fi fil fr ga gl gu he hi hr hu hy id "
    "is it iu ja jv ka kk km kn ko lo lt lv mk ml mn mr ms mt my nb ne nl or pa pl ps pt ro ru si "
    "sk sl so sq sr su sv sw ta te th tr uk ur uz vi wuu yue zh zu"
)
LANGUAGES: Final = all_names(_SPOKEN.split())
_RATE: Final = 24_000
_SPEED: Final = (0.5, 2.0)
_PITCH: Final = (-12.0, 7.0)
"""Semitones: the service takes half to one and a half times the voice's own pitch."""
_END_OF_PROSODY: Final = "</prosody>"
_TICKS_A_SECOND: Final = 10_000_000
_IDLE_SECONDS: Final = 60.0
"""How long a connection may wait for its next request; the service ends it after minutes."""
_IDLE_LINES: Final = 4
_REASONS: Final[Mapping[str, FailureReason]] = {
    "AuthenticationFailure": FailureReason.AUTH,
    "Forbidden": FailureReason.AUTH,
    "TooManyRequests": FailureReason.QUOTA,
    "ServiceTimeout": FailureReason.TIMEOUT,
}
"""By the SDK's name of the error; every other one is `unavailable`."""


@dataclass(frozen=True, slots=True)
class _End:
    """Of a sentence; with the SDK's name of the error, unless all went well."""

    error: str | None = None


def offer(deployment: Deployment) -> Callable[[], SpeechProvider] | None:
    """Returns what makes the provider; None without credentials. With wrong ones it fails."""
    credentials = deployment.credentials(NAME)
    return None if credentials is None else partial(AzureProvider, credentials)


class AzureProvider:
    """Speaks a sentence a turn, all turns of a request on one connection."""

    def __init__(
        self, credentials: VendorCredentials, *, stall_seconds: float = STALL_SECONDS
    ) -> None:
        """Connects to nobody yet.

        Args:
            credentials: `key`, and `region` or (for a private or a local one) `endpoint`.
            stall_seconds: How long the service may say nothing.
        """
        self._credentials = credentials
        self._stall_seconds = stall_seconds
        self._list = VoiceList(self._fetch_voices)
        self._idle: list[_Line] = []
        self._threads = Threads(NAME)

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
            billed_characters=billed_characters,
            billed_markup=billed_markup,
        )

    async def warm_up(self) -> None:
        """Nothing: the SDK is imported when somebody is to be spoken to."""

    async def aclose(self) -> None:
        """Ends the connections that wait."""
        while self._idle:
            await self._threads.run(self._idle.pop().hang_up)

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
        """Speaks sentence by sentence, each in pieces; closing the generator stops the service.

        Raises:
            ProviderError: The service refused, broke off or said nothing.
        """
        account = await self._credentials.read()
        voice = await self.voice_for(request)
        speed = applied(request, voice, "speed", *_SPEED)
        pitch = applied(request, voice, "pitch", *_PITCH)
        line = self._take_idle(account)
        if line is None:
            line = await self._threads.run(_Line, account)
        spoken = False
        try:
            for index, sentence in enumerate(request.sentences):
                ssml = _ssml(sentence, voice, speed, pitch)
                async for chunk in self._turn(line, ssml, index, voice.name):
                    yield replace(
                        chunk,
                        speed=unless(request.speed, speed),
                        pitch=unless(request.pitch, pitch),
                        match=likeness(request.wanted, request.language, voice),
                    )
            spoken = True
        finally:
            if spoken and len(self._idle) < _IDLE_LINES:
                line.idle_since = time.monotonic()
                self._idle.append(line)
            else:
                self._let_go(line)

    async def _turn(
        self, line: _Line, ssml: str, sentence: int, voice: str
    ) -> AsyncGenerator[SpeechChunk]:
        pcm, words, untold = Pcm16(NAME), list[WordTiming](), list[WordTiming]()
        pipe = line.speak(ssml)
        while True:
            item = await within(NAME, self._stall_seconds, pipe.get())
            if isinstance(item, WordTiming):
                words.append(item)
                untold.append(item)
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise _failure(item.error)
                pcm.finish()
                check_length(NAME, pcm.samples / _RATE, words)
            samples = pcm.push(item if isinstance(item, bytes) else b"")
            last = isinstance(item, _End)
            if samples.size or last:
                yield SpeechChunk(
                    samples=samples,
                    sample_rate=_RATE,
                    sentence=sentence,
                    last=last,
                    provider=NAME,
                    voice=voice,
                    words=tuple(untold),
                )
                untold.clear()
            if last:
                return

    def _take_idle(self, account: Mapping[str, object]) -> _Line | None:
        while self._idle:
            line = self._idle.pop()
            fresh = time.monotonic() - line.idle_since < _IDLE_SECONDS
            if fresh and line.account == account:
                return line
            self._let_go(line)
        return None

    def _let_go(self, line: _Line) -> None:
        """Stops what is being said; the farewell takes its time, in a thread."""
        line.listen_no_more()
        self._threads.leave(line.hang_up)

    async def _fetch_voices(self) -> tuple[Voice, ...]:
        account = await self._credentials.read()
        listed = self._threads.run(_listed, account)
        return await within(NAME, self._stall_seconds, listed)


class _Line:
    """One synthesizer of the SDK, which is one connection: one sentence at a time.

    The SDK calls back from threads of its own; what they bring goes through a pipe.
    """

    def __init__(self, account: Mapping[str, object]) -> None:
        import azure.cognitiveservices.speech as sdk

        self.account = account
        self.idle_since = 0.0
        self._pipe: Pipe[bytes | WordTiming | _End] | None = None
        self._turn: Any = None
        config = _config(account)
        config.set_speech_synthesis_output_format(
            sdk.SpeechSynthesisOutputFormat.Raw24Khz16BitMonoPcm
        )
        self._synthesizer: Any = sdk.SpeechSynthesizer(speech_config=config, audio_config=None)
        self._synthesizer.synthesizing.connect(lambda event: self._put(event.result.audio_data))
        self._synthesizer.synthesis_word_boundary.connect(self._word)
        self._synthesizer.synthesis_completed.connect(lambda _: self._put(_End()))
        self._synthesizer.synthesis_canceled.connect(
            lambda event: self._put(_End(event.result.cancellation_details.error_code.name))
        )

    def speak(self, ssml: str) -> Pipe[bytes | WordTiming | _End]:
        """Begins a sentence; its audio, word times and end come through the pipe."""
        self._end_turn()
        self._pipe = Pipe()
        self._turn = self._synthesizer.speak_ssml_async(ssml)
        return self._pipe

    def listen_no_more(self) -> None:
        """Drops what is still to come of the sentence."""
        if self._pipe is not None:
            self._pipe.close()

    def hang_up(self) -> None:
        """Ends the connection, and with it the SDK's threads."""
        self._synthesizer.stop_speaking_async().get()
        self._end_turn()
        self._synthesizer = None

    def _end_turn(self) -> None:
        """Takes the result that the SDK keeps: only then does it free its threads and audio."""
        if self._turn is not None:
            self._turn.get()
            self._turn = None

    def _word(self, event: Any) -> None:
        start = event.audio_offset / _TICKS_A_SECOND
        self._put(WordTiming(event.text, start, start + event.duration.total_seconds()))

    def _put(self, item: bytes | WordTiming | _End) -> None:
        if self._pipe is not None:
            self._pipe.put(item)


def billed_characters(text: str) -> int:
    """What Azure counts of a sentence: it as it is sent; Chinese characters, kanji, hanja twice."""
    return len(in_markup(text)) + sum("CJK UNIFIED" in unicodedata.name(c, "") for c in text)


def billed_markup(request: SpeechRequest, voice: str | None) -> int:
    """What Azure counts beside each sentence: all markup but `speak` and `voice`."""
    if voice is not None and _is_hd(voice):
        return 0
    change = _prosody(_within(request.speed, _SPEED), _within(request.pitch, _PITCH))
    return len(change + _END_OF_PROSODY) if change else 0


def _config(account: Mapping[str, object]) -> Any:
    import azure.cognitiveservices.speech as sdk

    key = field(NAME, account, "key")
    if "endpoint" in account:
        return sdk.SpeechConfig(subscription=key, host=field(NAME, account, "endpoint"))
    return sdk.SpeechConfig(subscription=key, region=field(NAME, account, "region"))


def _listed(account: Mapping[str, object]) -> tuple[Voice, ...]:
    import azure.cognitiveservices.speech as sdk

    synthesizer = sdk.SpeechSynthesizer(speech_config=_config(account), audio_config=None)
    result = synthesizer.get_voices_async().get()
    if result.reason is not sdk.ResultReason.VoicesListRetrieved:
        raise _list_failure(result.error_details)
    genders = {
        sdk.SynthesisVoiceGender.Female: Gender.FEMALE,
        sdk.SynthesisVoiceGender.Male: Gender.MALE,
        sdk.SynthesisVoiceGender.Neutral: Gender.NEUTRAL,
    }
    return tuple(
        Voice(
            provider=NAME,
            name=found.short_name,
            languages=(found.locale,),
            gender=genders.get(found.gender),
            voice_class=_class_of(found.short_name),
            sample_rate=_RATE,
            streaming=True,
            controls=frozenset() if _is_hd(found.short_name) else frozenset({"speed", "pitch"}),
            styles=tuple(style for style in found.style_list if style),
        )
        for found in result.voices
    )


def _is_hd(voice: str) -> bool:
    return "HD" in voice.partition(":")[2]


def _class_of(voice: str) -> str:
    return "neural-hd" if _is_hd(voice) else "neural"


def _classes(quality: Quality) -> tuple[str, ...]:
    return ("neural-hd", "neural") if quality is Quality.HIGHEST else ("neural", "neural-hd")


def _ssml(sentence: str, voice: Voice, speed: float, pitch: float) -> str:
    text = in_markup(sentence)
    if change := _prosody(speed, pitch):
        text = change + text + _END_OF_PROSODY
    return (
        '<speak version="1.0" xmlns="http://www.w3.org/2001/10/synthesis" '
        f'xml:lang="{in_quotes(voice.languages[0])}">'
        f'<voice name="{in_quotes(voice.name)}">{text}</voice></speak>'
    )


def _prosody(speed: float, pitch: float) -> str:
    """The tag that asks for speed and pitch; empty where both are the voice's own."""
    change = f' rate="{(speed - 1) * 100:+.1f}%"' if speed != 1 else ""
    change += f' pitch="{pitch:+.2f}st"' if pitch else ""
    return f"<prosody{change}>" if change else ""


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])


def _failure(error: str) -> ProviderError:
    # The SDK's own words hold the endpoint, and may quote the request: its code is enough.
    return ProviderError(
        NAME,
        _REASONS.get(error, FailureReason.UNAVAILABLE),
        f"the service did not speak ({error})",
        of_request=error == "BadRequest",
    )


def _list_failure(words: str) -> ProviderError:
    """The list comes without an error code: the status is somewhere in its words."""
    status = next((code for code in ("401", "403", "429") if f"({code})" in words), None)
    reason = {"401": FailureReason.AUTH, "403": FailureReason.AUTH, "429": FailureReason.QUOTA}
    return ProviderError(
        NAME,
        reason.get(status or "", FailureReason.UNAVAILABLE),
        f"its voices cannot be listed ({status or 'no answer'})",
    )
