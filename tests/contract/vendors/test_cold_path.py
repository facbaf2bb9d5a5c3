"""No vendor's SDK is imported before somebody is to be spoken to, and then that one's alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from fakes.vendors import Vendors

pytestmark = pytest.mark.integration

FUNCTIONS: Final = Path(__file__).parents[3] / "functions"
SDKS: Final = {
    "google": "google.cloud.texttospeech_v1",
    "azure": "azure.cognitiveservices.speech",
    "watson": "ibm_watson",
}

_SCRIPT: Final = """
import asyncio, json, sys

sys.path.insert(0, sys.argv[1])
from voice_gateway.bootstrap import provider_registry
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.settings import SpeechSettings

sdks = json.loads(sys.argv[2])
registry = provider_registry(SpeechSettings())

async def cold_and_warm():
    names = registry.names()
    assert {"google", "azure", "watson"} <= set(names), names
    await registry.warm_up(("google", "azure", "watson"))
    assert all(registry.get(name).capabilities.speaks("en") for name in sdks)
    print(json.dumps([sdk for sdk in sdks.values() if sdk in sys.modules]))
    for name in sys.argv[3:]:
        request = SpeechRequest(sentences=("Hi.",), language="en", chain=(name,))
        async for _ in registry.get(name).synthesize(request):
            pass
        print(json.dumps([sdk for sdk in sdks.values() if sdk in sys.modules]))
    await registry.aclose()

asyncio.run(cold_and_warm())
"""


@pytest.mark.parametrize("vendor", SDKS)
def test_only_the_sdk_that_speaks_is_imported(vendors: Vendors, vendor: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", _SCRIPT, str(FUNCTIONS), json.dumps(SDKS), vendor],
        env={
            "TABLE_NAME": "voices",
            "TRITON_URL": "127.0.0.1:9",
            "SAMPLES_BUCKET": "samples",
            **{f"{n.upper()}_CREDENTIALS": json.dumps(vendors.account(n)) for n in SDKS},
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cold, warm = (json.loads(line) for line in done.stdout.splitlines())
    assert (cold, warm) == ([], [SDKS[vendor]])


def test_without_credentials_there_is_no_vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    from voice_gateway.bootstrap import provider_registry
    from voice_gateway.settings import SpeechSettings

    monkeypatch.setenv("AZURE_CREDENTIALS", '{"key": "k", "region": "westeurope"}')
    settings = SpeechSettings(
        table_name="voices", triton_url="127.0.0.1:9", samples_bucket="samples"
    )
    registry = provider_registry(settings)
    assert set(registry.names()) == {"piper", "espeak", "azure"}
    assert registry.get("google") is None
    assert "westeurope" not in repr(settings)
