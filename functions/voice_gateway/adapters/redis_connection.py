"""The one way to Redis: quick, or not at all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from voice_gateway.domain.errors import SharedStateUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from voice_gateway.ports import Clock

CONNECT_SECONDS: Final = 0.2
ANSWER_SECONDS: Final = 0.1
"""Nothing that is kept there is worth a longer wait: everybody can go on without."""
AWAY_SECONDS: Final = 2.0
"""How long nobody asks again after it did not answer."""
_CONNECTIONS: Final = 64
_CANNOT_NOW: Final = re.compile(r": -(?:OOM|READONLY|MASTERDOWN) ")

_T = TypeVar("_T")


class RedisConnection:
    """Redis, as far as it is there.

    What did not answer in time is taken for away: until `AWAY_SECONDS` later every call fails at
    once, then one call finds out whether it is back. A request so loses a fraction of a second,
    once, and not at each of its calls.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        """Names the server; opens nothing.

        Args:
            url: `redis://host:port`, or `rediss://` for TLS. Empty: there is none, ever.
            clock: Tells when to look again.
        """
        self._url = url
        self._clock = clock
        self._client: Redis | None = None
        self._away_until = 0.0

    @property
    def exists(self) -> bool:
        """Whether there is one at all, away or not."""
        return bool(self._url)

    async def call(self, work: Callable[[Redis], Awaitable[_T]]) -> _T:
        """Does something with it.

        Args:
            work: Gets the client, which gives out bytes. Of its errors only the connection's count
                as being away, and those of a Redis that has no room, or that is about to hand over
                to its replica; a command that it refuses for itself is a bug of ours.

        Raises:
            SharedStateUnavailableError: It is away, or there is none.
        """
        if not self._url or self._clock.monotonic() < self._away_until:
            raise SharedStateUnavailableError
        from redis.exceptions import (
            BusyLoadingError,
            ConnectionError,
            OutOfMemoryError,
            ReadOnlyError,
            ResponseError,
            TimeoutError,
        )

        # Whoever asks after the pause asks alone: the others fail at once until it has answered.
        was_away, self._away_until = self._away_until, self._pause() if self._away_until else 0.0
        try:
            done = await work(self._connect())
        except (
            BusyLoadingError,
            ConnectionError,
            OutOfMemoryError,
            ReadOnlyError,
            TimeoutError,
            OSError,
        ):
            self._away_until = self._pause()
            raise SharedStateUnavailableError from None
        except ResponseError as error:
            # What failed inside a script comes by no other name, before Redis 7.
            if _CANNOT_NOW.search(str(error)) is None:
                self._away_until = was_away
                raise
            self._away_until = self._pause()
            raise SharedStateUnavailableError from None
        except BaseException:
            self._away_until = was_away
            raise
        self._away_until = 0.0
        return done

    async def warm_up(self) -> None:
        """Imports the client and connects, if anybody is there."""
        try:
            await self.call(lambda redis: redis.ping())
        except SharedStateUnavailableError:
            return  # the first request will find out, and go on without

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _pause(self) -> float:
        return self._clock.monotonic() + AWAY_SECONDS

    def _connect(self) -> Redis:
        if self._client is None:
            from redis.asyncio import BlockingConnectionPool, Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

            pool = BlockingConnectionPool.from_url(
                self._url,
                max_connections=_CONNECTIONS,
                timeout=ANSWER_SECONDS,
                socket_connect_timeout=CONNECT_SECONDS,
                socket_timeout=ANSWER_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
            self._client = Redis.from_pool(pool)
        return self._client
