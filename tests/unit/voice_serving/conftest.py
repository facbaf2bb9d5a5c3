"""Tiny voices, and an engine over them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fakes.tiny_piper import build_voice
from voice_serving.engines.piper import PiperEngine
from voice_serving.metrics import ServingMetrics
from voice_serving.params import Parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as Triton sees it: the version folder, its voices, the catalogue."""
    version = tmp_path_factory.mktemp("piper") / "1"
    voices = version / "voices"
    voices.mkdir(parents=True)
    build_voice(voices / "house.onnx", speakers=("marcel", "shante"))
    build_voice(voices / "zebra.onnx", sample_rate=22050)
    build_voice(voices / "london.onnx", espeak_voice="en-gb-x-rp")
    build_voice(voices / "paris.onnx", espeak_voice="fr")
    build_voice(voices / "broken.onnx", espeak_voice="de", amplitude=float("nan"))
    catalogue = [_entry("zebra", "en-US"), _entry("house", "en-US", default=True)]
    catalogue += [_entry("london", "en-GB"), _entry("rome", "it-IT")]
    document = {"repository": "some/where", "revision": "0" * 40, "voices": catalogue}
    (version.parent / "voices.json").write_text(json.dumps(document), encoding="utf-8")
    return version


@pytest.fixture
def make_engine(repository: Path) -> Iterator[Callable[..., PiperEngine]]:
    """Loads an engine; keywords are its parameters."""
    engines = []

    def make(directory: Path = repository, **parameters: str) -> PiperEngine:
        engine = PiperEngine()
        engine.load(Parameters("piper", parameters, {}), directory, ServingMetrics(None, "piper"))
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def engine(make_engine: Callable[..., PiperEngine]) -> PiperEngine:
    return make_engine(instances="1", threads="1")


def _entry(name: str, language: str, default: bool = False) -> dict[str, object]:
    return {
        "name": name,
        "display_name": name.title(),
        "language": language,
        "gender": None,
        "quality": "low",
        "sample_rate": 16000,
        "speakers": [],
        "licence": "none",
        "default": default,
    }
