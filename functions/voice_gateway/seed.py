"""What a fresh stack begins with: one API key, and the two budtenders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voice_gateway.adapters.dynamodb_api_keys import DynamoApiKeys
from voice_gateway.adapters.dynamodb_personalities import DynamoPersonalities
from voice_gateway.domain.chain import Quality
from voice_gateway.domain.errors import ConflictError
from voice_gateway.domain.personality import VoiceConfig
from voice_gateway.services.authorization import hash_key, tenant_of
from voice_gateway.services.personalities import PersonalityService

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from voice_gateway.ports import Clock

SCOPES: Final = frozenset(
    {"personalities:read", "personalities:write", "speech:read", "speech:write"}
)
"""Everything that a key may do."""

# (name, description, voices)
_PERSONALITIES: Final = (
    (
        "Marcel",
        "A laid-back budtender with a deep, unhurried voice. He has tried everything on the "
        "shelf, remembers what a regular liked last time, and never talks anyone into more.",
        {"piper": "budtender/marcel", "espeak": "en-us+m3"},
    ),
    (
        "Shanté",
        "A bright, quick budtender who explains terpenes the way others talk about music. She asks "
        "what the evening is for before she recommends, and says plainly when less is better.",
        {"piper": "budtender/shante", "espeak": "en-us+f2"},
    ),
)


def seed(table: Table, *, tenant_id: str, api_key: str, clock: Clock) -> tuple[str, ...]:
    """Stores the key's hash and the personalities; a second call changes nothing of an owner's.

    Args:
        table: The one table.
        tenant_id: Whose they are.
        api_key: A key of this tenant, as `mint_key` makes them; only its hash is stored.
        clock: Dates what is made.

    Returns:
        The ids of the personalities that were not there before.

    Raises:
        ValueError: The key is not one of this tenant's.
        StorageUnavailableError: The table did not answer.
    """
    if tenant_of(api_key) != tenant_id:
        raise ValueError("the API key is not one of this tenant's")
    DynamoApiKeys(table).put(tenant_id, hash_key(api_key), SCOPES, clock.now())
    service = PersonalityService(DynamoPersonalities(table), clock)
    made = []
    for name, description, voices in _PERSONALITIES:
        voice_config = VoiceConfig(quality=Quality.MEDIUM, language="en", voices=voices)
        try:
            personality = service.create(
                tenant_id, name=name, description=description, voice_config=voice_config
            )
        except ConflictError:
            continue
        made.append(personality.id)
    return tuple(made)
