"""What an owner does with personalities."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from voice_gateway.domain.errors import (
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
)
from voice_gateway.domain.listing import PersonalityFilter
from voice_gateway.domain.personality import (
    PERSONALITY_ID_PATTERN,
    Character,
    Personality,
    VoiceConfig,
    slug,
)
from voice_gateway.domain.tiers import Stock
from voice_gateway.services.optimistic import until_written

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from voice_gateway.domain.idempotency import OnceOnly
    from voice_gateway.domain.tiers import Ceiling
    from voice_gateway.ports import Clock, PersonalityRepository, TenantRepository


class PersonalityService:
    """Creates, finds, changes and deletes personalities, each tenant's own."""

    def __init__(
        self,
        repository: PersonalityRepository,
        clock: Clock,
        *,
        tenants: TenantRepository,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._tenants = tenants
        self._sleep = sleep

    def create(
        self,
        tenant_id: str,
        character: Character,
        *,
        personality_id: str | None = None,
        once: OnceOnly | None = None,
        counted: bool = True,
    ) -> tuple[Personality, bool]:
        """Makes a new personality.

        Args:
            tenant_id: Whose it is.
            character: Who it is.
            personality_id: How the API calls it; taken from the name when left out.
            once: Makes it once, however often the request comes.
            counted: Whether it takes one of the places that the tenant's tier gives.

        Returns:
            It, in its first version, and whether it was this request's repetition.

        Raises:
            InvalidRequestError: The name gives no id, the sample is not the tenant's, or `once`
                was another request.
            ConflictError: The tenant has one with this id, deleted perhaps.
            PlanLimitError: The tier has no room for one more.
            StaleWriteError: Others kept writing it.
            StorageUnavailableError: The table did not answer.
        """
        _refuse_foreign_sample(tenant_id, character.voice_config)
        now = self._clock.now()
        personality = Personality(
            **{name: getattr(character, name) for name in Character.model_fields},
            id=personality_id or _id_from(character.name),
            tenant_id=tenant_id,
            created_at=now,
            updated_at=now,
            counted=counted,
        )
        ceiling = self._ceiling(tenant_id) if counted else None
        earlier = until_written(
            lambda: self._repository.create(personality, once, ceiling=ceiling), self._sleep
        )
        return (personality, False) if earlier is None else (earlier, True)

    def get(self, tenant_id: str, personality_id: str) -> Personality:
        """Fetches one.

        Raises:
            NotFoundError: The tenant has none with this id.
            StorageUnavailableError: The table did not answer.
        """
        return self._find(tenant_id, personality_id)

    def list(
        self,
        tenant_id: str,
        *,
        limit: int,
        cursor: str | None = None,
        wanted: PersonalityFilter | None = None,
    ) -> tuple[Sequence[Personality], str | None]:
        """Lists by id, a page at a time.

        Returns:
            The page, and the cursor of the next one (None at the end).

        Raises:
            InvalidRequestError: The cursor is not one of ours.
            StorageUnavailableError: The table did not answer.
        """
        wanted = wanted or PersonalityFilter()
        return self._repository.list(tenant_id, limit=limit, cursor=cursor, wanted=wanted)

    def versions(
        self, tenant_id: str, personality_id: str, *, limit: int, cursor: str | None = None
    ) -> tuple[Sequence[Personality], str | None]:
        """Lists what it is and was, the newest version first, a page at a time.

        Returns:
            The page, and the cursor of the next one (None at the end).

        Raises:
            NotFoundError: The tenant has none with this id.
            InvalidRequestError: The cursor is not one of this history's.
            StorageUnavailableError: The table did not answer.
        """
        personality = self._find(tenant_id, personality_id)
        return self._repository.versions(personality, limit=limit, cursor=cursor)

    def change(
        self,
        tenant_id: str,
        personality_id: str,
        change: Callable[[Character], Character],
        *,
        expected: Collection[int] | None = None,
    ) -> Personality:
        """Writes the next version.

        Args:
            tenant_id: Whose it is.
            personality_id: Which one.
            change: Makes the next character of the present one; asked again whenever somebody
                else wrote in between, so that no write is lost.
            expected: The versions that the caller knows of; None takes any.

        Raises:
            NotFoundError: The tenant has none with this id.
            PreconditionFailedError: It is in another version than expected.
            InvalidRequestError: The sample is not the tenant's.
            StaleWriteError: Others kept writing it.
            StorageUnavailableError: The table did not answer.
        """

        def rewritten(present: Personality) -> Personality:
            character = change(present)
            _refuse_foreign_sample(tenant_id, character.voice_config)
            return present.rewritten(character, self._clock.now())

        return self._write(tenant_id, personality_id, rewritten, expected)

    def speak_from(
        self,
        tenant_id: str,
        personality_id: str,
        sample_path: str | None,
        *,
        instead_of: str | None = None,
        expected: Collection[int] | None = None,
    ) -> Personality:
        """Gives it the voice of a sample, or of none; what it has already is not written again.

        Args:
            tenant_id: Whose it is.
            personality_id: Which one.
            sample_path: The S3 key of the sample's original; None for no voice of its own.
            instead_of: Leaves it alone when it speaks from another sample than this one.
            expected: The versions that the caller knows of; None takes any.

        Raises as `change` does.
        """

        def with_sample(present: Personality) -> Personality:
            config = present.voice_config
            others = instead_of is not None and config.sample_path != instead_of
            if others or config.sample_path == sample_path:
                return present
            config = config.model_copy(update={"sample_path": sample_path})
            character = present.model_copy(update={"voice_config": config})
            return present.rewritten(character, self._clock.now())

        return self._write(tenant_id, personality_id, with_sample, expected)

    def is_restorable(self, tenant_id: str, personality_id: str, *, born_by: datetime) -> bool:
        """Whether it is there, or was deleted and can still be restored.

        Args:
            tenant_id: Whose it is.
            personality_id: Which one.
            born_by: One that was made later is another, with the id of one that is gone.

        Raises:
            StorageUnavailableError: The table did not answer.
        """
        try:
            found = self._repository.get(tenant_id, personality_id, with_deleted=True)
        except NotFoundError:
            return False
        return found.created_at <= born_by

    def delete(
        self, tenant_id: str, personality_id: str, *, expected: Collection[int] | None = None
    ) -> Personality:
        """Takes it away; it can be restored for a while. Raises as `change` does."""

        def deleted(present: Personality) -> Personality:
            return present.deleted(self._clock.now())

        return self._write(tenant_id, personality_id, deleted, expected)

    def restore(
        self, tenant_id: str, personality_id: str, *, expected: Collection[int] | None = None
    ) -> Personality:
        """Brings a deleted one back; one that is there stays as it is.

        Raises as `change` does, and PlanLimitError when the tier has no room for it.
        """

        def restored(present: Personality) -> Personality:
            return present if present.deleted_at is None else present.restored(self._clock.now())

        return self._write(tenant_id, personality_id, restored, expected, with_deleted=True)

    def _write(
        self,
        tenant_id: str,
        personality_id: str,
        step: Callable[[Personality], Personality],
        expected: Collection[int] | None,
        *,
        with_deleted: bool = False,
    ) -> Personality:
        def attempt() -> Personality:
            present = self._find(tenant_id, personality_id, with_deleted=with_deleted)
            if expected is not None and present.version not in expected:
                raise PreconditionFailedError(
                    f"It is in version {present.version} by now.", field="if-match"
                )
            after = step(present)
            if after is not present:
                comes_back = after.takes_a_place and not present.takes_a_place
                ceiling = self._ceiling(tenant_id) if comes_back else None
                self._repository.replace(present, after, ceiling=ceiling)
            return after

        return until_written(attempt, self._sleep)

    def _ceiling(self, tenant_id: str) -> Ceiling:
        return self._tenants.plan(tenant_id).ceiling(Stock.PERSONALITIES)

    def _find(
        self, tenant_id: str, personality_id: str, *, with_deleted: bool = False
    ) -> Personality:
        if not re.fullmatch(PERSONALITY_ID_PATTERN, personality_id):
            raise NotFoundError("There is no personality with this id.")
        return self._repository.get(tenant_id, personality_id, with_deleted=with_deleted)


def _id_from(name: str) -> str:
    made = slug(name)
    if not made:
        raise InvalidRequestError(
            "The name has no Latin letter or digit to make an id from; give an id.", field="id"
        )
    return made


def _refuse_foreign_sample(tenant_id: str, voice_config: VoiceConfig) -> None:
    # The path names an object that engines will read: another tenant's voice must not be reachable.
    path = voice_config.sample_path
    if path is None:
        return
    if not path.startswith(f"tenants/{tenant_id}/") or ".." in path.split("/"):
        raise InvalidRequestError(
            "The sample is not one of this tenant's.", field="voice_config.sample_path"
        )
