"""IBM Watson's text to speech: tokens, voices, and synthesis by WebSocket and by POST."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from layout import VENDORS_KEY
from vendors import markup
from vendors.orders import STATUS, Fault
from vendors.performing import CutError, audio_of, pieces_of, rate_of
from vendors.voices import WATSON, word_times

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vendors.orders import Call, Order, Orders

RATE: Final = 22_050
_BY_NAME: Final = {voice.name: voice for voice in WATSON}


class WatsonServer:
    """Serves IBM's identity service, and an instance of the speech service."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._tokens = 0

    def routes(self) -> list[web.RouteDef]:
        """Where it answers."""
        return [
            web.post("/identity/token", self._token),
            web.get("/v1/voices", self._voices),
            web.get("/v1/synthesize", self._socket),
            web.post("/v1/synthesize", self._post),
        ]

    async def _token(self, request: web.Request) -> web.StreamResponse:
        call, order = self._orders.begin("watson", "token")
        if (refused := await self._obeyed(call, order)) is not None:
            return refused
        if (await request.post()).get("apikey") != VENDORS_KEY:
            call.outcome = "refused"
            words = "Provided API key could not be found."
            return web.json_response({"errorCode": "BXNIM0415E", "errorMessage": words}, status=400)
        call.outcome = "whole"
        now, self._tokens = int(time.time()), self._tokens + 1
        claims = {"iat": now, "exp": now + 3600, "jti": str(self._tokens)}
        token = f"{_base64({'alg': 'HS256'})}.{_base64(claims)}.c2lnbmVk"
        return web.json_response(
            {
                "access_token": token,
                "refresh_token": "not_supported",
                "token_type": "Bearer",
                "expires_in": 3600,
                "expiration": now + 3600,
            }
        )

    async def _voices(self, request: web.Request) -> web.StreamResponse:
        call, order = self._orders.begin("watson", "voices")
        if (refused := await self._obeyed(call, order) or _unsigned(request, call)) is not None:
            return refused
        call.outcome = "whole"
        voices = [
            {
                "name": voice.name,
                "language": voice.locale,
                "gender": "female" if voice.female else "male",
                "description": f"{voice.name.partition('_')[2]}: {voice.locale}",
                "customizable": True,
                "supported_features": {"custom_pronunciation": True, "voice_transformation": False},
                "url": f"{request.url.origin()}/v1/voices/{voice.name}",
            }
            for voice in WATSON
        ]
        return web.json_response({"voices": voices})

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        expected = self._orders.expected("watson")
        if expected is not None and expected.fault in STATUS:
            call, order = self._orders.begin("watson")
            refused = await self._obeyed(call, order)
            assert refused is not None
            return refused
        if (unsigned := _unsigned(request, None)) is not None:
            return unsigned
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        turn: asyncio.Task[None] | None = None
        try:
            async for message in socket:
                asked = json.loads(message.data)
                turn = asyncio.create_task(self._turn(request, socket, asked))
        finally:
            if turn is not None:
                turn.cancel()
        return socket

    async def _turn(
        self, request: web.Request, socket: web.WebSocketResponse, asked: Mapping[str, Any]
    ) -> None:
        try:
            call, order = self._begin(request, asked["text"])
        except ValueError as error:
            await socket.send_json({"error": str(error)})
            await socket.close()
            return
        try:
            audio, rate = await self._audio(call, order)
            kind = f"audio/l16;rate={rate};endianness=little-endian"
            await socket.send_json({"binary_streams": [{"content_type": kind}]})
            if asked.get("timings") == ["words"] and order is None:
                words = word_times(call.text, len(audio) / 2 / rate)
                await socket.send_json({"words": words})
            async for piece in pieces_of(audio, rate, self._orders, call, order):
                await socket.send_bytes(piece)
            call.outcome = "whole"
            await socket.close()
        except CutError:
            call.outcome = "cut"
            if request.transport is not None:
                request.transport.abort()
        except (asyncio.CancelledError, ConnectionError):
            if call.outcome == "running":
                call.outcome = "left"

    async def _post(self, request: web.Request) -> web.StreamResponse:
        try:
            call, order = self._begin(request, (await request.json())["text"])
        except ValueError as error:
            return web.json_response({"error": str(error), "code": 400}, status=400)
        if (refused := await self._obeyed(call, order) or _unsigned(request, call)) is not None:
            return refused
        audio, rate = await self._audio(call, order)
        call.outcome = "whole"
        return web.Response(body=audio, content_type="audio/l16", headers={"x-rate": str(rate)})

    def _begin(self, request: web.Request, text: str) -> tuple[Call, Order | None]:
        name = request.query.get("voice", WATSON[0].name)
        if name not in _BY_NAME:
            raise ValueError(f"Model not found: {name}")
        try:
            # Plain text and documents alike are read as markup.
            marked = markup.read(text if text.startswith("<speak") else f"<speak>{text}</speak>")
        except ValueError:
            raise ValueError("The text is no valid SSML.") from None
        settings = {
            "elements": marked.elements,
            "speed": 1 + int(request.query.get("rate_percentage", 0)) / 100,
            "pitch_percentage": int(request.query.get("pitch_percentage", 0)),
        }
        return self._orders.begin("watson", text=marked.text, voice=name, settings=settings)

    async def _audio(self, call: Call, order: Order | None) -> tuple[bytes, int]:
        rate = rate_of(order, RATE)
        audio = await audio_of(
            order,
            _BY_NAME[call.voice],
            call.text,
            rate=RATE,
            speed=call.settings["speed"],
            semitones=markup.semitones_of(1 + call.settings["pitch_percentage"] / 100),
        )
        return audio, rate

    async def _obeyed(self, call: Call, order: Order | None) -> web.Response | None:
        """The refusal that the order wants."""
        if order is None:
            return None
        if order.fault is Fault.HANG_BEFORE and call.operation != "speech":
            await self._orders.hung()
        if (status := STATUS.get(order.fault)) is None:
            return None
        call.outcome = "refused"
        wait = order.retry_after_seconds
        return web.json_response(
            {"error": order.fault.value, "code": status},
            status=status,
            headers={} if wait is None else {"Retry-After": str(wait)},
        )


def _unsigned(request: web.Request, call: Call | None) -> web.Response | None:
    """The refusal of a request without a token of ours."""
    if request.headers.get("Authorization", "").startswith("Bearer ey"):
        return None
    if call is not None:
        call.outcome = "refused"
    return web.json_response({"error": "Unauthorized", "code": 401}, status=401)


def _base64(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
