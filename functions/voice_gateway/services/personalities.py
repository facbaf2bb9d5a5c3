"""What an owner does with personalities."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from voice_gateway.domain.errors import InvalidRequestError, NotFoundError
from voice_gateway.domain.personality import (
    PERSONALITY_ID_PATTERN,
    Personality,
    VoiceConfig,
    slug,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_gateway.ports import Clock, PersonalityRepository


class PersonalityService:
    """Creates and finds personalities, each tenant's own."""

    def __init__(self, repository: PersonalityRepository, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock

    def create(
        self,
        tenant_id: str,
        *,
        name: str,
        personality_id: str | None = None,
        description: str = "",
        voice_config: VoiceConfig | None = None,
    ) -> Personality:
        """Makes a new personality.

        Args:
            tenant_id: Whose it is.
            name: What people call it.
            personality_id: How the API calls it; taken from the name when left out.
            description: Its character.
            voice_config: How it sounds.

        Raises:
            InvalidRequestError: The name gives no id, or the sample is not the tenant's.
            ConflictError: The tenant has one with this id.
            StorageUnavailableError: The table did not answer.
        """
        voice_config = voice_config or VoiceConfig()
        _refuse_foreign_sample(tenant_id, voice_config)
        now = self._clock.now()
        personality = Personality(
            id=personality_id or _id_from(name),
            tenant_id=tenant_id,
            name=name,
            description=description,
            voice_config=voice_config,
            created_at=now,
            updated_at=now,
        )
        self._repository.create(personality)
        return personality

    def get(self, tenant_id: str, personality_id: str) -> Personality:
        """Fetches one.

        Raises:
            NotFoundError: The tenant has none with this id.
            StorageUnavailableError: The table did not answer.
        """
        if not re.fullmatch(PERSONALITY_ID_PATTERN, personality_id):
            raise NotFoundError("There is no personality with this id.")
        return self._repository.get(tenant_id, personality_id)

    def list(
        self, tenant_id: str, *, limit: int, cursor: str | None = None
    ) -> tuple[Sequence[Personality], str | None]:
        """Lists by id, a page at a time.

        Returns:
            The page, and the cursor of the next one (None at the end).

        Raises:
            InvalidRequestError: The cursor is not one of ours.
            StorageUnavailableError: The table did not answer.
        """
        return self._repository.list(tenant_id, limit=limit, cursor=cursor)


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
