"""Audio as a vendor sends it: in pieces, with what the order wants wrong with them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import numpy as np

from vendors.orders import Fault
from vendors.voices import speak

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from vendors.orders import Call, Order, Orders
    from vendors.voices import LocalVoice

WRONG_RATE: Final = 8000
_PIECE_SECONDS: Final = 0.1
_DRIP_BYTES: Final = 1000


class CutError(Exception):
    """The connection is to break here."""


def rate_of(order: Order | None, rate: int) -> int:
    """The rate in Hz at which the audio is really made."""
    return WRONG_RATE if order is not None and order.fault is Fault.WRONG_RATE else rate


async def audio_of(
    order: Order | None,
    voice: LocalVoice,
    text: str,
    *,
    rate: int,
    speed: float = 1.0,
    semitones: float = 0.0,
) -> bytes:
    """Speaks a text, or makes what the order wants in its place."""
    audio = await speak(voice, text, rate=rate_of(order, rate), speed=speed, semitones=semitones)
    match order.fault if order is not None else None:
        case Fault.EMPTY:
            return b""
        case Fault.SILENCE:
            return bytes(len(audio))
        case Fault.GARBAGE:
            return np.random.default_rng(7).bytes(len(audio) | 1)
        case _:
            return audio


async def pieces_of(
    audio: bytes, rate: int, orders: Orders, call: Call, order: Order | None
) -> AsyncGenerator[bytes]:
    """Gives the audio out piece by piece, and gets stuck or breaks where it is told to.

    Raises:
        CutError: The connection is to break here.
    """
    fault = order.fault if order is not None else None
    length = _DRIP_BYTES if fault is Fault.DRIP else round(rate * _PIECE_SECONDS) * 2
    for start in range(0, len(audio), length):
        if order is not None:
            await _obstacle(orders, order, call.pieces)
        yield audio[start : start + length]
        call.pieces += 1
    if order is not None and fault is not Fault.DRIP and call.pieces <= order.after_pieces:
        await _obstacle(orders, order, order.after_pieces)  # the audio was too short to reach it


async def _obstacle(orders: Orders, order: Order, sent: int) -> None:
    match order.fault:
        case Fault.HANG_BEFORE:
            await orders.hung()
        case Fault.HANG_WITHIN if sent == order.after_pieces:
            await orders.hung()
        case Fault.CUT if sent == order.after_pieces:
            raise CutError
        case Fault.HOLD if sent == order.after_pieces:
            await orders.held()
        case Fault.DRIP:
            await asyncio.sleep(order.pause_seconds)
        case _:
            pass
