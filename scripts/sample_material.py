"""Speech with defects that are known, for measuring what the sample report finds.

espeak-ng speaks, and so does the voice in the repository; everything else is added here, from one
seed: the same material on every machine. Both pause in digital silence, so that the noise that is
added is all that there is.
"""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import soxr
from piper import PiperVoice, SynthesisConfig

from voice_gateway.domain.samples.activity import HOP
from voice_gateway.domain.speech import SpeechRequest
from voice_gateway.providers.espeak import EspeakProvider

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

VOICES: Final = ("en-us", "en-us+f2", "en+m3", "en+f4", "en-us+m7", "fr", "de+f3", "es")
SENTENCES: Final = (
    "Welcome in, and take your time.",
    "What is the evening for, something calm or something bright?",
    "This one grew on the coast, and you can smell the pines in it.",
    "Six silver spoons shone softly in the sunshine.",
    "Start low, go slow, and drink some water with it.",
    "The small one is twelve dollars, and the big one is thirty.",
    "I have tasted both, and I would choose the second.",
    "If you cannot sleep, we should talk about something else.",
)
PIPER: Final = (
    Path(__file__).parents[1] / "model_repository" / "piper" / "1" / "voices" / "budtender.onnx"
)
PIPER_SPEAKERS: Final = (0, 1)
PAUSES: Final = (0.35, 0.8)
"""Seconds between two sentences, drawn evenly."""
LEVEL: Final = -24.0
"""dBFS of the speech while it is spoken."""

_espeak: Final = EspeakProvider()


def speech(voice: str, seconds: float, rate: int, random: Generator) -> NDArray[np.float64]:
    """Returns sentences with pauses between, clean, at `LEVEL`; shape [seconds * rate]."""
    parts: list[NDArray[np.float64]] = []
    wanted = round(seconds * rate)
    while sum(part.size for part in parts) < wanted:
        sentence = SENTENCES[random.integers(len(SENTENCES))]
        parts.append(np.zeros(round(random.uniform(*PAUSES) * rate)))
        parts.append(_spoken(sentence, voice, rate, random))
    return at_level(np.concatenate(parts)[:wanted], rate, LEVEL)


def reading(speaker: int, seconds: float, rate: int, random: Generator) -> NDArray[np.float64]:
    """Returns the repository's Piper voice as it reads on, with hardly a pause, at `LEVEL`."""
    parts: list[NDArray[np.float64]] = []
    wanted = round(seconds * rate)
    while sum(part.size for part in parts) < wanted:
        text = " ".join(SENTENCES[i] for i in random.permutation(len(SENTENCES))[:3])
        # Without its own randomness, which has no seed.
        how = SynthesisConfig(speaker, random.uniform(0.9, 1.15), noise_scale=0, noise_w_scale=0)
        for sentence in _piper().synthesize(text, how):
            spoken = sentence.audio_float_array.astype(np.float64)
            parts.append(soxr.resample(spoken, sentence.sample_rate, rate))
    return at_level(np.concatenate(parts)[:wanted], rate, LEVEL)


def at_level(audio: NDArray[np.float64], rate: int, level: float) -> NDArray[np.float64]:
    """Scales it so that its active frames are at `level` dBFS."""
    return audio * 10 ** (level / 20) / np.sqrt(active_power(audio, rate))


def active_power(audio: NDArray[np.float64], rate: int) -> float:
    """Mean square of the frames within 35 dB of the loud ones: of clean speech, the truth."""
    hop = round(HOP * rate)
    power = (audio[: audio.size // hop * hop].reshape(-1, hop) ** 2).mean(axis=1)
    return float(power[power > np.percentile(power, 95) * 10**-3.5].mean())


def noise(kind: str, size: int, rate: int, random: Generator) -> NDArray[np.float64]:
    """Returns `white`, `pink` or `babble` (eight voices at once) noise of mean square 1."""
    if kind == "babble":
        voices = [
            speech(VOICES[i % len(VOICES)], size / rate + 2, rate, random)[rate : rate + size]
            for i in range(8)
        ]
        made = np.sum(voices, axis=0)
    else:
        spectrum = np.fft.rfft(random.standard_normal(size))
        if kind == "pink":
            spectrum /= np.sqrt(np.maximum(np.arange(spectrum.size), 1))
            spectrum[: round(20 * size / rate)] = 0
        made = np.fft.irfft(spectrum, size)
    return made / np.sqrt(np.mean(made**2))


def with_noise(
    audio: NDArray[np.float64], rate: int, kind: str, snr: float, random: Generator
) -> NDArray[np.float64]:
    """Adds noise `snr` dB below the active speech."""
    power = active_power(audio, rate) * 10 ** (-snr / 10)
    return audio + noise(kind, audio.size, rate, random) * np.sqrt(power)


def clipped(audio: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Cuts off the tops so that `share` of all values lie on them."""
    limit = np.quantile(np.abs(audio), 1 - share)
    return np.clip(audio, -limit, limit) * (0.95 / limit)


def reverberated(
    audio: NDArray[np.float64], rate: int, rt60: float, random: Generator
) -> NDArray[np.float64]:
    """Puts it into a room: a direct path, then noise that decays by 60 dB in `rt60` seconds."""
    size = round(rt60 * 1.2 * rate)
    room = random.standard_normal(size) * 10 ** (-3 * np.arange(size) / rate / rt60)
    room *= 1 / np.sqrt(np.sum(room**2))
    room[0] += 1.0
    full = audio.size + size
    wet = np.fft.irfft(np.fft.rfft(audio, full) * np.fft.rfft(room, full), full)[: audio.size]
    return at_level(wet, rate, LEVEL)


def from_rate(audio: NDArray[np.float64], rate: int, origin: int) -> NDArray[np.float64]:
    """Returns what is left after it went through `origin` Hz."""
    there = soxr.resample(audio, rate, origin)
    return np.asarray(soxr.resample(there, origin, rate)[: audio.size])


def drawn_wide(audio: NDArray[np.float64], rate: int, origin: int, how: str) -> NDArray[np.float64]:
    """What crude programs make of `origin` Hz: its values repeated (`steps`), or `lines`."""
    there = soxr.resample(audio, rate, origin)
    at = np.arange(audio.size) * origin / rate
    if how == "steps":
        return np.asarray(there[np.minimum(at.astype(int), there.size - 1)])
    return np.interp(at, np.arange(there.size), there)


def hum(size: int, rate: int, mains: float, level: float) -> NDArray[np.float64]:
    """Returns the mains at `level` dBFS, with two harmonics."""
    t = np.arange(size) / rate
    made = sum(10 ** (-6 * k / 20) * np.sin(2 * np.pi * mains * (k + 1) * t) for k in range(3))
    return np.asarray(made / np.sqrt(np.mean(np.square(made))) * 10 ** (level / 20))


def two_speakers(rate: int, seconds: float, random: Generator) -> NDArray[np.float64]:
    """Returns a man and a woman who take turns."""
    turns = [speech(v, seconds / 4, rate, random) for v in ("en-us", "en-us+f4") * 2]
    return np.concatenate(turns)


def music(size: int, rate: int, random: Generator) -> NDArray[np.float64]:
    """Returns chords that never rest, at `LEVEL`."""
    beat = rate // 2
    time = np.arange(beat) / rate
    notes = 220 * 2 ** (np.array([0, 3, 5, 7, 10, 12]) / 12)
    chords = [
        sum(np.sin(2 * np.pi * hertz * time) for hertz in random.choice(notes, 3, replace=False))
        * np.exp(-1.5 * time)
        for _ in range(size // beat + 1)
    ]
    made = np.concatenate(chords)[:size]
    return np.asarray(made * 10 ** (LEVEL / 20) / np.sqrt(np.mean(made**2)))


@cache
def _piper() -> PiperVoice:
    return PiperVoice.load(PIPER)


def _spoken(sentence: str, voice: str, rate: int, random: Generator) -> NDArray[np.float64]:
    request = SpeechRequest(
        sentences=(sentence,),
        language="en",
        chain=("espeak",),
        voices={"espeak": voice},
        speed=float(random.uniform(0.9, 1.15)),
        pitch=float(random.uniform(-1, 1)),
    )

    async def collect() -> tuple[NDArray[np.float32], int]:
        chunks = [chunk async for chunk in _espeak.synthesize(request)]
        return np.concatenate([c.samples for c in chunks]), chunks[0].sample_rate

    samples, own_rate = asyncio.run(collect())
    return np.asarray(soxr.resample(samples.astype(np.float64), own_rate, rate))
