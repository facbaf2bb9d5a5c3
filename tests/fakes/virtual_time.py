"""An event loop whose time passes only when nobody has anything to do, and then at once."""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta
from typing import Any

_BEGINNING = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


class _Selector(selectors.SelectSelector):
    """Jumps to the next timer instead of waiting for it."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everybody waits, and nothing will ever happen")
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs scripted providers through minutes of patience in no time, always in the same order.

    What is handed to a thread is done on the spot, so that it takes no time and no other turn.
    """

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Virtual seconds."""
        return self._virtual.now

    def run_in_executor(self, _executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Does it now."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


class VirtualClock:
    """Implements `ports.Clock` on the running loop's time."""

    def now(self) -> datetime:
        """Wall time, as many seconds on."""
        return _BEGINNING + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """The loop's seconds."""
        return asyncio.get_running_loop().time()
