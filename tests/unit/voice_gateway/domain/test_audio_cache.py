from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.voices import vowel
from voice_gateway.domain import audio_cache
from voice_gateway.domain.audio import silence
from voice_gateway.domain.audio_cache import NOT_HEARD, SentenceKey, sentence_key, why_not_keep
from voice_gateway.domain.budget import BudgetState
from voice_gateway.domain.chain import Quality
from voice_gateway.domain.personality import AdvancedSettings
from voice_gateway.domain.samples.sample import PreparedWindow, SampleRefusal
from voice_gateway.domain.speech import Journal, ProviderCapabilities, SpeechRequest
from voice_gateway.domain.voice_match import SpeakerTraits
from voice_gateway.domain.voices import Gender

CAN = ProviderCapabilities(languages=frozenset({"en"}))
TEXT = "Hi there."
REQUEST = SpeechRequest(
    sentences=(TEXT,),
    language="en",
    chain=("piper", "google"),
    voices={"piper": "budtender", "google": "en-US-A"},
    tenant_id="shop",
    personality_id="marcel",
)
# Another value for every field of a request: a field that is added later has to be added here.
WINDOW = PreparedWindow(
    provider="xtts_v2",
    path="tenants/shop/samples/1/xtts_v2.wav",
    content_hash="0" * 64,
    sample_rate=24_000,
    seconds=12.0,
    start=1.0,
    loudness=-23.0,
    true_peak=-3.0,
)
OTHER_VALUES: dict[str, Any] = {
    "sentences": (TEXT, "More."),
    "language": "en-gb",
    "chain": ("piper",),
    "quality": Quality.FAST,
    "voices": {"piper": "budtender", "google": "en-US-B"},
    "wanted": SpeakerTraits(gender=Gender.FEMALE),
    "speed": 1.0000001,
    "pitch": -0.5,
    "advanced": AdvancedSettings(alpha=0.31),
    "sample_path": "tenants/shop/samples/1/clean.wav",
    "sample_hash": "f00",
    "windows": {"xtts_v2": WINDOW},
    "sample_refused": SampleRefusal.CONSENT_MISSING,
    "personality_id": "shante",
    "asked": "google",
    "too_dear": frozenset({"google"}),
    "budget": BudgetState.HARD,
    "strict": True,
    "fresh": True,
    "deadline": 12.0,
    "journal": Journal(not_applied={"pitch"}),
    "tenant_id": "other",
}


def key(request: SpeechRequest = REQUEST, **more: Any) -> SentenceKey:
    given = {"sentence": TEXT, "provider": "piper", "can": CAN, **more}
    return sentence_key(request, **given)


def test_every_field_of_a_request_is_thought_of() -> None:
    names = {field.name for field in fields(SpeechRequest)}
    assert set(OTHER_VALUES) == names, "say what another value of it is, and whether it is heard"
    assert names > NOT_HEARD, "a field that is gone cannot be left out"


@pytest.mark.parametrize("name", [n for n in OTHER_VALUES if n not in NOT_HEARD])
def test_whatever_can_be_heard_changes_the_key(name: str) -> None:
    assert key(replace(REQUEST, **{name: OTHER_VALUES[name]})).settings != key().settings


@pytest.mark.parametrize("name", sorted(NOT_HEARD))
def test_whatever_cannot_be_heard_does_not(name: str) -> None:
    assert key(replace(REQUEST, **{name: OTHER_VALUES[name]})).settings == key().settings


@pytest.mark.parametrize("name", list(AdvancedSettings.model_fields))
def test_each_advanced_setting_changes_the_key(name: str) -> None:
    other = {"alpha": 0.5, "beta": 0.1, "diffusion_steps": 6, "embedding_scale": 1.5}[name]
    changed = replace(REQUEST, advanced=AdvancedSettings.model_validate({name: other}))
    assert key(changed).settings != key().settings


def test_so_do_the_sentence_the_provider_its_voice_and_its_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {
        key().settings,
        key(sentence="Hi there!").settings,
        key(sentence="hi there.").settings,
        key(provider="google").settings,
        key(replace(REQUEST, voices={"piper": "libritts"})).settings,
        key(replace(REQUEST, voices={})).settings,
        key(can=replace(CAN, version="2")).settings,
    }
    monkeypatch.setattr(audio_cache, "SHAPING_VERSION", 99)
    assert len(found | {key().settings}) == 8


def test_whose_it_is_stands_in_the_name() -> None:
    assert key() != key(replace(REQUEST, tenant_id="other"))
    assert key() != key(replace(REQUEST, personality_id="shante"))
    assert key(replace(REQUEST, sample_hash="f00")).sample_hash == "f00"


@given(
    st.text(min_size=1), st.text(min_size=1), st.floats(0.25, 4), st.floats(0.25, 4),
    st.floats(-12, 12), st.floats(-12, 12),
)  # fmt: skip
def test_keys_are_equal_just_when_all_is(
    text: str, other: str, speed: float, faster: float, pitch: float, higher: float
) -> None:
    one = key(replace(REQUEST, speed=speed, pitch=pitch), sentence=text)
    two = key(replace(REQUEST, speed=faster, pitch=higher), sentence=other)
    same = (text, speed, repr(pitch)) == (other, faster, repr(higher))
    assert (one == two) is same
    assert one == key(replace(REQUEST, speed=speed, pitch=pitch), sentence=text)


RATE = 22_050
SENTENCE = "Welcome in, have a look around."


def verdict(audio: np.ndarray, **more: Any) -> str | None:
    given = {"sentence": SENTENCE, "language": "en", "speed": 1.0, **more}
    return why_not_keep(audio.astype(np.float32), RATE, **given)


def test_good_speech_is_kept() -> None:
    assert verdict(vowel(2, RATE)) is None
    assert verdict(np.concatenate((silence(0.5, RATE), vowel(2, RATE), silence(1, RATE)))) is None


@pytest.mark.parametrize(
    ("sentence", "language", "seconds"),
    [
        ("Hi.", "en", 0.25),
        ("It is $1,234,567.89 in 2026.", "en", 11.0),
        ("今天天气很好我们去公园吧", "zh", 3.0),
        ("お元気ですか", "ja", 1.2),
        ("Donaudampfschifffahrtsgesellschaft!", "de", 2.6),
        ("Ja", "de", 1.5),
    ],
)
def test_what_languages_really_take_is_plausible(
    sentence: str, language: str, seconds: float
) -> None:
    assert verdict(vowel(seconds, RATE), sentence=sentence, language=language) is None


def test_what_went_wrong_is_not_kept() -> None:
    voice = vowel(2, RATE)
    broken = voice.copy()
    broken[100] = np.nan
    assert verdict(broken) == "not_finite"
    assert verdict(np.clip(voice * 20, -1, 1)) == "clipped"
    assert verdict(silence(2, RATE)) == "silent"
    assert verdict(np.zeros(0)) == "silent"
    assert verdict(np.concatenate((vowel(0.5, RATE), silence(9, RATE)))) == "silent"
    assert verdict(vowel(0.3, RATE)) == "too_short"
    assert verdict(vowel(20, RATE)) == "too_long"


def test_what_was_asked_to_be_fast_may_be_short() -> None:
    assert verdict(vowel(0.3, RATE), speed=4.0) is None
    assert verdict(vowel(20, RATE), speed=0.25) is None
