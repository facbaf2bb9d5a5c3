"""XTTS v2 against coqui-tts: whole texts, first sounds, several callers, and how alike they are."""

from __future__ import annotations

import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final

import torch

from upstream_coqui import load_xtts
from voice_serving.apart import apart
from voice_serving.engines.xtts_v2.network.checkpoint import VOCODER, read_checkpoint
from voice_serving.engines.xtts_v2.network.gpt import Gpt
from voice_serving.engines.xtts_v2.network.linear import dtype_of
from voice_serving.engines.xtts_v2.network.loop import Loop
from voice_serving.engines.xtts_v2.network.sampling import Taste
from voice_serving.engines.xtts_v2.network.sentence import Chunking, Sentence
from voice_serving.engines.xtts_v2.network.vocoder import Vocoder
from voice_serving.engines.xtts_v2.network.voice import Voice
from voice_serving.engines.xtts_v2.settings import Precision
from voice_serving.metrics import ServingMetrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from voice_serving.engines.xtts_v2.network.checkpoint import Checkpoint

    Heard = tuple[NDArray[np.float32], NDArray[np.float32]]
    """What `Voice` is made of."""

TOKENS: Final = {10: 75, 20: 150, 50: 375}
"""Words → audio tokens, at the pace of somebody who reads aloud: 3.5 s, 7 s, 17 s."""
CHUNK: Final = 20
"""Audio tokens that coqui-tts streams at once, by default."""
CALLERS: Final = 4
SERVED_WORDS: Final = 20
_WORDS: Final = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "asleep")
_TASTE: Final = Taste(temperature=0.75, top_k=50, top_p=0.85, repetition_penalty=10.0, seed=7)
_GREEDY: Final = Taste(temperature=0.75, top_k=1, top_p=0.85, repetition_penalty=10.0, seed=7)
PRECISIONS: Final = (Precision.FP32, Precision.BF16, Precision.INT8)


@dataclass(frozen=True, slots=True)
class Run:
    """One text, spoken once; seconds."""

    total: float
    first: float
    audio: float


def measure(folder: Path, rounds: int) -> str:
    """Measures it all over one checkpoint; returns Markdown.

    Both speak in turn, so that who else uses the machine slows both, and each in a process of its
    own: two teams of OpenMP in one process would slow both of them (see `voice_serving.apart`).
    """
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context, _load_theirs, (folder,)) as theirs:
        return apart(lambda: _measure(folder, rounds, theirs))


def _measure(folder: Path, rounds: int, process: Executor) -> str:
    checkpoint = apart(lambda: read_checkpoint(folder))
    voice = Voice(torch.randn(32, checkpoint.shape.width), _direction(checkpoint))
    # As arrays: a tensor would be copied to shared memory by a thread that stays, with a team.
    heard = voice.latents.numpy(), voice.vector.numpy()

    def upstream(words: int, *, streamed: bool) -> Run:
        return process.submit(_theirs, words, heard, streamed=streamed).result()

    texts: dict[int, list[int]] = {
        words: process.submit(_encode, words).result() for words in TOKENS
    }
    exact: list[int] = process.submit(_tokens_of, texts[20], heard).result()
    rows = [
        "| | words | coqui-tts | here | real-time factor | gain |",
        "|---|---|---|---|---|---|",
    ]
    notes = []

    def whole(loop: Loop, precision: Precision) -> dict[int, tuple[float, float]]:
        """Words → seconds, theirs and ours."""
        seconds = {}
        for words, text in texts.items():
            pairs = [
                (upstream(words, streamed=False), _ours(loop, text, words, voice))
                for _ in range(rounds)
            ]
            theirs, ours = (min(r.total for r in runs) for runs in zip(*pairs, strict=True))
            factor = ours / pairs[0][1].audio
            rows.append(
                f"| {precision}, whole | {words} | {theirs:.2f} s | {ours:.2f} s | {factor:.2f}"
                f" | {theirs / ours:.1f} × |"
            )
            seconds[words] = theirs, ours
        return seconds

    def first(loop: Loop, precision: Precision) -> None:
        pairs = [
            (upstream(10, streamed=True), _ours(loop, texts[10], 10, voice)) for _ in range(rounds)
        ]
        theirs, ours = (min(r.first for r in runs) for runs in zip(*pairs, strict=True))
        rows.append(
            f"| {precision}, first of chunks of {CHUNK} | 10 | {theirs:.2f} s | {ours:.2f} s |"
            f" | {theirs / ours:.1f} × |"
        )

    for precision in PRECISIONS:
        with speaking(checkpoint, precision, Chunking(10_000, 1.0, 10_000)) as loop:
            seconds = whole(loop, precision)
            notes.append(_likeness(precision, loop, texts[20], voice, exact))
        with speaking(checkpoint, precision, Chunking(CHUNK, 1.0, CHUNK)) as loop:
            first(loop, precision)
        with speaking(checkpoint, precision, Chunking(8, 2.0, 96)) as loop:
            runs = [_ours(loop, texts[SERVED_WORDS], SERVED_WORDS, voice) for _ in range(rounds)]
            run = min(runs, key=lambda run: run.total)
            notes.append(
                f"- {precision}, as served: {SERVED_WORDS} words streamed take {run.total:.2f} s,"
                f" {run.total / seconds[SERVED_WORDS][1]:.2f} × the whole at once;"
                f" first sound {run.first:.2f} s"
            )
            tries = [_several(loop, texts[10], voice) for _ in range(rounds)]
            alone, together = (min(seconds) for seconds in zip(*tries, strict=True))
            notes.append(
                f"- {precision}: {CALLERS} callers at once take {together:.1f} s, one after"
                f" another {alone:.1f} s: {alone / together:.2f} ×; coqui-tts, which has no"
                f" batches, {CALLERS * seconds[10][0] / together:.1f} × as long"
            )
    return "\n".join([*rows, "", *notes, ""])


def _text(words: int) -> str:
    return " ".join(_WORDS[number % len(_WORDS)] for number in range(words))


def _direction(checkpoint: Checkpoint) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(checkpoint.shape.speaker_width), dim=0)


_UPSTREAM: Final[dict[str, Any]] = {}
"""What the other process has loaded."""


def _load_theirs(folder: Path) -> None:
    _UPSTREAM["xtts"] = load_xtts(folder)


def _encode(words: int) -> list[int]:
    return list(_UPSTREAM["xtts"].tokenizer.encode(_text(words), lang="en"))


def _theirs(words: int, heard: Heard, *, streamed: bool) -> Run:
    upstream = _UPSTREAM["xtts"]
    count = TOKENS[words]
    settings: dict[str, Any] = {
        "temperature": _TASTE.temperature,
        "top_k": _TASTE.top_k,
        "top_p": _TASTE.top_p,
        "repetition_penalty": _TASTE.repetition_penalty,
        "min_new_tokens": count,
        "max_new_tokens": count,
    }
    latents, vector = torch.tensor(heard[0])[None], torch.tensor(heard[1])[None, :, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        if not streamed:
            samples = len(
                upstream.inference(_text(words), "en", latents, vector, **settings)["wav"]
            )
            total = time.perf_counter() - started
            return Run(total, total, samples / 24000)
        first, samples = 0.0, 0
        for chunk in upstream.inference_stream(
            _text(words), "en", latents, vector, stream_chunk_size=CHUNK, **settings
        ):
            first = first or time.perf_counter() - started
            samples += len(chunk)
        return Run(time.perf_counter() - started, first, samples / 24000)


def _tokens_of(text: list[int], heard: Heard) -> list[int]:
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        codes = _UPSTREAM["xtts"].gpt.generate(
            torch.tensor(heard[0])[None],
            torch.tensor([text]),
            do_sample=False,
            repetition_penalty=_GREEDY.repetition_penalty,
            min_new_tokens=TOKENS[20],
            max_new_tokens=TOKENS[20],
        )
    return list(codes[0].tolist())


@contextmanager
def speaking(checkpoint: Checkpoint, precision: Precision, chunking: Chunking) -> Iterator[Loop]:
    """A loop that turns for a block."""

    def build() -> tuple[Gpt, Vocoder]:
        gpt = Gpt(checkpoint.weights, checkpoint.shape, precision, CALLERS, voice_length=32)
        vocoder = Precision.FP32 if precision is Precision.FP32 else Precision.BF16
        return gpt, Vocoder(checkpoint.under(VOCODER), checkpoint.shape, dtype_of(vocoder))

    gpt, speaker = apart(build)
    metrics = ServingMetrics(None, "bench")
    loop = Loop(gpt, speaker, checkpoint.shape, CALLERS, chunking, metrics)
    loop.start()
    try:
        yield loop
    finally:
        loop.close()


def begin(loop: Loop, text: list[int], count: int, voice: Voice, taste: Taste) -> Sentence:
    """Puts a sentence of exactly so many tokens in line."""
    sentence = Sentence(
        text=tuple(text),
        voice=voice,
        taste=taste,
        speed=1.0,
        rank=(0, 0),
        least=count,
        most=count,
    )
    loop.submit(sentence)
    return sentence


def hear(sentence: Sentence) -> Iterator[NDArray[np.float32]]:
    """Its samples as they come."""
    while True:
        piece = sentence.pieces.get()
        if isinstance(piece, BaseException):
            raise piece
        yield piece.samples
        if piece.last:
            return


def _ours(loop: Loop, text: list[int], words: int, voice: Voice) -> Run:
    for _ in hear(begin(loop, text, 3, voice, _TASTE)):
        pass  # what is slow only once, such as reading the voice
    count = TOKENS[words]
    started = time.perf_counter()
    first, samples = 0.0, 0
    for piece in hear(begin(loop, text, count, voice, _TASTE)):
        first = first or time.perf_counter() - started
        samples += len(piece)
    return Run(time.perf_counter() - started, first, samples / 24000)


def _several(loop: Loop, text: list[int], voice: Voice) -> tuple[float, float]:
    count = TOKENS[10]
    alone = sum(_ours(loop, text, 10, voice).total for _ in range(CALLERS))
    started = time.perf_counter()
    for sentence in [begin(loop, text, count, voice, _TASTE) for _ in range(CALLERS)]:
        for _ in hear(sentence):
            pass
    return alone, time.perf_counter() - started


def _likeness(
    precision: Precision, loop: Loop, text: list[int], voice: Voice, exact: list[int]
) -> str:
    sentence = begin(loop, text, len(exact), voice, _GREEDY)
    for _ in hear(sentence):
        pass
    same = next(
        (n for n, (a, b) in enumerate(zip(sentence.tokens, exact, strict=True)) if a != b),
        len(exact),
    )
    return f"- {precision}: the first {same} of {len(exact)} greedy tokens are coqui-tts's"
