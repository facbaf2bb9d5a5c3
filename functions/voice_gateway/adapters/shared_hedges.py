"""How many hedges the requests so far allow, counted over all functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voice_gateway.domain.errors import SharedStateUnavailableError

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from voice_gateway.adapters.redis_connection import RedisConnection

SAVED_HEDGES: Final = 10
"""So many can be saved up in quiet times, and then be spent at once."""
_KEY: Final = "hedges:requests"
_KEPT_SECONDS: Final = 3600

# Pays requests in, and takes the price of one hedge out if there is enough.
_TAKE: Final = """
local saved = math.min(tonumber(redis.call('GET', KEYS[1]) or '0') + ARGV[1], tonumber(ARGV[3]))
local taken = 0
if saved >= tonumber(ARGV[2]) then
  saved = saved - ARGV[2]
  taken = 1
end
redis.call('SET', KEYS[1], tostring(saved), 'EX', ARGV[4])
return taken
"""


class SharedHedges:
    """Implements `ports.HedgeAllowance`.

    A process counts its requests for itself, and pays them in only when it wants a hedge: requests
    that need none ask nobody. While Redis is away, it lives on what it has counted.
    """

    def __init__(self, connection: RedisConnection, percent: float) -> None:
        """Starts with nothing saved.

        Args:
            connection: Where the functions' savings are.
            percent: How many hedges a hundred requests allow; 0 allows none.
        """
        self._connection = connection
        self._price = 100 / percent if percent else None
        self._unpaid = 0.0

    def asked(self) -> None:
        """Another request has come."""
        if self._price is not None:
            self._unpaid = min(self._unpaid + 1, self._price * SAVED_HEDGES)

    async def take(self) -> bool:
        """Takes leave for one hedge, if there is enough."""
        if self._price is None:
            return False
        price, paid = self._price, self._unpaid
        most = price * SAVED_HEDGES

        async def pay(redis: Redis) -> int:
            script = redis.register_script(_TAKE)
            taken: int = await script(keys=[_KEY], args=[paid, price, most, _KEPT_SECONDS])
            return taken

        self._unpaid = 0.0
        try:
            return bool(await self._connection.call(pay))
        except SharedStateUnavailableError:
            self._unpaid += paid
            if self._unpaid < price:
                return False
            self._unpaid -= price
            return True
