"""Google Cloud Text-to-Speech: its gRPC service, spoken with the SDK's own messages."""

from __future__ import annotations

import asyncio
import io
import wave
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.cloud import texttospeech_v1 as tts
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from layout import VENDORS_KEY
from vendors.orders import Fault
from vendors.performing import CutError, audio_of, pieces_of, rate_of
from vendors.voices import GOOGLE, LocalVoice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from vendors.orders import Call, Order, Orders

RATE: Final = 24_000
_SERVICE: Final = "google.cloud.texttospeech.v1.TextToSpeech"
_CODES: Final = {
    Fault.UNAUTHORIZED: code_pb2.UNAUTHENTICATED,
    Fault.FORBIDDEN: code_pb2.PERMISSION_DENIED,
    Fault.QUOTA: code_pb2.RESOURCE_EXHAUSTED,
    Fault.ERROR: code_pb2.INTERNAL,
    Fault.UNAVAILABLE: code_pb2.UNAVAILABLE,
}
_BY_NAME: Final = {voice.name: voice for voice in GOOGLE}


class GoogleServer:
    """Serves without TLS; knows its callers by their API key."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def handler(self) -> grpc.GenericRpcHandler:
        """The service."""
        return grpc.method_handlers_generic_handler(
            _SERVICE,
            {
                "ListVoices": grpc.unary_unary_rpc_method_handler(
                    self._voices,
                    request_deserializer=tts.ListVoicesRequest.deserialize,
                    response_serializer=tts.ListVoicesResponse.serialize,
                ),
                "SynthesizeSpeech": grpc.unary_unary_rpc_method_handler(
                    self._whole,
                    request_deserializer=tts.SynthesizeSpeechRequest.deserialize,
                    response_serializer=tts.SynthesizeSpeechResponse.serialize,
                ),
                "StreamingSynthesize": grpc.stream_stream_rpc_method_handler(
                    self._streamed,
                    request_deserializer=tts.StreamingSynthesizeRequest.deserialize,
                    response_serializer=tts.StreamingSynthesizeResponse.serialize,
                ),
            },
        )

    async def _voices(
        self, _: tts.ListVoicesRequest, context: grpc.aio.ServicerContext
    ) -> tts.ListVoicesResponse:
        call, order = self._orders.begin("google", "voices")
        await self._admit(call, order, context)
        call.outcome = "whole"
        genders = tts.SsmlVoiceGender
        return tts.ListVoicesResponse(
            voices=[
                tts.Voice(
                    name=voice.name,
                    language_codes=[voice.locale],
                    ssml_gender=genders.FEMALE if voice.female else genders.MALE,
                    natural_sample_rate_hertz=RATE,
                )
                for voice in GOOGLE
            ]
        )

    async def _whole(
        self, request: tts.SynthesizeSpeechRequest, context: grpc.aio.ServicerContext
    ) -> tts.SynthesizeSpeechResponse:
        config = request.audio_config
        settings = {
            "speed": config.speaking_rate or 1.0,
            "pitch": config.pitch,
            "ssml": bool(request.input.ssml),
        }
        call, order = self._orders.begin(
            "google", text=request.input.text, voice=request.voice.name, settings=settings
        )
        voice = await self._known(call, order, request.voice, context)
        if "Chirp" in voice.name and config.pitch:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no pitch for this voice")
        audio = await self._audio(call, order, voice)
        try:
            pieces = [piece async for piece in pieces_of(audio, RATE, self._orders, call, order)]
        except CutError:
            call.outcome = "cut"
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        except asyncio.CancelledError:
            call.outcome = "left"
            raise
        call.outcome = "whole"
        garbage = order is not None and order.fault is Fault.GARBAGE
        content = b"".join(pieces)
        if content and not garbage:
            content = _wav(content, rate_of(order, RATE))
        return tts.SynthesizeSpeechResponse(audio_content=content)

    async def _streamed(
        self,
        requests: AsyncIterator[tts.StreamingSynthesizeRequest],
        context: grpc.aio.ServicerContext,
    ) -> AsyncGenerator[tts.StreamingSynthesizeResponse]:
        config = (await anext(requests)).streaming_config
        text = "".join([request.input.text async for request in requests])
        settings = {"speed": config.streaming_audio_config.speaking_rate or 1.0, "pitch": 0.0}
        call, order = self._orders.begin(
            "google", text=text, voice=config.voice.name, settings=settings
        )
        voice = await self._known(call, order, config.voice, context)
        if "Chirp3-HD" not in voice.name:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this voice does not stream")
        audio = await self._audio(call, order, voice)
        try:
            async for piece in pieces_of(audio, RATE, self._orders, call, order):
                yield tts.StreamingSynthesizeResponse(audio_content=piece)
        except CutError:
            call.outcome = "cut"
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        except (asyncio.CancelledError, GeneratorExit):
            call.outcome = "left"
            raise
        call.outcome = "whole"

    async def _known(
        self,
        call: Call,
        order: Order | None,
        asked: tts.VoiceSelectionParams,
        context: grpc.aio.ServicerContext,
    ) -> LocalVoice:
        await self._admit(call, order, context)
        voice = _BY_NAME.get(asked.name)
        if voice is None or voice.locale.lower() != asked.language_code.lower():
            call.outcome = "refused"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"Voice '{asked.name}' is not")
        assert voice is not None
        return voice

    async def _audio(self, call: Call, order: Order | None, voice: LocalVoice) -> bytes:
        settings: dict[str, Any] = call.settings
        return await audio_of(
            order,
            voice,
            call.text,
            rate=RATE,
            speed=settings["speed"],
            semitones=settings["pitch"],
        )

    async def _admit(
        self, call: Call, order: Order | None, context: grpc.aio.ServicerContext
    ) -> None:
        """Ends the call with what the order wants, or for want of a key."""
        code = _CODES.get(order.fault) if order is not None else None
        if ("x-goog-api-key", VENDORS_KEY) not in (context.invocation_metadata() or ()):
            code = code_pb2.UNAUTHENTICATED
        if code is not None:
            call.outcome = "refused"
            wait = order.retry_after_seconds if order is not None else None
            await context.abort_with_status(rpc_status.to_status(_status(code, wait)))
        if order is not None and order.fault is Fault.HANG_BEFORE:
            try:
                await self._orders.hung()
            finally:
                call.outcome = "left"


def _status(code: int, retry_after_seconds: int | None) -> status_pb2.Status:
    status = status_pb2.Status(code=code, message="as ordered")
    if retry_after_seconds is not None:
        wait = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=retry_after_seconds))
        status.details.add().Pack(wait)
    return status


def _wav(samples: bytes, rate: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples)
    return file.getvalue()
