"""Piper: fast neural voices, hosted on Triton."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.speech import ProviderCapabilities
from voice_gateway.domain.voice_match import likeness, most_like
from voice_gateway.domain.voices import Gender, Voice, language_of, named
from voice_gateway.providers.triton import TritonProvider

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from voice_gateway.domain.speech import SpeechChunk, SpeechRequest
    from voice_gateway.ports import SpeechProvider
    from voice_gateway.providers.registry import Deployment

NAME: Final = "piper"
LANGUAGES: Final = frozenset(
    {"de", "en", "es", "fr", "it", "nl", "pl", "pt", "ro", "ru", "uk", "zh"}
)
"""Of the catalogue's voices (model_repository/piper/voices.json), installed or not."""


def _voice(name: str, language: str, gender: Gender | None, quality: str = "medium") -> Voice:
    return Voice(
        provider=NAME,
        name=name,
        languages=(language,),
        gender=gender,
        voice_class=quality,
        sample_rate=22_050,
        streaming=True,
        controls=frozenset({"speed"}),
    )


SHIPPED: Final = (
    _voice("budtender/marcel", "en-US", Gender.MALE, "low"),
    _voice("budtender/shante", "en-US", Gender.FEMALE, "low"),
)
"""Those that are on every serving host: the only ones that can be asked for unpinned."""
VOICES: Final = (
    *SHIPPED,
    _voice("en_US-kristin-medium", "en-US", Gender.FEMALE),
    _voice("en_GB-alba-medium", "en-GB", Gender.FEMALE),
    _voice("fr_FR-siwis-medium", "fr-FR", Gender.FEMALE),
    _voice("de_DE-thorsten-medium", "de-DE", Gender.MALE),
    _voice("es_ES-davefx-medium", "es-ES", Gender.MALE),
    _voice("it_IT-paola-medium", "it-IT", Gender.FEMALE),
    _voice("pt_BR-faber-medium", "pt-BR", Gender.MALE),
    _voice("nl_BE-nathalie-medium", "nl-BE", Gender.FEMALE),
    _voice("pl_PL-darkman-medium", "pl-PL", Gender.MALE),
    _voice("ro_RO-mihai-medium", "ro-RO", Gender.MALE),
    _voice("ru_RU-denis-medium", "ru-RU", Gender.MALE),
    _voice("uk_UA-ukrainian_tts-medium/lada", "uk-UA", Gender.FEMALE),
    _voice("uk_UA-ukrainian_tts-medium/mykyta", "uk-UA", Gender.MALE),
    _voice("uk_UA-ukrainian_tts-medium/tetiana", "uk-UA", Gender.FEMALE),
    _voice("zh_CN-huayan-medium", "zh-CN", Gender.FEMALE),
)
"""The catalogue's voices, speaker by speaker; a test compares them with it."""


class PiperProvider(TritonProvider):
    """The `piper` model, with the names of its voices."""

    async def voices(self) -> tuple[Voice, ...]:
        """Lists the catalogue; all but the shipped ones may not be installed."""
        return VOICES

    async def voice_for(self, request: SpeechRequest) -> Voice | None:
        """Tells who would speak a request; None where the serving host decides."""
        if (pinned := request.voices.get(NAME)) is not None:
            return named(VOICES, pinned)
        if request.wanted is None or not request.wanted.known:
            return None
        if any(language_of(v.languages[0]) == language_of(request.language) for v in SHIPPED):
            return most_like(request.wanted, SHIPPED, request.language)
        return None

    async def synthesize(self, request: SpeechRequest) -> AsyncGenerator[SpeechChunk]:
        """Speaks as every model does, in the shipped voice that is most like the wanted one.

        Raises:
            ProviderError: The model's.
        """
        asked = request
        if (voice := await self.voice_for(request)) is not None and NAME not in request.voices:
            asked = replace(request, voices={**request.voices, NAME: voice.name})
        async with aclosing(super().synthesize(asked)) as chunks:
            async for chunk in chunks:
                match = likeness(request.wanted, request.language, named(VOICES, chunk.voice))
                yield replace(chunk, match=match)


def offer(deployment: Deployment) -> Callable[[], SpeechProvider]:
    """Returns what makes the provider."""
    return lambda: piper_on_triton(deployment.triton_url, tls=deployment.triton_tls)


def piper_on_triton(url: str, *, tls: bool) -> PiperProvider:
    """Makes the provider of the `piper` model.

    Args:
        url: `host:port` of Triton's gRPC endpoint.
        tls: Whether it speaks TLS.
    """
    return PiperProvider(
        name=NAME,
        model="piper",
        url=url,
        tls=tls,
        capabilities=ProviderCapabilities(languages=LANGUAGES),
    )
