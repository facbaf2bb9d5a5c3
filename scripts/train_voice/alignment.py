"""From the teacher's events to a duration, in frames, for every phoneme id of a sentence.

Piper wraps the phonemes of a sentence in a start and an end symbol and puts a blank after each but
the last. Blanks and stress marks last no time here: all the time lies on the sounds themselves, and
pauses on the punctuation or the space that causes them. So the boundary of a sound is exactly
where the teacher had it, and a caller that leaves the blanks out is understood as well.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Alignment", "align"]

BLANK, START, END = "_", "^", "$"
_SILENT = frozenset(" !'(),-.:;?\"")
_STRESS = frozenset("ˈˌ")


@dataclass(frozen=True, slots=True)
class Alignment:
    """Phoneme ids and how long each of them lasts."""

    ids: list[int]
    frames: list[int]
    """One entry an id, each at least 0; they add up to the frames of the whole utterance."""


def align(
    phonemes: Sequence[str],
    events: Sequence[tuple[int, str]],
    samples: int,
    *,
    hop: int,
    id_map: Mapping[str, Sequence[int]],
) -> Alignment | None:
    """Give every phoneme id its frames.

    Args:
        phonemes: Code points as Piper's phonemiser gives them, without start, end and blanks.
        events: (first sample, IPA symbols) of every sound in order; a pause has no symbols.
        samples: Length of the audio; the last event ends there, and the first sample belongs to
            the start symbol unless an event begins there.
        hop: Samples in a frame.
        id_map: Piper's phoneme map.

    Returns:
        The alignment, or None where the events and the phonemes are not the same sounds.
    """
    onsets = _onsets(phonemes, events, samples)
    if onsets is None:
        return None
    symbols = [START, *phonemes, END]
    # The end symbol starts where the last pause does, if the phonemes end without punctuation.
    edges = [0, *onsets, samples]
    bounds = [round(edge / hop) for edge in edges]
    ids: list[int] = []
    frames: list[int] = []
    for index, symbol in enumerate(symbols):
        if symbol not in id_map:
            return None
        ids += id_map[symbol]
        frames += [bounds[index + 1] - bounds[index]] + [0] * (len(id_map[symbol]) - 1)
        if symbol != END:
            ids += id_map[BLANK]
            frames += [0] * len(id_map[BLANK])
    return Alignment(ids, frames)


def _onsets(
    phonemes: Sequence[str], events: Sequence[tuple[int, str]], samples: int
) -> list[float] | None:
    """Give the first sample of every phoneme, and of the end symbol after them."""
    sounds = [
        (start, end, symbols)
        for (start, name), (end, _) in zip(events, [*events[1:], (samples, "")], strict=True)
        if (symbols := _symbols(name)) or end > start
    ]
    onsets: list[float] = []
    cursor = 0
    now = float(sounds[0][0]) if sounds else 0.0
    position = 0
    while position < len(phonemes):
        if phonemes[position] in _SILENT:
            # The first silent symbol in a row takes the pause; the others pass in no time.
            onsets.append(now)
            while cursor < len(sounds) and not sounds[cursor][2]:
                now = float(sounds[cursor][1])
                cursor += 1
            position += 1
            continue
        while cursor < len(sounds) and not sounds[cursor][2]:
            now = float(sounds[cursor][1])  # a pause inside a word lengthens the sound before it
            cursor += 1
        if cursor == len(sounds):
            return None
        start, end, symbols = sounds[cursor]
        spoken = _take(phonemes[position:], symbols)
        if spoken is None:
            return None
        onsets += _share(start, end, spoken)
        now = float(end)
        position += len(spoken)
        cursor += 1
    if any(symbols for _, _, symbols in sounds[cursor:]):
        return None
    return [*onsets, now]


def _symbols(name: str) -> list[str]:
    """Split an event's name into code points, without the marks that are no sound."""
    return [c for c in unicodedata.normalize("NFD", name) if c not in _SILENT and c != BLANK]


def _take(phonemes: Sequence[str], symbols: Sequence[str]) -> list[str] | None:
    """Take the phonemes of one event, with their own stress marks.

    The teacher stresses the last word of a clause even where its phonemes say otherwise ("And
    you?"), so stress is not compared. The voice has to learn that habit from the context.
    """
    wanted = [s for s in symbols if s not in _STRESS]
    taken: list[str] = []
    for phoneme in phonemes:
        if not wanted:
            break
        if phoneme not in _STRESS and phoneme != wanted.pop(0):
            return None
        taken.append(phoneme)
    return None if wanted else taken


def _share(start: int, end: int, symbols: Sequence[str]) -> list[float]:
    """Share one event's time evenly among its sounds; stress marks and diacritics get none."""
    timed = [s not in _STRESS and not unicodedata.combining(s) for s in symbols]
    step = (end - start) / max(1, sum(timed))
    onsets: list[float] = []
    spent = 0.0
    for takes_time in timed:
        onsets.append(start + spent)
        spent += step * takes_time
    return onsets
