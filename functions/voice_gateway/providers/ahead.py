"""Speech that is made before its turn has come."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voice_gateway.domain.speech import SpeechChunk

_MOST_CHUNKS: Final = 64
"""What is ready and not yet taken: a provider never runs further ahead of its listener."""


class Ahead:
    """Begins to read a stream of chunks at once, and gives them out when they are wanted."""

    def __init__(self, chunks: AsyncGenerator[SpeechChunk]) -> None:
        self._ready: asyncio.Queue[SpeechChunk | Exception | None] = asyncio.Queue(_MOST_CHUNKS)
        self._reading = asyncio.get_running_loop().create_task(self._read(chunks))

    async def chunks(self) -> AsyncGenerator[SpeechChunk]:
        """Yields what was read.

        Raises:
            Exception: What the stream raised, in its place.
        """
        while (ready := await self._ready.get()) is not None:
            if isinstance(ready, Exception):
                raise ready
            yield ready

    async def aclose(self) -> None:
        """Ends the stream."""
        self._reading.cancel()
        await asyncio.wait({self._reading})

    async def _read(self, chunks: AsyncGenerator[SpeechChunk]) -> None:
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    await self._ready.put(chunk)
        except Exception as error:
            await self._ready.put(error)
        else:
            await self._ready.put(None)
