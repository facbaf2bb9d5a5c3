from __future__ import annotations

import pytest

from voice_gateway.domain.chain import CHAINS, FLOOR, PROVIDER_NAMES, Quality, chain_for


@pytest.mark.parametrize(
    ("quality", "chain"),
    [
        (Quality.HIGHEST, ("styletts2", "xtts_v2", "google", "piper")),
        (Quality.HIGH, ("xtts_v2", "styletts2", "google", "azure", "piper")),
        (Quality.MEDIUM, ("piper", "xtts_v2", "google")),
        (Quality.FAST, ("piper", "google", "azure")),
    ],
)
def test_each_quality_s_chain_ends_at_the_floor(quality: Quality, chain: tuple[str, ...]) -> None:
    assert CHAINS[quality] == chain
    assert chain_for(quality) == (*chain, FLOOR)


def test_every_chain_names_known_providers() -> None:
    assert set().union(*CHAINS.values()) | {FLOOR} <= set(PROVIDER_NAMES)


def test_the_personality_s_provider_is_asked_first_and_once() -> None:
    assert chain_for(Quality.FAST, preferred="google") == ("google", "piper", "azure", FLOOR)


def test_the_personality_s_chain_replaces_the_quality_s() -> None:
    assert chain_for(Quality.HIGHEST, own_chain=("watson", FLOOR, "piper")) == (
        "watson",
        FLOOR,
        "piper",
    )


def test_a_forced_provider_stands_alone() -> None:
    assert chain_for(Quality.HIGH, preferred="azure", forced="watson") == ("watson",)


def test_strict_leaves_only_who_was_asked() -> None:
    assert chain_for(Quality.HIGH, strict=True) == ("xtts_v2",)
    assert chain_for(Quality.HIGH, preferred="azure", strict=True) == ("azure",)
