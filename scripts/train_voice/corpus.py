"""The corpus: what the teacher said, with ids, durations and pitch, in one file a speaker.

python scripts/train_voice/corpus.py --out .local/train_voice --lines 3000
"""

import argparse
import itertools
import logging
import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from alignment import align
from numpy.typing import NDArray
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP
from pitch import track
from sentences import Sentences, held_out
from teacher import SAMPLE_RATE, SPEAKERS, Teacher

__all__ = ["HELD_OUT", "HOP", "Corpus", "Sample", "build"]

HOP: Final = 128
"""Samples in a frame: 5.8 ms, short enough for the burst of a stop."""
HELD_OUT: Final = 200
"""Lines that nobody learns from, spoken by every speaker."""

_LEAD, _TRAIL = 5 * HOP, 12 * HOP  # silence before and after; the teacher starts and stops at once
_LOUDNESS: Final = 0.1  # root mean square of what is not silence: -20 dB below full scale

_SONOROUS: Final = "aeiouæɐɑɒɔəɚɛɜɪʊʌᵻːɹlmnŋwj"
_AUDIBLE: Final = 0.02

_log = logging.getLogger("corpus")


@dataclass(frozen=True, slots=True)
class Sample:
    """One line, spoken."""

    ids: NDArray[np.int64]
    """[ids] Piper's phoneme ids."""
    frames: NDArray[np.int64]
    """[ids] duration of each id in frames."""
    audio: NDArray[np.float32]
    """[frames.sum() * HOP] samples in [-1, 1]."""
    pitch: NDArray[np.float32]
    """[frames.sum()] in Hz, carried through what is not voiced."""
    voiced: NDArray[np.bool_]
    """[frames.sum()]"""
    speaker: int


class Corpus:
    """Read access to the corpus of all speakers."""

    def __init__(self, folder: Path, part: str) -> None:
        self._tables = [np.load(_path(folder, speaker, part)) for speaker in range(len(SPEAKERS))]
        self._arrays = [{name: table[name] for name in table.files} for table in self._tables]
        self._index = [
            (speaker, line)
            for line in range(max(len(arrays["length"]) for arrays in self._arrays))
            for speaker, arrays in enumerate(self._arrays)
            if line < len(arrays["length"])
        ]

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> Sample:
        speaker, line = self._index[index]
        arrays = self._arrays[speaker]
        ids = slice(*arrays["id_at"][line : line + 2])
        frames = slice(*arrays["frame_at"][line : line + 2])
        return Sample(
            ids=arrays["ids"][ids].astype(np.int64),
            frames=arrays["frames"][ids].astype(np.int64),
            audio=arrays["audio"][frames.start * HOP : frames.stop * HOP].astype(np.float32)
            / 32768,
            pitch=arrays["pitch"][frames],
            voiced=arrays["voiced"][frames],
            speaker=speaker,
        )


def build(folder: Path, lines: int) -> None:
    """Let the teacher speak ``lines`` lines a speaker and the held-out ones, unless it has already.

    Args:
        folder: Where the files go.
        lines: Lines of training text a speaker; the speakers say different ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamp, wanted = folder / "corpus.txt", f"{lines} lines a speaker, hop {HOP}\n"
    if stamp.exists() and stamp.read_text() == wanted:
        _log.info("corpus is there: %s", wanted.strip())
        return
    # One process a speaker: espeak-ng keeps global state.
    with multiprocessing.get_context("spawn").Pool(len(SPEAKERS)) as pool:
        jobs = [(folder, lines, speaker) for speaker in range(len(SPEAKERS))]
        for report in pool.starmap(_build_speaker, jobs):
            _log.info("%s", report)
    stamp.write_text(wanted)


def _path(folder: Path, speaker: int, part: str) -> Path:
    return folder / f"{SPEAKERS[speaker].name}.{part}.npz"


def _build_speaker(folder: Path, lines: int, speaker: int) -> str:
    everything = list(itertools.islice(Sentences(), lines * len(SPEAKERS)))
    mine = everything[speaker :: len(SPEAKERS)]
    spare = held_out(HELD_OUT, set(everything))
    teacher = Teacher()
    gain = _gain(teacher, speaker, mine[:60])
    minutes = 0.0
    for part, texts in (("train", mine), ("held_out", spare)):
        samples = [s for text in texts if (s := _speak(teacher, speaker, text, gain)) is not None]
        if part == "held_out" and len(samples) != len(texts):
            raise RuntimeError("a held-out line could not be aligned")
        _save(_path(folder, speaker, part), samples)
        minutes += sum(len(sample.audio) for sample in samples) / SAMPLE_RATE / 60
    return f"{SPEAKERS[speaker].name}: {minutes:.1f} minutes"


def _gain(teacher: Teacher, speaker: int, texts: list[str]) -> float:
    audio = np.concatenate([teacher.say(text, SPEAKERS[speaker]).audio for text in texts])
    blocks = audio[: len(audio) // HOP * HOP].reshape(-1, HOP)
    level = np.sqrt((blocks**2).mean(1))
    return float(_LOUDNESS / np.sqrt((level[level > 0.02] ** 2).mean()))


def _speak(teacher: Teacher, speaker: int, text: str, gain: float) -> Sample | None:
    who = SPEAKERS[speaker]
    said = teacher.say(text, who)
    length = -(-(len(said.audio) + _LEAD + _TRAIL) // HOP) * HOP
    events = [(start + _LEAD, name) for start, name in said.events]
    aligned = align(said.phonemes, events, length, hop=HOP, id_map=DEFAULT_PHONEME_ID_MAP)
    if aligned is None or length < 40 * HOP:
        return None
    audio = np.zeros(length, np.float32)
    audio[_LEAD : _LEAD + len(said.audio)] = np.clip(said.audio * gain, -0.99, 0.99)
    pitch, voiced = track(
        audio,
        frames=length // HOP,
        hop=HOP,
        rate=SAMPLE_RATE,
        lowest=who.lowest,
        highest=who.highest,
    )
    ids, frames = np.array(aligned.ids), np.array(aligned.frames)
    voiced |= sonorous(ids, frames, audio)
    return Sample(ids, frames, audio, pitch, voiced, speaker)


def sonorous(
    ids: NDArray[np.int64], frames: NDArray[np.int64], audio: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Find the frames that must be voiced, whatever a tracker says.

    Where the pitch falls steeply, as it does at the start of many a stressed vowel, no two periods
    are alike and autocorrelation sees none. A voice that is told that such a frame has no pulses
    makes the vowel out of noise.

    Args:
        ids: [ids] phoneme ids.
        frames: [ids] their durations.
        audio: [frames.sum() * HOP] samples.

    Returns:
        [frames.sum()] whether a sonorous sound is there, and loud enough to be one.
    """
    known = np.isin(ids, [DEFAULT_PHONEME_ID_MAP[symbol][0] for symbol in _SONOROUS])
    level = np.sqrt((audio.reshape(-1, HOP) ** 2).mean(1))
    return np.repeat(known, frames) & (level > _AUDIBLE)


def _save(path: Path, samples: list[Sample]) -> None:
    np.savez(
        path,
        ids=np.concatenate([sample.ids for sample in samples]).astype(np.int16),
        frames=np.concatenate([sample.frames for sample in samples]).astype(np.int16),
        audio=np.concatenate([(sample.audio * 32767).astype(np.int16) for sample in samples]),
        pitch=np.concatenate([sample.pitch for sample in samples]),
        voiced=np.concatenate([sample.voiced for sample in samples]),
        length=np.array([len(sample.ids) for sample in samples]),
        id_at=np.cumsum([0] + [len(sample.ids) for sample in samples]),
        frame_at=np.cumsum([0] + [int(sample.frames.sum()) for sample in samples]),
    )


def main() -> None:
    """Build the corpus."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(".local/train_voice"))
    parser.add_argument("--lines", type=int, default=3000)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(name)s  %(message)s")
    build(options.out, options.lines)


if __name__ == "__main__":
    main()
