"""The seed, against the real adapters."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from fakes.authorizations import RecordingAuthorizations
from fakes.clock import FakeClock
from fakes.tenants import FakeTenants
from voice_gateway.adapters.dynamodb_api_keys import DynamoApiKeys
from voice_gateway.adapters.dynamodb_personalities import DynamoPersonalities
from voice_gateway.domain.chain import Quality
from voice_gateway.domain.character import Traits
from voice_gateway.domain.personality import Character
from voice_gateway.seed import SCOPES, budtenders, seed
from voice_gateway.services.authorization import AuthorizationService, hash_key, mint_key
from voice_gateway.services.personalities import PersonalityService

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

OPERATIONS: Final = Path(__file__).parents[2] / "docs/operations.md"


def _authorization(table: Table) -> AuthorizationService:
    return AuthorizationService(DynamoApiKeys(table), FakeClock(), RecordingAuthorizations())


def test_gives_a_fresh_stack_a_key_and_the_budtenders(table: Table) -> None:
    key = mint_key("demo")
    clock = FakeClock()
    made = seed(table, tenant_id="demo", api_key=key, clock=clock)
    assert made == ("marcel", "shante", "zac")

    identity = _authorization(table).identify(f"Bearer {key}")
    assert identity is not None
    assert (identity.tenant_id, identity.scopes) == ("demo", SCOPES)

    repository = DynamoPersonalities(table, clock)
    shante = repository.get("demo", "shante")
    assert shante.name == "Shanté"
    assert shante.voice_config.quality is Quality.MEDIUM
    assert shante.voice_config.voices == {"piper": "budtender/shante", "espeak": "en-us+f2"}
    marcel = repository.get("demo", "marcel")
    assert marcel.voice_config.voices == {"piper": "budtender/marcel", "espeak": "en-us+m3"}
    zac = repository.get("demo", "zac")
    assert zac.voice_config.voices == {"piper": "budtender/marcel", "espeak": "en-us+m7"}
    assert key not in str(table.scan()["Items"])


def test_the_documented_command_gives_a_tenant_its_first_key(
    table: Table, aws_endpoint: str
) -> None:
    found = re.search(r"python -c '(.+?)'\n```", OPERATIONS.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    aws = {
        "AWS_ENDPOINT_URL": aws_endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    done = subprocess.run(
        [sys.executable, "-c", found[1]],
        env={**os.environ, **aws, "TABLE": table.name, "TENANT": "shop"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    identity = _authorization(table).identify(f"Bearer {done.stdout.strip()}")
    assert identity is not None
    assert (identity.tenant_id, identity.scopes) == ("shop", SCOPES)


def test_the_budtenders_are_characters_of_their_own() -> None:
    characters = budtenders()
    assert [character.name for character in characters] == ["Marcel", "Shanté", "Zac"]
    for part in ("description", "traits", "greeting", "phrases"):
        assert len({str(getattr(character, part)) for character in characters}) == 3
    for character in characters:
        assert character.traits != Traits()
        assert character.traits.words
        assert len(character.phrases) >= 5
        assert "{name}" in character.system_prompt
        assert character.lexicon["en"]["THC"]


def test_changes_nothing_of_an_owners(table: Table) -> None:
    clock = FakeClock()
    key = mint_key("demo")
    repository = DynamoPersonalities(table, clock)
    owned, _ = PersonalityService(repository, clock, tenants=FakeTenants()).create(
        "demo", Character(name="Marcel")
    )
    clock.advance(60)
    assert seed(table, tenant_id="demo", api_key=key, clock=clock) == ("shante", "zac")
    before = table.scan()["Items"]
    clock.advance(60)
    assert seed(table, tenant_id="demo", api_key=key, clock=clock) == ()
    assert table.scan()["Items"] == before
    assert repository.get("demo", "marcel") == owned


def test_does_not_bring_a_revoked_key_back(table: Table) -> None:
    clock = FakeClock()
    key = mint_key("demo")
    seed(table, tenant_id="demo", api_key=key, clock=clock)
    keys = DynamoApiKeys(table)
    keys.revoke(keys.get("demo", hash_key(key)[:12]), clock.now())
    seed(table, tenant_id="demo", api_key=key, clock=clock)
    assert _authorization(table).identify(f"Bearer {key}") is None


@pytest.mark.parametrize("key", [mint_key("other"), "", "secret"])
def test_takes_only_a_key_of_the_tenant(table: Table, key: str) -> None:
    with pytest.raises(ValueError, match="tenant"):
        seed(table, tenant_id="demo", api_key=key, clock=FakeClock())
    assert table.scan()["Items"] == []
