"""Our own providers know their voices, and take the one most like the wanted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.domain.voice_match import SpeakerTraits
from voice_gateway.domain.voices import Gender, choose
from voice_gateway.providers.espeak import EspeakProvider
from voice_gateway.providers.piper import LANGUAGES, SHIPPED, VOICES, piper_on_triton

CATALOGUE = Path(__file__).parents[4] / "model_repository" / "piper" / "voices.json"
WOMAN = SpeakerTraits(gender=Gender.FEMALE)
MAN = SpeakerTraits(gender=Gender.MALE)


def request(language: str = "en", **more: Any) -> SpeechRequest:
    return SpeechRequest(sentences=("Hi.",), language=language, chain=("piper",), **more)


class TestPiper:
    def test_the_gateway_knows_the_voices_of_the_serving_side(self) -> None:
        listed = json.loads(CATALOGUE.read_text(encoding="utf-8"))["voices"]
        known = {voice.name: voice for voice in VOICES}
        names = {}
        for entry in listed:
            for speaker in entry["speakers"] or [None]:
                names[f"{entry['name']}/{speaker}" if speaker else entry["name"]] = entry
        assert known.keys() == names.keys()
        for name, entry in names.items():
            voice = known[name]
            assert voice.languages == (entry["language"],)
            assert (voice.voice_class, voice.sample_rate) == (
                entry["quality"],
                entry["sample_rate"],
            )
            assert entry["gender"] in (None, voice.gender)
            assert (voice in SHIPPED) is not bool(entry.get("files"))
        assert {voice.languages[0][:2] for voice in VOICES} == LANGUAGES

    @pytest.mark.parametrize(
        ("language", "more", "voice"),
        [
            ("en", {"wanted": WOMAN}, "budtender/shante"),
            ("en-gb", {"wanted": MAN}, "budtender/marcel"),
            ("en", {"wanted": SpeakerTraits(pitch_hz=210)}, "budtender/shante"),
            ("en", {"wanted": MAN, "voices": {"piper": "en_GB-alba-medium"}}, "en_GB-alba-medium"),
            # What may not be installed is never asked for by ourselves.
            ("de", {"wanted": MAN}, None),
            ("en", {"wanted": SpeakerTraits()}, None),
            ("en", {}, None),
            ("en", {"voices": {"piper": "my-own-voice"}}, None),
        ],
    )
    async def test_only_shipped_voices_are_asked_for_unpinned(
        self, language: str, more: dict[str, Any], voice: str | None
    ) -> None:
        piper = piper_on_triton("127.0.0.1:1", tls=False)
        found = await piper.voice_for(request(language, **more))
        assert (found and found.name) == voice


class TestEspeak:
    @pytest.mark.parametrize(
        ("language", "more", "voice", "match"),
        [
            ("en", {}, "en-US", None),
            ("en", {"wanted": SpeakerTraits()}, "en-US", None),
            ("en", {"wanted": MAN}, "en-US", 0.818),
            ("en-us", {"wanted": WOMAN}, "en-US+f2", 1.0),
            ("de", {"wanted": SpeakerTraits(pitch_hz=220)}, "de+f2", None),
            ("en-us", {"wanted": WOMAN, "voices": {"espeak": "en-us+m3"}}, "en-US+m3", 0.364),
        ],
    )
    async def test_the_floor_is_a_man_or_a_woman(
        self, language: str, more: dict[str, Any], voice: str, match: float | None
    ) -> None:
        provider = EspeakProvider()
        [chunk] = [chunk async for chunk in provider.synthesize(request(language, **more))]
        assert chunk.voice == voice
        if match is not None:
            assert chunk.match == match
        told = await provider.voice_for(request(language, **more))
        assert told.name == voice

    async def test_every_voice_that_it_lists_can_be_pinned(self) -> None:
        provider = EspeakProvider()
        voices = await provider.voices()
        assert len({voice.name for voice in voices}) == len(voices) > 200
        found = choose(voices, "fr", gender=Gender.FEMALE)
        assert found is not None
        [chunk] = [
            chunk
            async for chunk in provider.synthesize(request("fr", voices={"espeak": found.name}))
        ]
        assert chunk.voice == found.name
