"""XTTS v2: voices cloned from a sample, in seventeen languages, hosted on Triton."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voice_gateway.domain.speech import ProviderCapabilities
from voice_gateway.providers.triton import TritonProvider

if TYPE_CHECKING:
    from voice_gateway.ports import SampleWindows

LANGUAGES: Final = frozenset(
    {
        *("ar", "cs", "de", "en", "es", "fr", "hi", "hu", "it"),
        *("ja", "ko", "nl", "pl", "pt", "ru", "tr", "zh"),
    }
)
"""Those it was trained on."""


def xtts_v2_on_triton(url: str, *, tls: bool, samples: SampleWindows) -> TritonProvider:
    """Makes the provider of the `xtts_v2` model.

    Args:
        url: `host:port` of Triton's gRPC endpoint.
        tls: Whether it speaks TLS.
        samples: Where the voices' samples lie.
    """
    return TritonProvider(
        name="xtts_v2",
        model="xtts_v2",
        url=url,
        tls=tls,
        capabilities=ProviderCapabilities(languages=LANGUAGES, cloning=True),
        samples=samples,
    )
