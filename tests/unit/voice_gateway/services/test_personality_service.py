from __future__ import annotations

import pytest

from fakes.clock import FakeClock
from fakes.personalities import FakePersonalities
from fakes.tenants import FakeTenants
from voice_gateway.domain.chain import Quality
from voice_gateway.domain.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
)
from voice_gateway.domain.personality import Character, VoiceConfig
from voice_gateway.services.personalities import PersonalityService


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def repository(clock: FakeClock) -> FakePersonalities:
    return FakePersonalities(clock=clock)


@pytest.fixture
def service(repository: FakePersonalities, clock: FakeClock) -> PersonalityService:
    return PersonalityService(repository, clock, tenants=FakeTenants(), sleep=lambda _: None)


def test_makes_the_id_from_the_name(service: PersonalityService, clock: FakeClock) -> None:
    made, _ = service.create("shop", Character(name="Shanté O.", description="Quick."))
    assert (made.id, made.tenant_id, made.version) == ("shante-o", "shop", 1)
    assert made.created_at == made.updated_at == clock.now()
    assert made.voice_config == VoiceConfig()
    assert service.get("shop", "shante-o") == made


def test_a_given_id_comes_before_the_name(service: PersonalityService) -> None:
    config = VoiceConfig(quality=Quality.FAST)
    character = Character(name="Marcel", voice_config=config)
    made, _ = service.create("shop", character, personality_id="m-1")
    assert (made.id, made.voice_config) == ("m-1", config)


@pytest.mark.parametrize("name", ["日本", "!!!", "🎤", "\u200b"])
def test_asks_for_an_id_when_the_name_gives_none(service: PersonalityService, name: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        service.create("shop", Character(name=name))
    assert caught.value.field == "id"


def test_two_names_may_make_one_id(service: PersonalityService) -> None:
    service.create("shop", Character(name="Marcel"))
    with pytest.raises(ConflictError) as caught:
        service.create("shop", Character(name="marcel!"))
    assert caught.value.field == "id"


@pytest.mark.parametrize(
    "path",
    [
        "tenants/other/samples/1/clean.wav",
        "tenants/shop-2/samples/1/clean.wav",
        "tenants/shop/../other/clean.wav",
        "/data/voices/marcel.wav",
        "",
    ],
)
def test_a_voice_of_another_tenant_is_out_of_reach(service: PersonalityService, path: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        service.create("shop", Character(name="Marcel", voice_config=VoiceConfig(sample_path=path)))
    assert caught.value.field == "voice_config.sample_path"


def test_a_voice_of_ones_own_is_taken(service: PersonalityService) -> None:
    config = VoiceConfig(sample_path="tenants/shop/samples/1/clean.wav")
    made, _ = service.create("shop", Character(name="Marcel", voice_config=config))
    assert made.voice_config == config


@pytest.mark.parametrize("odd", ["", "Marcel", "marcel\n", "a/b", "m" * 65, "é", "-", "a--"])
def test_what_can_be_no_id_is_not_looked_for(
    service: PersonalityService, repository: FakePersonalities, odd: str
) -> None:
    repository.broken = True
    with pytest.raises(NotFoundError):
        service.get("shop", odd)


def test_lists_a_page_at_a_time(service: PersonalityService) -> None:
    for name in ("B", "A", "C"):
        service.create("shop", Character(name=name))
    page, cursor = service.list("shop", limit=2)
    assert [p.id for p in page] == ["a", "b"]
    page, cursor = service.list("shop", limit=2, cursor=cursor)
    assert ([p.id for p in page], cursor) == (["c"], None)


def test_a_change_is_made_again_of_what_is_there_by_then(
    service: PersonalityService, repository: FakePersonalities, clock: FakeClock
) -> None:
    made, _ = service.create("shop", Character(name="Marcel"))
    seen: list[str] = []

    def greet(present: Character) -> Character:
        if not seen:
            # Somebody else is faster.
            faster = made.rewritten(Character(name="Marcel II"), clock.now())
            repository.replace(made, faster)
        seen.append(present.name)
        return present.model_copy(update={"greeting": "Yo."})

    changed = service.change("shop", "marcel", greet)
    assert seen == ["Marcel", "Marcel II"]
    assert (changed.name, changed.greeting, changed.version) == ("Marcel II", "Yo.", 3)


def test_a_change_of_a_version_that_is_no_longer_is_refused(
    service: PersonalityService, repository: FakePersonalities, clock: FakeClock
) -> None:
    made, _ = service.create("shop", Character(name="Marcel"))

    def overtaken(present: Character) -> Character:
        repository.replace(made, made.rewritten(Character(name="Marcel II"), clock.now()))
        return present.model_copy(update={"greeting": "Yo."})

    with pytest.raises(PreconditionFailedError):
        service.change("shop", "marcel", overtaken, expected={1})
    assert service.get("shop", "marcel").name == "Marcel II"


def test_a_change_to_another_tenants_voice_is_refused(service: PersonalityService) -> None:
    service.create("shop", Character(name="Marcel"))
    foreign = Character(name="M", voice_config=VoiceConfig(sample_path="tenants/other/s.wav"))
    with pytest.raises(InvalidRequestError):
        service.change("shop", "marcel", lambda _: foreign)
    assert service.get("shop", "marcel").version == 1
