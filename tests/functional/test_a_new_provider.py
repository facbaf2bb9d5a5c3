"""A provider is one new file and one line: here is one that nobody else has heard of."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import pytest

from fakes.clock import FakeClock
from fakes.routing import routed
from voice_gateway import providers
from voice_gateway.api_models import SpeechBody
from voice_gateway.bootstrap import provider_registry
from voice_gateway.domain import chain, personality
from voice_gateway.domain.personality import VoiceConfig
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.providers.registry import ProviderRegistry
from voice_gateway.settings import SpeechSettings

if TYPE_CHECKING:
    from pathlib import Path

NEW_FILE = """
import numpy as np

from voice_gateway.domain.speech import ProviderCapabilities, SpeechChunk


class ParrotProvider:
    name = "parrot"
    capabilities = ProviderCapabilities(languages=frozenset({"en"}), usd_per_million_characters=1.0)

    async def warm_up(self):
        pass

    async def aclose(self):
        pass

    async def synthesize(self, request):
        for index, sentence in enumerate(request.sentences):
            samples = np.full(len(sentence) * 100, 0.5, dtype=np.float32)
            yield SpeechChunk(
                samples=samples, sample_rate=16000, sentence=index, last=True,
                provider=self.name, voice="polly-the-bird",
            )


def offer(deployment):
    return ParrotProvider
"""


async def test_one_file_and_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parrot.py").write_text(NEW_FILE, encoding="utf-8")
    monkeypatch.setattr(providers, "__path__", [*providers.__path__, str(tmp_path)])
    line = (*chain.PROVIDER_NAMES, "parrot")
    for known_to in (chain, personality):
        monkeypatch.setattr(known_to, "PROVIDER_NAMES", line)
    settings = SpeechSettings(table_name="t", triton_url="127.0.0.1:9", samples_bucket="b")

    registry = provider_registry(settings)

    assert set(registry.names()) == {"piper", "espeak", "parrot"}
    config = VoiceConfig.model_validate({"provider": "parrot", "fallback_chain": ["parrot"]})
    asked = chain.chain_for(chain.Quality.FAST, own_chain=config.fallback_chain)
    request = SpeechRequest(sentences=("Hello.",), language="en", chain=asked, speed=1.5)
    chunks = [c async for c in routed(registry, FakeClock()).synthesize(request)]
    assert {c.provider for c in chunks} == {"parrot"}
    assert SpeechBody.model_validate({"text": "Hi", "personality": "p", "provider": "parrot"})
    monkeypatch.delitem(sys.modules, "voice_gateway.providers.parrot")


async def test_one_file_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parrot.py").write_text(NEW_FILE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    registry = ProviderRegistry()

    registry.register("parrot", lambda: importlib.import_module("parrot").ParrotProvider())

    assert "parrot" not in sys.modules
    request = SpeechRequest(sentences=("Hello.",), language="en", chain=("nobody", "parrot"))
    chunks = [c async for c in routed(registry, FakeClock()).synthesize(request)]
    assert [(c.provider, c.voice) for c in chunks] == [("parrot", "polly-the-bird")]
    passed_over, served = request.journal.attempts
    assert passed_over.reason == "not_configured"
    assert float(served.cost_usd) == pytest.approx(6 / 1e6)
    monkeypatch.delitem(sys.modules, "parrot")
