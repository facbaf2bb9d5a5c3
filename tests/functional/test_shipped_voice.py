"""The voice in the repository, as Piper and as a bare runtime see it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from piper import PiperVoice, SynthesisConfig
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

VOICES = Path(__file__).parents[2] / "model_repository" / "piper" / "1" / "voices"
MODEL = VOICES / "budtender.onnx"
CONFIG = json.loads((VOICES / "budtender.onnx.json").read_text(encoding="utf-8"))
RATE = CONFIG["audio"]["sample_rate"]
HOP = CONFIG["hop_length"]
MARCEL, SHANTE = 0, 1
TEXT = "Welcome in, my friend! What would you like to try today?"

Audio = NDArray[np.float32]


@pytest.fixture(scope="module")
def voice() -> PiperVoice:
    return PiperVoice.load(MODEL, include_alignments=True)


def ids_of(voice: PiperVoice, text: str) -> list[list[int]]:
    return [voice.phonemes_to_ids(phonemes) for phonemes in voice.phonemize(text)]


def run(
    voice: PiperVoice,
    rows: Sequence[Sequence[int]],
    scales: tuple[float, float, float] = (0, 1, 0),
    speaker: int = MARCEL,
) -> tuple[Audio, NDArray[np.float32]]:
    """Speak rows of ids in one batch: audio [batch, samples] and frames [batch, ids]."""
    padded = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    audio, frames = voice.session.run(
        None,
        {
            "input": padded,
            "input_lengths": np.array([len(ids) for ids in rows], np.int64),
            "scales": np.array(scales, np.float32),
            "sid": np.array([speaker], np.int64),
        },
    )
    assert audio.shape[1:3] == (1, 1)
    return audio[:, 0, 0], frames[:, 0]


def speak(voice: PiperVoice, text: str = TEXT, **options: object) -> Audio:
    rows = ids_of(voice, text)
    return np.concatenate([run(voice, [row], **options)[0][0] for row in rows])  # type: ignore[arg-type]


def pitch_of(audio: Audio) -> float:
    """Give the median pitch in Hz of the frames that clearly repeat, by plain autocorrelation."""
    found = []
    for start in range(0, len(audio) - 1536, 512):
        piece = audio[start : start + 1536].astype(np.float64)
        if np.sqrt((piece**2).mean()) < 0.03:
            continue
        curve = np.correlate(piece, piece, "full")[1535:] / (piece @ piece)
        curve /= 1 - np.arange(1536) / 1536
        lag = int(curve[60:400].argmax()) + 60
        if curve[lag] > 0.7:
            found.append(RATE / lag)
    return float(np.median(found))


def test_is_small_and_has_pipers_signature() -> None:
    assert MODEL.stat().st_size < 12e6
    session = onnxruntime.InferenceSession(str(MODEL))
    assert [(node.name, node.type, len(node.shape)) for node in session.get_inputs()] == [
        ("input", "tensor(int64)", 2),
        ("input_lengths", "tensor(int64)", 1),
        ("scales", "tensor(float)", 1),
        ("sid", "tensor(int64)", 1),
    ]
    (output,) = session.get_outputs()
    assert (output.name, output.type) == ("output", "tensor(float)")
    assert output.shape[1:3] == [1, 1]


def test_its_json_is_pipers(voice: PiperVoice) -> None:
    assert voice.config.speaker_id_map == {"marcel": MARCEL, "shante": SHANTE}
    assert voice.config.num_speakers == 2
    assert voice.config.espeak_voice == "en-us"
    assert voice.config.phoneme_id_map == DEFAULT_PHONEME_ID_MAP
    assert RATE >= 16000


@pytest.mark.parametrize("speaker", [MARCEL, SHANTE])
def test_speaks_through_piper(voice: PiperVoice, speaker: int) -> None:
    chunks = list(voice.synthesize(TEXT, SynthesisConfig(speaker_id=speaker)))
    assert len(chunks) == 2
    for chunk in chunks:
        assert chunk.sample_rate == RATE
        assert np.isfinite(chunk.audio_float_array).all()
        assert 0.8 < len(chunk.audio_float_array) / RATE < 4


def test_alignments_add_up_to_the_audio(voice: PiperVoice) -> None:
    for chunk in voice.synthesize(TEXT, include_alignments=True):
        assert chunk.phoneme_alignments is not None
        total = sum(alignment.num_samples for alignment in chunk.phoneme_alignments)
        assert total == len(chunk.audio_float_array)


def test_the_speakers_are_a_low_and_a_high_voice(voice: PiperVoice) -> None:
    assert 75 < pitch_of(speak(voice, speaker=MARCEL)) < 130
    assert 160 < pitch_of(speak(voice, speaker=SHANTE)) < 260


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.3, 2.0])
def test_length_scale_stretches_by_what_it_says(voice: PiperVoice, scale: float) -> None:
    plain = len(speak(voice))
    assert len(speak(voice, scales=(0, scale, 0))) == pytest.approx(scale * plain, rel=0.02)


@pytest.mark.parametrize("speaker", [MARCEL, SHANTE])
def test_without_chance_every_time_is_the_same(voice: PiperVoice, speaker: int) -> None:
    first, again = (speak(voice, speaker=speaker) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_noise_changes_the_sound_and_not_the_durations(voice: PiperVoice) -> None:
    plain, one, other = (speak(voice, scales=(noise, 1, 0)) for noise in (0, 0.667, 0.667))
    assert len(one) == len(other) == len(plain)
    assert np.abs(one - other).max() > 0.01
    assert np.abs(one - plain).max() > 0.01
    assert pitch_of(one) == pytest.approx(pitch_of(plain), rel=0.08)


def test_noise_w_changes_durations_by_a_little(voice: PiperVoice) -> None:
    (row,) = ids_of(voice, "We have a lot of good things on the top shelf today.")
    _, plain = run(voice, [row])
    swayed = [run(voice, [row], (0, 1, 0.8))[1] for _ in range(4)]
    assert any((frames != plain).any() for frames in swayed)
    for frames in swayed:
        assert frames.sum() == pytest.approx(plain.sum(), rel=0.15)


@pytest.mark.parametrize("speaker", [MARCEL, SHANTE])
def test_is_loud_enough_not_clipped_and_mostly_not_silent(voice: PiperVoice, speaker: int) -> None:
    audio = speak(voice, speaker=speaker)
    assert 0.2 < np.abs(audio).max() <= 1
    blocks = audio[: len(audio) // HOP * HOP].reshape(-1, HOP)
    level = np.sqrt((blocks**2).mean(1))
    assert (level < 0.003).mean() < 0.35
    assert abs(float(audio.mean())) < 0.01


@pytest.mark.parametrize("speaker", [MARCEL, SHANTE])
def test_does_not_click(voice: PiperVoice, speaker: int) -> None:
    # A millisecond that bends six times as sharply as any other within 10 ms on either side.
    bend = np.abs(np.diff(speak(voice, speaker=speaker).astype(np.float64), 3))
    sharpest = bend[: len(bend) // 22 * 22].reshape(-1, 22).max(1)
    for at in range(12, len(sharpest) - 12):
        around = max(sharpest[at - 12 : at - 1].max(), sharpest[at + 2 : at + 13].max())
        assert sharpest[at] < max(0.05, 6 * around)


def test_starts_and_ends_in_silence(voice: PiperVoice) -> None:
    audio = speak(voice)
    assert np.abs(audio[: RATE // 100]).max() < 0.01
    assert np.abs(audio[-RATE // 100 :]).max() < 0.01


def test_every_symbol_of_pipers_map_gives_finite_sound(voice: PiperVoice) -> None:
    for ids in DEFAULT_PHONEME_ID_MAP.values():
        audio, _ = run(voice, [[1, 0, *ids, 0, 2]], (0.667, 1, 0.8))
        assert np.isfinite(audio).all()
        assert np.abs(audio).max() <= 1
        assert 0 < audio.shape[1] < 2 * RATE


@pytest.mark.parametrize("row", [[0], [1], [20], [1, 2], [1, 0, 2], [255]])
def test_very_short_inputs_do_not_fail(voice: PiperVoice, row: list[int]) -> None:
    audio, _ = run(voice, [row])
    assert audio.shape[1] >= HOP
    assert np.isfinite(audio).all()


def test_a_long_input_does_not_drift(voice: PiperVoice) -> None:
    (row,) = ids_of(voice, ", ".join(["one blue house", "two red houses", "three new homes"] * 8))
    assert len(row) > 600
    audio = run(voice, [row])[0][0]
    assert np.isfinite(audio).all()
    third = len(audio) // 3

    def roughness(part: Audio) -> float:
        """Share of the power above 9 kHz, where a phase that has lost precision would hiss."""
        power = np.abs(np.fft.rfft(part.astype(np.float64))) ** 2
        return float(power[int(9000 / RATE * len(part)) :].sum() / power.sum())

    assert roughness(audio[-third:]) < 3 * roughness(audio[:third]) + 1e-4


def test_a_batch_sounds_as_each_sentence_does_alone(voice: PiperVoice) -> None:
    long, short = ids_of(voice, "What would you like to try on this fine day? Hi!")
    both, frames = run(voice, [long, short])
    for row, ids in enumerate((long, short)):
        alone = run(voice, [ids])[0][0]
        assert frames[row].sum() * HOP == len(alone)
        np.testing.assert_allclose(both[row, : len(alone)], alone, atol=2e-4)
        assert not both[row, len(alone) :].any()


def test_blanks_between_the_sounds_may_be_left_out(voice: PiperVoice) -> None:
    (row,) = ids_of(voice, "We have it all.")
    _, frames = run(voice, [row])
    _, bare = run(voice, [[symbol for symbol in row if symbol != 0]])
    assert bare.sum() == pytest.approx(frames.sum(), rel=0.15)


def test_a_question_ends_higher_than_a_statement(voice: PiperVoice) -> None:
    for speaker in (MARCEL, SHANTE):
        ends = [speak(voice, f"You like it{mark}", speaker=speaker) for mark in "?."]
        asked, told = (pitch_of(audio[len(audio) // 2 :]) for audio in ends)
        assert asked > 1.03 * told
