"""Our StyleTTS2 against the styletts2 package's own: the same durations, and the same audio."""

from __future__ import annotations

import copy
import random
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from fakes.styletts2 import (
    SAMPLES_PER_FRAME,
    manner,
    network_of,
    noise,
    recording,
    sentence,
    text,
)
from parity_styletts2 import compare
from random_styletts2 import upstream
from upstream_coqui import import_torchaudio
from voice_serving.engines.styletts2.network.layers import Valid
from voice_serving.engines.styletts2.network.speaker import Speaker
from voice_serving.engines.styletts2.network.style import mel_spectrogram, trimmed
from voice_serving.engines.styletts2.sentence import Spoken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from upstream_styletts2 import Upstream
    from voice_serving.engines.styletts2.network.model import Network, Reading
    from voice_serving.engines.styletts2.sentence import Sentence

TOLERANCE = 1e-3
CURVES = ("phonemes", "pitch", "energy", "voice")

pytestmark = pytest.mark.usefixtures("inference_mode")


@pytest.fixture
def inference_mode() -> Any:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def theirs() -> Upstream:
    return upstream(tiny=True)


@pytest.fixture(scope="module")
def ours(theirs: Upstream) -> Network:
    return network_of(theirs)


@pytest.fixture(scope="module")
def reference(ours: Network) -> Tensor:
    return ours.hear(torch.from_numpy(recording()))[None]


def speak(
    network: Network,
    tokens: Tensor,
    reference: Tensor,
    style_noise: Tensor,
    source: Tensor,
    **changes: Any,
) -> tuple[Tensor, Reading]:
    reading = network.read(tokens, manner(reference, style_noise, **changes), None)
    frames = int(reading.frames.sum())
    samples = network.sound(reading, frames, source[:, :, : frames * SAMPLES_PER_FRAME], None)
    return samples[0], reading


@pytest.mark.parametrize(
    ("length", "steps", "changes"),
    [
        (2, 5, {}),
        (9, 5, {}),
        (20, 5, {"alpha": 0.0, "beta": 1.0}),
        (20, 3, {"alpha": 1.0, "beta": 0.0}),
        (20, 5, {"scale": 2.5}),
        (14, 10, {"scale": 0.0}),
    ],
)
def test_same_durations_and_waveform(theirs, ours, reference, length, steps, changes):
    tokens = text(length)
    style_noise, source = noise(reference.shape[1], steps, seconds=4)
    expected, durations, style = theirs.inference(tokens, reference, style_noise, source, **changes)
    if "scale" in changes:
        changes = {"guidance": torch.tensor([[changes["scale"]]])}
    samples, reading = speak(ours, tokens, reference, style_noise, source, **changes)
    assert torch.equal(reading.frames[0], durations.reshape(-1))
    torch.testing.assert_close(reading.style, style, atol=1e-5, rtol=0)
    assert expected.std() > 0.02
    torch.testing.assert_close(samples, expected, atol=TOLERANCE, rtol=0)


def test_a_long_text_is_as_near_to_the_truth_as_upstream(theirs, ours, reference):
    # Over many seconds float32 cannot hold the phase of the ninth overtone, upstream's neither:
    # both are compared with upstream in float64, from the same curves.
    tokens = text(120)
    style_noise, source = noise(reference.shape[1], 3, seconds=40)
    seen: dict[str, Tensor] = {}
    decoder = theirs.modules["decoder"]
    exact = copy.deepcopy(decoder).double()
    hook = decoder.register_forward_pre_hook(
        lambda _, given: seen.update(
            zip(("phonemes", "pitch", "energy", "voice"), given, strict=True)
        )
    )
    expected, durations, _ = theirs.inference(tokens, reference, style_noise, source)
    hook.remove()
    _, reading = speak(ours, tokens, reference, style_noise, source)
    assert torch.equal(reading.frames[0], durations)
    harmonics: dict[str, Tensor] = {}
    hook = decoder.generator.m_source.register_forward_hook(
        lambda _, __, sound: harmonics.update(source=sound[0])
    )
    theirs.inference(tokens, reference, style_noise, source)
    hook.remove()
    # The source is where the phase is; what follows must not add to its error.
    exact.generator.m_source.forward = lambda _: (harmonics["source"].double(), None, None)
    truth = exact(*(seen[name].double() for name in CURVES))
    samples = ours.decoder(
        seen["phonemes"].transpose(1, 2).contiguous(),
        seen["pitch"],
        seen["energy"],
        seen["voice"],
        source[:, :, : len(expected)],
        None,
    )
    ours_off = (samples[0].double() - truth.squeeze()).abs().max()
    theirs_off = (expected.double() - truth.squeeze()).abs().max()
    assert ours_off < max(2 * theirs_off, 1e-4)


def test_the_style_of_a_sample(theirs, ours):
    samples = torch.from_numpy(recording(seconds=4.3))
    mel = mel_spectrogram(samples, theirs.config["n_mels"])[None, None]
    expected = torch.cat(
        [theirs.modules[name](mel) for name in ("style_encoder", "predictor_encoder")], dim=1
    )
    torch.testing.assert_close(ours.hear(samples), expected[0], atol=1e-5, rtol=0)


def test_mel_energies_are_those_of_torchaudio_s_default():
    samples = torch.from_numpy(recording(seconds=2.0))
    energies = import_torchaudio().transforms.MelSpectrogram(
        n_mels=80, n_fft=2048, win_length=1200, hop_length=300
    )(samples)
    expected = (torch.log(1e-5 + energies) + 4) / 4
    torch.testing.assert_close(mel_spectrogram(samples, 80), expected, atol=1e-4, rtol=0)


def test_quiet_ends_are_cut_where_a_frame_is_30_db_below_the_loudest():
    quiet = np.full(9000, 1e-4, np.float32)
    samples = np.concatenate([quiet, recording(seconds=2.0), quiet])
    padded = np.pad(samples, 1024)
    frames = [padded[start : start + 2048] for start in range(0, len(samples) + 1, 512)]
    levels = np.array([10 * np.log10(np.mean(frame**2) + 1e-12) for frame in frames])
    loud = np.flatnonzero(levels > levels.max() - 30)
    expected = samples[loud[0] * 512 : (loud[-1] + 1) * 512]
    assert np.array_equal(trimmed(torch.from_numpy(samples)).numpy(), expected)
    assert 40_000 < len(expected) < len(samples)
    assert len(trimmed(torch.zeros(5000))) == 0


def test_style_goes_over_from_segment_to_segment(theirs, ours, reference):
    style_noise, source = noise(reference.shape[1], 3, seconds=4)
    previous = mine = None
    for number in range(3):
        tokens = text(15, seed=number)
        expected, durations, previous = theirs.inference(
            tokens, reference, style_noise, source, previous=previous
        )
        carried = {} if mine is None else {"previous": mine, "carry": 0.7}
        samples, reading = speak(ours, tokens, reference, style_noise, source, **carried)
        mine = reading.style
        assert torch.equal(reading.frames[0], durations)
        torch.testing.assert_close(samples, expected, atol=TOLERANCE, rtol=0)


def heard(speaker: Speaker, sentences: Sequence[Sentence]) -> list[Spoken]:
    spoken = speaker.speak(sentences)
    assert all(isinstance(each, Spoken) for each in spoken)
    return spoken  # type: ignore[return-value]


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("padded", [False, True])
def test_eight_together_sound_as_each_alone(ours, padded, guidance):
    style = 2 * ours.shape.half_style
    lengths = (2, 5, 9, 9, 12, 17, 20, 24)
    sentences = [
        sentence(length, style, seed, guidance=guidance) for seed, length in enumerate(lengths)
    ]
    alone = Speaker(ours, torch.device("cpu"), sound_batch=1)
    together = Speaker(ours, torch.device("cpu"), sound_batch=8, padded=padded)
    for one, other in zip(
        [heard(alone, [each])[0] for each in sentences], heard(together, sentences), strict=True
    ):
        assert np.array_equal(one.frames, other.frames)
        assert np.abs(one.samples - other.samples).max() < TOLERANCE


def test_speed_changes_the_durations_and_nothing_else(ours):
    style_noise, source = noise(2 * ours.shape.half_style, 3, seconds=20)
    reference = torch.full((1, 2 * ours.shape.half_style), 0.05)
    tokens = text(60)
    totals = []
    for speed in (0.5, 1.0, 2.0):
        _, reading = speak(ours, tokens, reference, style_noise, source, speed=speed)
        totals.append(float(reading.frames.sum()))
    # Each phoneme lasts whole frames, so a half is not exactly one.
    assert totals[0] > 1.7 * totals[1]
    assert totals[2] < 0.7 * totals[1]


def test_one_step_is_an_estimate_and_not_nothing(ours):
    spoken = heard(Speaker(ours, torch.device("cpu"), sound_batch=1), [sentence(12, steps=1)])
    assert spoken[0].samples.std() > 0.01


def test_a_broken_sentence_fails_alone(ours):
    speaker = Speaker(ours, torch.device("cpu"), sound_batch=4)
    good, bad = sentence(12, seed=1), sentence(14, seed=2)
    bad.reference[3] = np.nan
    first, second, third = speaker.speak([good, bad, good])
    assert isinstance(second, Exception)
    assert isinstance(first, Spoken)
    assert isinstance(third, Spoken)
    assert np.abs(first.samples - heard(speaker, [good])[0].samples).max() < TOLERANCE


def test_valid_marks_what_is_real():
    valid = Valid.of(torch.tensor([1, 3]), 4)
    assert valid.mask[..., 0].tolist() == [[True, False, False, False], [True, True, True, False]]
    assert valid.stretched(2).lengths.tolist() == [2, 6]


def test_many_texts_from_the_samples_to_the_stream(tiny_styletts2):
    # As `make parity` does it at the real shape; whatever is not the same is an error there.
    words = ("quick", "brown", "thirteen,", "lantern's", "measure;", "who?", "$5", "ice!", "1999")
    chooser = random.Random(4)
    texts = [" ".join(chooser.choices(words, k=chooser.randint(1, 3))) for _ in range(30)]
    told = compare(tiny_styletts2, texts)
    assert "the durations of 30 texts are the package's" in told
    moved, frames = re.search(r"moved by (\d+) of (\d+) frames", told).groups()
    assert int(moved) < 0.02 * int(frames)
    # Random weights magnify what bfloat16 rounds; nothing at all in common would be 0 dB or less.
    assert float(re.search(r"at (\S+) dB SNR", told)[1]) > 8
