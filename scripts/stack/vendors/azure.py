"""Azure's speech service: its WebSocket protocol and its list of voices."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from layout import VENDORS_KEY
from vendors import markup
from vendors.orders import STATUS, Fault
from vendors.performing import CutError, audio_of, pieces_of
from vendors.voices import AZURE, word_times

if TYPE_CHECKING:
    from vendors.orders import Call, Order, Orders

RATE: Final = 24_000
_QUOTA_CLOSE_CODE: Final = 4429
_TICKS: Final = 10_000_000
_RETRIED_BY_SDK: Final = frozenset({Fault.QUOTA, Fault.ERROR, Fault.UNAVAILABLE})
_BY_NAME: Final = {voice.name: voice for voice in AZURE}


class AzureServer:
    """Serves what the SDK asks of a host of one's own."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._refusals: list[Order] = []
        """For the handshakes to come: the SDK tries a second time, before it gives up."""

    def routes(self) -> list[web.RouteDef]:
        """Where it answers."""
        return [
            web.get("/cognitiveservices/voices/list", self._voices),
            web.get("/cognitiveservices/websocket/v1", self._connection),
        ]

    async def _voices(self, request: web.Request) -> web.StreamResponse:
        call, order = self._orders.begin("azure", "voices")
        if (refused := await self._refused(request, call, order)) is not None:
            return refused
        call.outcome = "whole"
        return web.json_response(
            [
                {
                    "Name": f"Microsoft Server Speech Text to Speech Voice ({voice.name})",
                    "DisplayName": voice.name.rpartition("-")[2].removesuffix("Neural"),
                    "LocalName": voice.name.rpartition("-")[2].removesuffix("Neural"),
                    "ShortName": voice.name,
                    "Gender": "Female" if voice.female else "Male",
                    "Locale": voice.locale,
                    "StyleList": ["cheerful"] if "Jenny" in voice.name else [],
                    "SampleRateHertz": "24000",
                    "VoiceType": "Neural",
                    "Status": "GA",
                }
                for voice in AZURE
            ]
        )

    async def _refused(
        self, request: web.Request, call: Call, order: Order | None
    ) -> web.Response | None:
        status = STATUS.get(order.fault) if order is not None else None
        if request.headers.get("Ocp-Apim-Subscription-Key") != VENDORS_KEY:
            status = 401
        if order is not None and order.fault is Fault.HANG_BEFORE:
            await self._orders.hung()
        if status is None:
            return None
        call.outcome = "refused"
        return _refusal(status, order)

    async def _connection(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Ocp-Apim-Subscription-Key") != VENDORS_KEY:
            return _refusal(401, None)
        if self._refusals:
            order = self._refusals.pop()
            return _refusal(STATUS[order.fault], order)
        expected = self._orders.expected("azure")
        if expected is not None and expected.fault in STATUS:
            call, order_met = self._orders.begin("azure")
            call.outcome = "refused"
            if expected.fault in _RETRIED_BY_SDK:
                self._refusals.append(expected)
            return _refusal(STATUS[expected.fault], order_met)
        socket = web.WebSocketResponse(protocols=("USP",))
        await socket.prepare(request)
        turn: asyncio.Task[None] | None = None
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                headers, body = _parsed(message.data)
                if headers.get("path") == "ssml":
                    turn = asyncio.create_task(self._turn(request, socket, headers, body))
        finally:
            if turn is not None:
                turn.cancel()
        return socket

    async def _turn(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        headers: dict[str, str],
        ssml: str,
    ) -> None:
        try:
            marked = markup.read(ssml)
            voice = _BY_NAME[marked.attributes["name"]]
        except (ValueError, KeyError):
            await socket.close(code=WSCloseCode.INVALID_TEXT, message=b"SSML or voice is wrong")
            return
        settings = {
            "elements": marked.elements,
            "speed": markup.percentage(marked.attributes.get("rate", "")),
            "pitch": markup.semitones(marked.attributes.get("pitch", "")),
            "volume": marked.attributes.get("volume", ""),
        }
        call, order = self._orders.begin(
            "azure", text=marked.text, voice=voice.name, settings=settings
        )
        try:
            if order is not None and order.fault in STATUS:
                call.outcome = "refused"
                await self._drop(socket, order)
                return
            await self._speak(socket, headers["x-requestid"], call, order)
            call.outcome = "whole"
        except CutError:
            call.outcome = "cut"
            if request.transport is not None:
                request.transport.abort()
        except (asyncio.CancelledError, ConnectionError):
            if call.outcome == "running":
                call.outcome = "left"

    async def _drop(self, socket: web.WebSocketResponse, order: Order) -> None:
        if order.fault is Fault.QUOTA:
            await socket.close(code=_QUOTA_CLOSE_CODE, message=b"throttled")
            return
        self._refusals.append(order)
        await socket.close(code=WSCloseCode.INTERNAL_ERROR, message=b"gone")

    async def _speak(
        self, socket: web.WebSocketResponse, request_id: str, call: Call, order: Order | None
    ) -> None:
        audio = await audio_of(
            order,
            _BY_NAME[call.voice],
            call.text,
            rate=RATE,
            speed=call.settings["speed"],
            semitones=call.settings["pitch"],
        )
        context = {"context": {"serviceTag": "local"}}
        stream = {"audio": {"type": "inline", "streamId": "1"}}
        await socket.send_str(_text(request_id, "turn.start", context))
        await socket.send_str(_text(request_id, "response", context | stream))
        spoken = await audio_of(
            None, _BY_NAME[call.voice], call.text, rate=RATE, speed=call.settings["speed"]
        )
        words = [
            {
                "Type": "WordBoundary",
                "Data": {
                    "Offset": round(start * _TICKS),
                    "Duration": round((end - start) * _TICKS),
                    "text": {"Text": word, "Length": len(word), "BoundaryType": "WordBoundary"},
                },
            }
            for word, start, end in word_times(call.text, len(spoken) / 2 / RATE)
        ]
        await socket.send_str(_text(request_id, "audio.metadata", {"Metadata": words}))
        async for piece in pieces_of(audio, RATE, self._orders, call, order):
            await socket.send_bytes(_binary(request_id, piece))
        await socket.send_bytes(_binary(request_id, b""))
        await socket.send_str(_text(request_id, "turn.end", {}))


def _refusal(status: int, order: Order | None) -> web.Response:
    wait = order.retry_after_seconds if order is not None else None
    return web.Response(status=status, headers={} if wait is None else {"Retry-After": str(wait)})


def _parsed(message: str) -> tuple[dict[str, str], str]:
    head, _, body = message.partition("\r\n\r\n")
    pairs = (line.partition(":") for line in head.split("\r\n"))
    return {name.lower(): value.strip() for name, _, value in pairs}, body


def _text(request_id: str, path: str, content: dict[str, Any]) -> str:
    kind = "application/json; charset=utf-8"
    return f"X-RequestId:{request_id}\r\nContent-Type:{kind}\r\nPath:{path}\r\n\r\n" + json.dumps(
        content
    )


def _binary(request_id: str, audio: bytes) -> bytes:
    head = f"X-RequestId:{request_id}\r\nX-StreamId:1\r\nPath:audio\r\n".encode()
    return len(head).to_bytes(2, "big") + head + audio
