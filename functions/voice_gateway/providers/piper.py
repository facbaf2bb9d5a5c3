"""Piper: fast neural voices, hosted on Triton."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voice_gateway.domain.speech import ProviderCapabilities
from voice_gateway.providers.triton import TritonProvider

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_gateway.ports import SpeechProvider
    from voice_gateway.providers.registry import Deployment

LANGUAGES: Final = frozenset(
    {"de", "en", "es", "fr", "it", "nl", "pl", "pt", "ro", "ru", "uk", "zh"}
)
"""Of the catalogue's voices (model_repository/piper/voices.json), installed or not."""


def offer(deployment: Deployment) -> Callable[[], SpeechProvider]:
    """Returns what makes the provider."""
    return lambda: piper_on_triton(deployment.triton_url, tls=deployment.triton_tls)


def piper_on_triton(url: str, *, tls: bool) -> TritonProvider:
    """Makes the provider of the `piper` model.

    Args:
        url: `host:port` of Triton's gRPC endpoint.
        tls: Whether it speaks TLS.
    """
    return TritonProvider(
        name="piper",
        model="piper",
        url=url,
        tls=tls,
        capabilities=ProviderCapabilities(languages=LANGUAGES),
    )
