"""The voices that the local vendors have: real names, spoken by espeak-ng."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr

from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.providers.espeak import EspeakProvider


@dataclass(frozen=True, slots=True)
class LocalVoice:
    """A vendor's voice."""

    name: str
    locale: str
    """As the vendor writes it: `en-US`, `cmn-CN`."""
    female: bool

    @property
    def espeak(self) -> str:
        """The voice of the library that stands in for it."""
        language = {"cmn-CN": "cmn", "zh-CN": "cmn", "nb-NO": "nb", "en-US": "en-us"}.get(
            self.locale, self.locale.partition("-")[0]
        )
        variants = ("f2", "f3", "f4") if self.female else ("m1", "m3", "m7")
        return f"{language}+{variants[sum(self.name.encode()) % 3]}"


def _voices(*described: str) -> tuple[LocalVoice, ...]:
    """Reads `name locale gender` lines."""
    return tuple(
        LocalVoice(name, locale, gender == "f")
        for name, locale, gender in (line.split() for line in described)
    )


GOOGLE: Final = _voices(
    "en-US-Chirp3-HD-Kore en-US f",
    "en-US-Chirp3-HD-Puck en-US m",
    "en-US-Neural2-C en-US f",
    "en-US-Neural2-D en-US m",
    "en-US-Standard-A en-US m",
    "en-GB-Neural2-A en-GB f",
    "en-GB-Wavenet-B en-GB m",
    "fr-FR-Chirp3-HD-Kore fr-FR f",
    "fr-FR-Neural2-B fr-FR m",
    "de-DE-Neural2-B de-DE m",
    "es-ES-Neural2-A es-ES f",
    "ja-JP-Neural2-B ja-JP f",
    "ar-XA-Wavenet-A ar-XA f",
    "cmn-CN-Wavenet-A cmn-CN f",
    "nb-NO-Wavenet-A nb-NO f",
)
AZURE: Final = _voices(
    "en-US-JennyNeural en-US f",
    "en-US-GuyNeural en-US m",
    "en-US-Ava:DragonHDLatestNeural en-US f",
    "en-GB-SoniaNeural en-GB f",
    "en-GB-RyanNeural en-GB m",
    "fr-FR-DeniseNeural fr-FR f",
    "fr-FR-HenriNeural fr-FR m",
    "de-DE-KatjaNeural de-DE f",
    "es-ES-AlvaroNeural es-ES m",
    "ja-JP-NanamiNeural ja-JP f",
    "ar-SA-HamedNeural ar-SA m",
    "zh-CN-XiaoxiaoNeural zh-CN f",
    "nb-NO-PernilleNeural nb-NO f",
)
WATSON: Final = _voices(
    "en-US_AllisonV3Voice en-US f",
    "en-US_MichaelV3Voice en-US m",
    "en-US_EmmaExpressive en-US f",
    "en-GB_KateV3Voice en-GB f",
    "fr-FR_ReneeV3Voice fr-FR f",
    "fr-FR_NicolasV3Voice fr-FR m",
    "de-DE_DieterV3Voice de-DE m",
    "es-ES_LauraV3Voice es-ES f",
    "ja-JP_EmiV3Voice ja-JP f",
)

_ESPEAK: Final = EspeakProvider()


async def speak(
    voice: LocalVoice, text: str, *, rate: int, speed: float = 1.0, semitones: float = 0.0
) -> bytes:
    """Speaks a sentence.

    Args:
        voice: Whose voice.
        text: Without markup.
        rate: Hz of the audio wanted.
        speed: 2 takes half the time.
        semitones: Up or down.

    Returns:
        16-bit little-endian mono samples.
    """
    request = SpeechRequest(
        sentences=(text,),
        language=voice.espeak.partition("+")[0],
        chain=("espeak",),
        voices={"espeak": voice.espeak},
        speed=speed,
        pitch=semitones,
    )
    (chunk,) = [chunk async for chunk in _ESPEAK.synthesize(request)]
    samples = soxr.resample(chunk.samples, chunk.sample_rate, rate)
    return bytes((np.clip(samples, -1, 1) * 32767).astype("<i2"))


def word_times(text: str, seconds: float) -> list[tuple[str, float, float]]:
    """When each word is about to be heard, from its start to its end, by its share of letters."""
    words, spoken = text.split(), 0.0
    letters = sum(map(len, words)) or 1
    times = []
    for word in words:
        share = seconds * len(word) / letters
        times.append((word, spoken, spoken + share))
        spoken += share
    return times
