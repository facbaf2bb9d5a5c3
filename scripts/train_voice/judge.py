"""Judge the exported voice on sentences that it never saw, by numbers, one speaker at a time.

    python scripts/train_voice/judge.py --out .local/train_voice

Every sentence is spoken by the ONNX file itself with scales (0, 1, 0): its own durations, its own
pitch. The recogniser that scores intelligibility has only ever heard the teacher. Nobody listens
here: these are distances to the teacher, not opinions of ears.
"""

import argparse
import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from corpus import HOP, Corpus, Sample
from export import VOICES
from measures import clicks, harmonicity, log_mel, long_term_spectrum, mel_cepstrum, warp
from numpy.typing import NDArray
from piper.patch_voice_with_alignment import add_alignment_output
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP
from pitch import track
from teacher import SAMPLE_RATE, SPEAKERS
from torch import Tensor, nn

__all__ = ["Report", "judge", "table"]

_DECIBEL: Final = 10 / np.log(10) * np.sqrt(2)
_CONTEXT: Final = 5
_SILENCE: Final = DEFAULT_PHONEME_ID_MAP[" "][0]
_NO_SOUND: Final = {DEFAULT_PHONEME_ID_MAP[symbol][0] for symbol in "_ˈˌː"}
_PAUSES: Final = {DEFAULT_PHONEME_ID_MAP[symbol][0] for symbol in "^$ !'(),-.:;?"}

_log = logging.getLogger("judge")


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one speaker over the held-out sentences."""

    sentences: int
    mel_cepstral_distortion_db: float
    total_duration_error_percent: float
    phoneme_duration_error_ms: float
    pitch_error_hz: float
    pitch_error_semitones: float
    voicing_error_percent: float
    recognised_teacher_percent: float
    recognised_voice_percent: float
    recognised_shifted_percent: float
    long_term_spectrum_error_db: float
    harmonicity_teacher_db: float
    harmonicity_voice_db: float
    clicks_teacher_per_minute: float
    clicks_voice_per_minute: float
    mean_pitch_hz: float
    real_time_factor: float


class _Session:
    """The exported voice with its alignments."""

    def __init__(self, path: Path, threads: int) -> None:
        model = onnx.load(str(path))
        add_alignment_output(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def say(self, sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Speak the ids of a sample: audio [samples] and the frames of every id."""
        audio, frames = self._session.run(
            None,
            {
                "input": sample.ids[None],
                "input_lengths": np.array([len(sample.ids)]),
                "scales": np.array([0, 1, 0], np.float32),
                "sid": np.array([sample.speaker]),
            },
        )
        return audio.reshape(-1), frames.reshape(-1).astype(np.int64)


class _Recogniser:
    """Names the phoneme of a frame from the mel spectrum around it; taught by the teacher alone."""

    def __init__(self, corpus: Corpus, utterances: int, epochs: int = 4) -> None:
        torch.manual_seed(0)
        chosen = np.random.default_rng(0).permutation(len(corpus))[:utterances]
        samples = [corpus[int(index)] for index in chosen]
        features = np.concatenate([self._features(sample.audio) for sample in samples])
        labels = np.concatenate([frame_labels(s.ids, s.frames) for s in samples])
        x, y = torch.from_numpy(features), torch.from_numpy(labels)
        self._mean, self._spread = x.mean(0), x.std(0)
        self._network = nn.Sequential(
            nn.Linear(x.shape[1], 256), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256),
        )  # fmt: skip
        optimiser = torch.optim.AdamW(self._network.parameters(), 1e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(1024):
                loss = nn.functional.cross_entropy(self._logits(x[rows]), y[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        self._network.eval()

    def score(self, audio: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
        """Give the share of sounding frames that are recognised."""
        with torch.no_grad():
            named = self._logits(torch.from_numpy(self._features(audio))).argmax(1).numpy()
        size = min(len(named), len(labels))
        sounding = labels[:size] != _SILENCE
        return float((named[:size] == labels[:size])[sounding].mean())

    def _logits(self, x: Tensor) -> Tensor:
        return self._network((x - self._mean) / self._spread)  # type: ignore[no-any-return]

    @staticmethod
    def _features(audio: NDArray[np.float32]) -> NDArray[np.float32]:
        mel = log_mel(audio, HOP).astype(np.float32)
        padded = np.pad(mel, ((_CONTEXT, _CONTEXT), (0, 0)), mode="edge")
        return np.concatenate([padded[k : k + len(mel)] for k in range(2 * _CONTEXT + 1)], 1)


def frame_labels(ids: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """Name the sound of every frame; blanks, stress and length marks take the sound before them."""
    names, current = [], _SILENCE
    for symbol in ids.tolist():
        if symbol not in _NO_SOUND:
            current = _SILENCE if symbol in _PAUSES else symbol
        names.append(current)
    return np.repeat(np.array(names), frames)


def judge(folder: Path, voice: Path, limit: int | None = None) -> dict[str, Report]:
    """Measure the voice against the teacher.

    Args:
        folder: Where the corpus is.
        voice: The ONNX file.
        limit: Judge only so many sentences a speaker.

    Returns:
        A report for every speaker.
    """
    session = _Session(voice, threads=2)
    held_out = Corpus(folder, "held_out")
    recogniser = _Recogniser(Corpus(folder, "train"), utterances=600)
    _log.info("recogniser taught")
    samples = [held_out[index] for index in range(len(held_out))]
    reports = {}
    for number, speaker in enumerate(SPEAKERS):
        mine = [sample for sample in samples if sample.speaker == number][:limit]
        reports[speaker.name] = _report(session, recogniser, mine)
        _log.info("%s judged", speaker.name)
    return reports


def _report(session: _Session, recogniser: _Recogniser, samples: list[Sample]) -> Report:
    speaker = SPEAKERS[samples[0].speaker]
    columns: dict[str, list[float]] = {name: [] for name in Report.__dataclass_fields__}
    spectra: list[list[NDArray[np.float32]]] = [[], []]
    clicked = np.zeros(2)
    squares = np.zeros(2)
    voiced_frames, wrong_voicing, compared, phoneme_errors = 0, 0, 0, []
    minutes = np.zeros(2)
    session.say(samples[0])
    for sample in samples:
        began = time.perf_counter()
        audio, frames = session.say(sample)
        took = time.perf_counter() - began
        columns["real_time_factor"].append(took / (len(audio) / SAMPLE_RATE))
        theirs, ours = log_mel(sample.audio, 2 * HOP), log_mel(audio, 2 * HOP)
        a, b = mel_cepstrum(ours), mel_cepstrum(theirs)
        i, j = warp(a, b)
        level = theirs.max(1)
        loud = level[j] > level.max() - np.log(10) * 2.5  # 50 dB below the loudest frame
        distance = _DECIBEL * np.sqrt(((a[i] - b[j]) ** 2).sum(1)) * _orthonormal()
        columns["mel_cepstral_distortion_db"].append(float(distance[loud].mean()))

        total = sample.frames.sum()
        columns["total_duration_error_percent"].append(100 * abs(frames.sum() / total - 1))
        timed = sample.frames > 0
        off = np.abs(frames - sample.frames)[timed]
        phoneme_errors.append(off * HOP * 1000 / SAMPLE_RATE)

        pitch, voiced = track(
            audio, frames=int(frames.sum()), hop=HOP, rate=SAMPLE_RATE,
            lowest=speaker.lowest, highest=speaker.highest,
        )  # fmt: skip
        at = _same_moment(frames, sample.frames)
        their_pitch, their_voiced = sample.pitch[at], sample.voiced[at]
        both = voiced & their_voiced
        squares[0] += ((pitch - their_pitch)[both] ** 2).sum()
        squares[1] += ((12 * np.log2(pitch / their_pitch))[both] ** 2).sum()
        voiced_frames += int(both.sum())
        sounding = frame_labels(sample.ids, frames) != _SILENCE
        wrong_voicing += int((voiced != their_voiced)[sounding].sum())
        compared += int(sounding.sum())
        columns["mean_pitch_hz"].append(float(pitch[voiced].mean()))

        labels = frame_labels(sample.ids, sample.frames)
        columns["recognised_teacher_percent"].append(100 * recogniser.score(sample.audio, labels))
        own = frame_labels(sample.ids, frames)
        columns["recognised_voice_percent"].append(100 * recogniser.score(audio, own))
        shifted = np.roll(labels, len(labels) // 3)
        columns["recognised_shifted_percent"].append(100 * recogniser.score(sample.audio, shifted))

        steady = np.where(sample.voiced, sample.pitch, 0)
        columns["harmonicity_teacher_db"].append(harmonicity(sample.audio, steady, HOP))
        steady = np.where(voiced, pitch, 0)
        columns["harmonicity_voice_db"].append(harmonicity(audio, steady, HOP))
        for side, sound in enumerate((sample.audio, audio)):
            spectra[side].append(sound)
            clicked[side] += clicks(sound)
            minutes[side] += len(sound) / SAMPLE_RATE / 60
    long_term = [long_term_spectrum(np.concatenate(side)) for side in spectra]
    per_minute = clicked / minutes
    figures = {name: float(np.mean(values)) for name, values in columns.items() if values}
    return Report(
        **figures
        | {
            "sentences": len(samples),
            "phoneme_duration_error_ms": float(np.concatenate(phoneme_errors).mean()),
            "pitch_error_hz": float(np.sqrt(squares[0] / voiced_frames)),
            "pitch_error_semitones": float(np.sqrt(squares[1] / voiced_frames)),
            "voicing_error_percent": 100 * wrong_voicing / compared,
            "long_term_spectrum_error_db": float(np.abs(long_term[1] - long_term[0]).mean()),
            "clicks_teacher_per_minute": float(per_minute[0]),
            "clicks_voice_per_minute": float(per_minute[1]),
            "real_time_factor": float(np.median(columns["real_time_factor"])),
        }
    )


def _orthonormal() -> float:
    """Bring an orthonormal cepstrum to the scale in which distortion is published."""
    return float(1 / np.sqrt(2 * 40) * 2)


def _same_moment(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give, for each of our frames, the teacher's frame at the same place in the same phoneme."""
    ends, their_ends = np.cumsum(ours), np.cumsum(theirs)
    edges = np.concatenate([[0], ends])
    their_edges = np.concatenate([[0], their_ends])
    centres = np.arange(ends[-1]) + 0.5
    keep = np.concatenate([[True], np.diff(edges) > 0])  # interpolation needs rising edges
    place = np.interp(centres, edges[keep], their_edges[keep])
    return np.clip(place.astype(np.int64), 0, their_ends[-1] - 1)


def table(reports: dict[str, Report]) -> str:
    """Lay the reports out as a Markdown table."""
    rows = {name: asdict(report) for name, report in reports.items()}
    lines = ["| | " + " | ".join(rows) + " |", "|---|" + "---:|" * len(rows)]
    for field in Report.__dataclass_fields__:
        digits = 4 if field == "real_time_factor" else 2
        values = [
            f"{row[field]:.{digits}f}" if isinstance(row[field], float) else str(row[field])
            for row in rows.values()
        ]
        lines.append(f"| {_label(field)} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def _label(field: str) -> str:
    """Turn a field's name into words, with its unit in brackets."""
    units = {"db": "dB", "percent": "%", "ms": "ms", "hz": "Hz", "semitones": "semitones"}
    *words, last = field.split("_")
    words, unit = (words, f" ({units[last]})") if last in units else ([*words, last], "")
    return (" ".join(words) + unit).capitalize().replace("(db)", "(dB)").replace("(hz)", "(Hz)")


def main() -> None:
    """Judge from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(".local/train_voice"))
    parser.add_argument("--voice", type=Path, default=VOICES / "budtender.onnx")
    parser.add_argument("--limit", type=int, default=None)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(name)s  %(message)s")
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    reports = judge(options.out, options.voice, options.limit)
    figures = {name: asdict(report) for name, report in reports.items()}
    (options.out / "report.json").write_text(json.dumps(figures, indent=2) + "\n")
    _log.info("\n%s", table(reports))


if __name__ == "__main__":
    main()
