"""From an SDK's own threads into the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

LIMIT: Final = 16
"""Pieces that wait to be fetched, before the thread that brings more has to wait."""


class Pipe(Generic[Item]):
    """Hands items from any thread to one coroutine, in order, and never holds more than a few."""

    def __init__(self, limit: int = LIMIT) -> None:
        """Belongs to the running event loop.

        Args:
            limit: How many items it holds.
        """
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._arrived = asyncio.Event()
        self._closed = False

    def put(self, item: Item) -> bool:
        """Hands an item over, from any thread but the loop's; waits while the pipe is full.

        Returns:
            False when nobody wants any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._limit)
            if self._closed:
                return False
            self._items.append(item)
            # Under the lock: once the pipe is closed, the loop may be gone.
            self._loop.call_soon_threadsafe(self._arrived.set)
        return True

    async def get(self) -> Item:
        """Waits for the next item."""
        while True:
            with self._changed:
                if self._items:
                    self._changed.notify()
                    return self._items.popleft()
                self._arrived.clear()
            await self._arrived.wait()

    def close(self) -> None:
        """Lets every thread that waits go, and takes nothing any more."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
