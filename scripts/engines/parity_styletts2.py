"""StyleTTS2: is it the styletts2 package's, and what does the smaller precision change?"""

from __future__ import annotations

import io
import math
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soundfile
import torch

from random_styletts2 import load_upstream
from voice_serving.engine import SynthesisInput
from voice_serving.engines.styletts2 import StyleTts2Engine
from voice_serving.engines.styletts2.engine import STEPS, TAIL
from voice_serving.engines.styletts2.network.checkpoint import load
from voice_serving.engines.styletts2.network.model import Manner, Network, Reading
from voice_serving.engines.styletts2.network.prosody import frame_index, spread
from voice_serving.engines.styletts2.network.source import HARMONICS, SAMPLE_RATE
from voice_serving.engines.styletts2.network.speaker import Speaker
from voice_serving.engines.styletts2.network.style import mel_spectrogram, trimmed
from voice_serving.engines.styletts2.phonemes import Phonemizer
from voice_serving.engines.styletts2.sentence import Sentence, Spoken
from voice_serving.engines.styletts2.settings import Precision
from voice_serving.engines.styletts2.symbols import tokens
from voice_serving.metrics import ServingMetrics
from voice_serving.params import Parameters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from upstream_styletts2 import Upstream
    from voice_serving.errors import InternalError

TEXTS: Final = (
    "Good evening, what may I show you?",
    "Twelve of them, for $5 each!",
    "Nobody remembers who lit them, or why they were lit at all.",
)
TOGETHER: Final = 8
TOLERANCE: Final = 1e-3
STREAMED_TOLERANCE: Final = 1e-4
MANNERS: Final[tuple[dict[str, float], ...]] = (
    {},
    {"alpha": 0.0, "beta": 1.0},
    {"guidance": 2.0},
)
"""How the texts are spoken, in turn: as the authors do, and otherwise."""

_SAMPLE_SECONDS: Final = (3.0, 5.0)
_SEED: Final = 11


def compare(folder: Path, texts: Sequence[str] = TEXTS) -> str:
    """Compares over one checkpoint; returns Markdown.

    Raises:
        AssertionError: In float32 something is not the package's, or depends on company.
    """
    upstream = load_upstream(folder)
    network = load(folder, folder).network
    speaker = Speaker(network, torch.device("cpu"), sound_batch=1)
    voices = [_voice(upstream, speaker, seconds) for seconds in _SAMPLE_SECONDS]
    phonemizer = Phonemizer()
    sentences = [
        _sentence(
            tokens(phonemizer.phonemes(text)),
            voices[number % len(voices)],
            seed=number,
            **MANNERS[number % len(MANNERS)],
        )
        for number, text in enumerate(texts)
    ]
    spoken = [_one(speaker, sentence) for sentence in sentences]
    found = [
        _against(upstream, network, sentence, ours)
        for sentence, ours in zip(sentences, spoken, strict=True)
    ]
    curves, waveform, whole = (max(each) for each in zip(*found, strict=True))
    assert curves < TOLERANCE, curves
    assert waveform < TOLERANCE, waveform
    assert whole < TOLERANCE, whole
    seconds = sum(len(each.samples) for each in spoken) / SAMPLE_RATE
    lines = [
        f"- fp32: the durations of {len(texts)} texts are the package's, pitch and energy within"
        f" {curves:.1e} of its; {seconds:.0f} s of audio over equal curves within {waveform:.1e},"
        f" and from the tokens on within {whole:.1e} a second",
        _streamed(folder, upstream, speaker, texts[: len(TEXTS)]),
        _together(network, speaker, sentences),
        _reduced(network, load(folder, folder).network.in_half(), sentences),
    ]
    return "\n".join([*lines, ""])


def _voice(upstream: Upstream, speaker: Speaker, seconds: float) -> NDArray[np.float32]:
    """The style of a sample, which both must hear alike."""
    audio = _recording(seconds)
    style = speaker.hear(audio)
    assert style is not None
    assert np.abs(style - _heard(upstream, audio)).max() < TOLERANCE
    return style


@torch.inference_mode()
def _heard(upstream: Upstream, audio: NDArray[np.float32]) -> NDArray[np.float32]:
    mel = mel_spectrogram(trimmed(torch.from_numpy(audio)), upstream.config["n_mels"])[None, None]
    encoders = ("style_encoder", "predictor_encoder")
    style = torch.cat([upstream.modules[name](mel) for name in encoders], dim=1)
    return np.asarray(style[0].numpy(), np.float32)


def _recording(seconds: float) -> NDArray[np.float32]:
    """Something that swells like syllables, with a tone in it."""
    random = np.random.default_rng(int(seconds))
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * (80 + 10 * seconds) * time) * np.sin(3 * time) ** 2
    return np.asarray(0.3 * tone + 0.02 * random.standard_normal(len(time)), np.float32)


def _sentence(
    numbers: tuple[int, ...],
    style: NDArray[np.float32],
    *,
    seed: int,
    alpha: float = 0.3,
    beta: float = 0.7,
    guidance: float = 1.0,
) -> Sentence:
    return Sentence(
        tokens=numbers,
        reference=style,
        previous=None,
        carry=0.7,
        alpha=alpha,
        beta=beta,
        guidance=guidance,
        steps=STEPS,
        speed=1.0,
        seed=seed,
    )


def _one(speaker: Speaker, sentence: Sentence) -> Spoken:
    (spoken,) = speaker.speak([sentence])
    return _spoken(spoken)


def _spoken(spoken: Spoken | InternalError) -> Spoken:
    assert isinstance(spoken, Spoken), spoken
    return spoken


def _noise(sentence: Sentence, samples: int) -> tuple[Tensor, Tensor]:
    """What its seed draws: for the diffusion, `[steps, 1, style]`, and for the source."""
    generator = torch.Generator().manual_seed(sentence.seed)
    styles = torch.randn(sentence.steps, len(sentence.reference), generator=generator)
    return styles[:, None], torch.randn(1, HARMONICS, samples, generator=generator)


def _theirs(upstream: Upstream, sentence: Sentence, ours: Spoken) -> Spoken:
    """What the package makes of a sentence, from the noise that its seed gave us."""
    previous = sentence.previous
    samples, frames, style = upstream.inference(
        torch.tensor([sentence.tokens]),
        torch.from_numpy(sentence.reference)[None],
        *_noise(sentence, len(ours.samples)),
        alpha=sentence.alpha,
        beta=sentence.beta,
        scale=sentence.guidance,
        previous=None if previous is None else torch.from_numpy(previous)[None],
        carry=sentence.carry,
    )
    return Spoken(
        samples=samples.numpy(),
        frames=frames.reshape(-1).long().numpy(),
        style=style[0].numpy(),
    )


def _against(
    upstream: Upstream, network: Network, sentence: Sentence, ours: Spoken
) -> tuple[float, float, float]:
    """How far a sentence is from the package's.

    Returns:
        Pitch and energy; the audio over the package's own curves; all the way from the tokens, a
        second. A pitch that differs by rounding alone runs away from the other, and the ninth
        overtone nine times as fast: so the curves are held against the package's, and the audio
        over equal ones.
    """
    seen: list[Tensor] = []
    hook = upstream.modules["decoder"].register_forward_pre_hook(
        lambda _, given: seen.extend(given)
    )
    theirs = _theirs(upstream, sentence, ours)
    hook.remove()
    phonemes, pitch, energy, voice = seen
    with torch.inference_mode():
        reading = _read(network, sentence)
        index = frame_index(reading.frames.long(), int(ours.frames.sum()))
        manner = reading.style[:, network.shape.half_style :]
        own_pitch, own_energy, _ = network.curves(spread(reading.prosody, index), manner, None)
        own = network.decoder(
            phonemes.transpose(1, 2).contiguous(),
            pitch,
            energy,
            voice,
            _noise(sentence, len(ours.samples))[1],
            None,
        )
    curves = max(float((own_pitch - pitch).abs().max()), float((own_energy - energy).abs().max()))
    waveform = float(np.abs(own[0].numpy() - theirs.samples).max())
    return curves, waveform, _off(ours, theirs)


def _off(ours: Spoken, theirs: Spoken) -> float:
    """How far apart two are that must last equally long and sound like something, a second."""
    assert np.array_equal(ours.frames, theirs.frames)
    assert theirs.samples.std() > 0.01
    seconds = max(1.0, len(ours.samples) / SAMPLE_RATE)
    return float(np.abs(ours.samples - theirs.samples).max()) / seconds


def _streamed(folder: Path, upstream: Upstream, speaker: Speaker, texts: Sequence[str]) -> str:
    """A long text as callers hear it, its style going over from sentence to sentence."""
    audio = _recording(_SAMPLE_SECONDS[0])
    file = io.BytesIO()
    soundfile.write(file, audio, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    sample = file.getvalue()
    engine = StyleTts2Engine()
    settings = Parameters("styletts2", {"device": "cpu"}, {})
    engine.load(settings, folder, ServingMetrics(None, "styletts2"))
    request = SynthesisInput(
        sentences=tuple(texts),
        language="en",
        sample_ids=(sha256(sample).hexdigest(),),
        samples=(sample,),
        seed=_SEED,
    )
    chunks = list(engine.synthesize(request, lambda: False))
    engine.close()
    assert [chunk.sentence for chunk in chunks] == list(range(len(texts)))

    phonemizer = Phonemizer()
    style = speaker.hear(audio)
    assert style is not None
    mine: Spoken | None = None
    theirs: Spoken | None = None
    apart = worst = 0.0
    for number, (text, chunk) in enumerate(zip(texts, chunks, strict=True)):
        numbers = tokens(phonemizer.phonemes(text))
        sentence = _sentence(numbers, style, seed=_SEED + number)
        mine = _one(speaker, replace(sentence, previous=None if mine is None else mine.style))
        carried = None if theirs is None else theirs.style
        theirs = _theirs(upstream, replace(sentence, previous=carried), mine)
        worst = max(worst, _off(mine, theirs))
        apart = max(apart, float(np.abs(chunk.samples - mine.samples[:-TAIL]).max()))
    assert worst < TOLERANCE, worst
    assert apart < STREAMED_TOLERANCE, apart
    return (
        f"- fp32, {len(texts)} sentences with the style carried on: within {worst:.1e} of the"
        f" package's a second; streamed and spoken one by one within {apart:.1e}"
    )


def _together(network: Network, speaker: Speaker, sentences: Sequence[Sentence]) -> str:
    """Sentences of all lengths in one batch, whose manners differ."""
    eight = [
        replace(
            sentences[number % len(sentences)],
            tokens=sentences[number % len(sentences)].tokens[: 8 + 6 * number],
            guidance=1.5,
            alpha=number / TOGETHER,
            seed=number,
        )
        for number in range(TOGETHER)
    ]
    batch = Speaker(network, torch.device("cpu"), sound_batch=TOGETHER)
    together = batch.speak(eight)
    worst = 0.0
    for sentence, spoken in zip(eight, together, strict=True):
        worst = max(worst, _off(_spoken(spoken), _one(speaker, sentence)))
    assert worst < TOLERANCE, worst
    return (
        f"- fp32: {TOGETHER} in one batch are within {worst:.1e} a second of the same"
        f" {TOGETHER} alone"
    )


def _reduced(network: Network, half: Network, sentences: Sequence[Sentence]) -> str:
    """What bfloat16 changes."""
    found = likeness(network, half, sentences)
    return (
        f"- bf16: durations moved by {found['frames moved']} of {found['frames']} frames, styles by"
        f" {found['style moved']:.1e} at most; the decoder's audio is at {found['dB SNR']:.1f} dB"
        " SNR"
    )


def on_device(folder: Path, device: torch.device) -> dict[str, Any]:
    """How far a device is from the CPU's float32, and what recordings and company change there."""
    exact = load(folder, folder).network
    style = np.random.default_rng(1).normal(0, 0.1, 2 * exact.shape.half_style)
    phonemizer = Phonemizer()
    sentences = [
        _sentence(tokens(phonemizer.phonemes(text)), style.astype(np.float32), seed=number)
        for number, text in enumerate(TEXTS)
    ]
    found: dict[str, Any] = {}
    for precision in Precision:
        network = load(folder, folder).network
        if precision is Precision.BF16:
            network = network.in_half()
        plain = Speaker(network, device, sound_batch=1)
        served = Speaker(
            network,
            device,
            sound_batch=len(sentences),
            padded=True,
            recorded=device.type == "cuda",
        )
        served.speak(sentences)
        # The second time, from the recordings.
        pairs = [
            (_spoken(ours), _one(plain, sentence))
            for ours, sentence in zip(served.speak(sentences), sentences, strict=True)
        ]
        found[precision.value] = likeness(exact, network, sentences) | {
            "as served, equally long": sum(
                np.array_equal(ours.frames, alone.frames) for ours, alone in pairs
            ),
            "as served, difference a second": max(
                (
                    _off(ours, alone)
                    for ours, alone in pairs
                    if np.array_equal(ours.frames, alone.frames)
                ),
                default=None,
            ),
        }
    return found


@torch.inference_mode()
def likeness(exact: Network, other: Network, sentences: Sequence[Sentence]) -> dict[str, float]:
    """How far a network is from the exact one, wherever it runs.

    The audio is that of equal readings: over unequal ones the pitch's phase runs away, and the
    noise would be as loud as the signal.
    """
    device = next(other.parameters()).device
    moved = total = 0
    style = signal = error = 0.0
    for sentence in sentences:
        reading, rough = _read(exact, sentence), _read(other, sentence)
        frames = int(reading.frames.sum())
        moved += int((reading.frames - rough.frames.cpu()).abs().sum())
        total += frames
        style = max(style, float((reading.style - rough.style.cpu()).abs().max()))
        _, noise = _noise(sentence, frames * 2 * exact.shape.decoder.factor)
        said = exact.sound(reading, frames, noise, None)
        given = Reading(
            phonemes=reading.phonemes.to(device),
            prosody=reading.prosody.to(device),
            frames=reading.frames.to(device),
            style=reading.style.to(device),
        )
        roughly = other.sound(given, frames, noise.to(device), None).cpu()
        signal += float(said.square().sum())
        error += float((roughly - said).square().sum())
    return {
        "frames moved": moved,
        "frames": total,
        "style moved": style,
        "dB SNR": 10 * math.log10(signal / max(error, 1e-20)),
    }


def _read(network: Network, sentence: Sentence) -> Reading:
    device = next(network.parameters()).device
    reference = torch.from_numpy(sentence.reference)[None].to(device)

    def column(value: float) -> Tensor:
        return torch.tensor([[value]], device=device)

    manner = Manner(
        reference=reference,
        noise=_noise(sentence, 0)[0].to(device),
        guidance=None if sentence.guidance == 1.0 else column(sentence.guidance),
        alpha=column(sentence.alpha),
        beta=column(sentence.beta),
        previous=torch.zeros_like(reference),
        carry=column(0.0),
        speed=column(sentence.speed),
    )
    return network.read(torch.tensor([sentence.tokens], device=device), manner, None)
