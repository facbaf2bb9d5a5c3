"""What an admin does with a tenant's API keys."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.access import ApiKey
from voice_gateway.domain.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
)
from voice_gateway.services.authorization import hash_key, mint_key
from voice_gateway.services.optimistic import until_written

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime, timedelta

    from voice_gateway.ports import ApiKeyRepository, Clock

_ID: Final = re.compile(r"[0-9a-f]{12}")


class ApiKeyService:
    """Makes, lists, replaces and revokes API keys, each tenant's own.

    Nobody hands on what they do not have: a key is given no scope that its maker lacks.
    """

    def __init__(
        self,
        repository: ApiKeyRepository,
        clock: Clock,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._sleep = sleep

    def list(
        self, tenant_id: str, *, limit: int, cursor: str | None = None
    ) -> tuple[Sequence[ApiKey], str | None]:
        """Lists by id, the dead ones too, a page at a time.

        Returns:
            The page, and the cursor of the next one (None at the end).

        Raises:
            InvalidRequestError: The cursor is not one of ours.
            StorageUnavailableError: The table did not answer.
        """
        return self._repository.list(tenant_id, limit=limit, cursor=cursor)

    def create(
        self,
        tenant_id: str,
        *,
        name: str,
        scopes: Collection[str],
        held: Collection[str],
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """Makes a new key.

        Args:
            tenant_id: Whose it is.
            name: What people call it.
            scopes: What it may do.
            held: What its maker may do.
            expires_at: When it ends; None for never.

        Returns:
            What is stored of it, and the key itself, which nobody sees again.

        Raises:
            ForbiddenError: Its maker lacks one of the scopes.
            InvalidRequestError: It would have ended already.
            StorageUnavailableError: The table did not answer.
        """
        now = self._clock.now()
        _refuse_more_than_held(scopes, held)
        if expires_at is not None and expires_at <= now:
            raise InvalidRequestError("That is in the past.", field="expires_at")
        made, secret = _new(tenant_id, name, frozenset(scopes), now, expires_at)
        self._repository.create(made)
        return made, secret

    def rotate(
        self, tenant_id: str, key_id: str, *, grace: timedelta, held: Collection[str]
    ) -> tuple[ApiKey, str]:
        """Makes a key that takes the place of another: same name, same scopes, as long a life.

        Args:
            tenant_id: Whose it is.
            key_id: Which one is replaced.
            grace: How long that one can still be used; it never outlives its own end.
            held: What the caller may do.

        Returns:
            What is stored of the new key, and the key itself, which nobody sees again.

        Raises:
            NotFoundError: The tenant has none with this id.
            ForbiddenError: The caller lacks one of its scopes.
            ConflictError: It has ended, or was replaced already.
            StaleWriteError: Others kept writing it.
            StorageUnavailableError: The table did not answer.
        """
        old = self._find(tenant_id, key_id)
        now = self._clock.now()
        _refuse_more_than_held(old.scopes, held)
        if not old.is_good(now) or old.replaced_by is not None:
            raise ConflictError("This key has ended, or was replaced already.")
        ends = old.expires_at
        life = None if ends is None else ends - old.created_at
        until = now + grace if ends is None else min(ends, now + grace)
        made, secret = _new(
            tenant_id, old.name, old.scopes, now, None if life is None else now + life
        )
        until_written(lambda: self._repository.rotate(old, made, until=until), self._sleep)
        return made, secret

    def revoke(self, tenant_id: str, key_id: str) -> ApiKey:
        """Makes a key useless for good.

        Raises:
            NotFoundError: The tenant has none with this id.
            StorageUnavailableError: The table did not answer.
        """
        found = self._find(tenant_id, key_id)
        if found.revoked_at is not None:
            return found
        now = self._clock.now()
        self._repository.revoke(found, now)
        return found.model_copy(update={"revoked_at": now})

    def _find(self, tenant_id: str, key_id: str) -> ApiKey:
        if not _ID.fullmatch(key_id):
            raise NotFoundError("There is no API key with this id.")
        return self._repository.get(tenant_id, key_id)


def _new(
    tenant_id: str, name: str, scopes: frozenset[str], now: datetime, expires_at: datetime | None
) -> tuple[ApiKey, str]:
    secret = mint_key(tenant_id)
    made = ApiKey(
        tenant_id=tenant_id,
        key_hash=hash_key(secret),
        name=name,
        scopes=scopes,
        created_at=now,
        expires_at=expires_at,
    )
    return made, secret


def _refuse_more_than_held(scopes: Collection[str], held: Collection[str]) -> None:
    if lacking := sorted(set(scopes) - set(held)):
        raise ForbiddenError(
            f"Nobody hands on what they do not have: {', '.join(lacking)}.", field="scopes"
        )
