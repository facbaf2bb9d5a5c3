"""StyleTTS2: voices cloned from a sample, in English, hosted on Triton."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voice_gateway.domain.speech import ProviderCapabilities
from voice_gateway.providers.triton import TritonProvider

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_gateway.domain.speech import SpeechRequest
    from voice_gateway.ports import SampleWindows, SpeechProvider
    from voice_gateway.providers.registry import Deployment

LANGUAGES: Final = frozenset({"en"})
"""Of the checkpoint that there is."""


def offer(deployment: Deployment) -> Callable[[], SpeechProvider] | None:
    """Returns what makes the provider; None where its model is not on Triton."""
    if "styletts2" not in deployment.cloners:
        return None
    return lambda: styletts2_on_triton(
        deployment.triton_url, tls=deployment.triton_tls, samples=deployment.samples()
    )


def styletts2_on_triton(url: str, *, tls: bool, samples: SampleWindows) -> TritonProvider:
    """Makes the provider of the `styletts2` model.

    Args:
        url: `host:port` of Triton's gRPC endpoint.
        tls: Whether it speaks TLS.
        samples: Where the voices' samples lie.
    """
    return TritonProvider(
        name="styletts2",
        model="styletts2",
        url=url,
        tls=tls,
        capabilities=ProviderCapabilities(languages=LANGUAGES, cloning=True, advanced=True),
        samples=samples,
        settings=_advanced,
    )


def _advanced(request: SpeechRequest) -> dict[str, float]:
    advanced = request.advanced
    return {
        "alpha": advanced.alpha,
        "beta": advanced.beta,
        "diffusion_steps": advanced.diffusion_steps,
        "embedding_scale": advanced.embedding_scale,
    }
