"""XTTS v2: voices cloned from a sample, in seventeen languages, hosted on Triton."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voice_gateway.domain.speech import ProviderCapabilities
from voice_gateway.providers.triton import TritonProvider

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_gateway.ports import SampleWindows, SpeechProvider
    from voice_gateway.providers.registry import Deployment

LANGUAGES: Final = frozenset(
    {
        *("ar", "cs", "de", "en", "es", "fr", "hi", "hu", "it"),
        *("ja", "ko", "nl", "pl", "pt", "ru", "tr", "zh"),
    }
)
"""Those it was trained on."""


def offer(deployment: Deployment) -> Callable[[], SpeechProvider] | None:
    """Returns what makes the provider; None where its model is not on Triton."""
    if "xtts_v2" not in deployment.cloners:
        return None
    return lambda: xtts_v2_on_triton(
        deployment.triton_url, tls=deployment.triton_tls, samples=deployment.samples()
    )


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
