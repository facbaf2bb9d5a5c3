"""XTTS v2 against coqui-tts: whole texts, first sounds, several callers, and how alike they are."""

from __future__ import annotations

import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final, TypeVar

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
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from voice_serving.engines.xtts_v2.network.checkpoint import Checkpoint
    from voice_serving.engines.xtts_v2.shape import XttsShape

    Heard = tuple[NDArray[np.float32], NDArray[np.float32]]
    """What `Voice` is made of."""

TOKENS: Final = {10: 75, 20: 150, 50: 375}
"""Words → audio tokens, at the pace of somebody who reads aloud: 3.5 s, 7 s, 17 s."""
CHUNK: Final = 20
"""Audio tokens that coqui-tts streams at once, by default."""
CALLERS: Final = 4
SERVED_WORDS: Final = 20
PAIRS: Final = 3
WHOLE: Final = Chunking(10_000, 1.0, 10_000)
SERVED: Final = Chunking(8, 2.0, 96)
"""The engine's own."""
_TOKEN_SECONDS: Final = 1024 / 22050
_WORDS: Final = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "asleep")
_TASTE: Final = Taste(temperature=0.75, top_k=50, top_p=0.85, repetition_penalty=10.0, seed=7)
_GREEDY: Final = Taste(temperature=0.75, top_k=1, top_p=0.85, repetition_penalty=10.0, seed=7)
PRECISIONS: Final = (Precision.FP32, Precision.BF16, Precision.INT8)


def measure(folder: Path, rounds: int) -> str:
    """Measures it all over one checkpoint; returns Markdown.

    Each round measures everything once, so that who else uses the machine for a while slows all
    alike, and the best round counts. The package and we have a process each: two teams of OpenMP in
    one would slow both (see `voice_serving.apart`).
    """
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context, _load_theirs, (folder,)) as theirs:
        return apart(lambda: _measure(folder, rounds, theirs))


def _measure(folder: Path, rounds: int, process: Executor) -> str:
    checkpoint = apart(lambda: read_checkpoint(folder))
    latents, vector = torch.randn(32, checkpoint.shape.width), _direction(checkpoint)
    # As arrays: a tensor would be copied to shared memory by a thread that stays, with a team.
    heard = latents.numpy(), vector.numpy()
    texts: dict[int, list[int]] = {
        words: process.submit(_encode, words).result() for words in TOKENS
    }
    exact: list[int] = process.submit(_tokens_of, texts[SERVED_WORDS], heard).result()
    networks = {precision: load_networks(checkpoint, precision) for precision in PRECISIONS}
    # One each: what a voice has been read into is kept with it.
    voices = {precision: Voice(latents, vector) for precision in PRECISIONS}
    theirs: list[Times] = []
    ours: dict[Precision, list[OurTimes]] = {precision: [] for precision in PRECISIONS}
    for _ in range(rounds):
        theirs.append(
            Times(
                {words: process.submit(_whole, words, heard).result() for words in TOKENS},
                process.submit(_first, heard).result(),
            )
        )
        for precision in PRECISIONS:
            ours[precision].append(_round(networks[precision], texts, voices[precision]))
    upstream = _best(theirs)
    lines = _table(upstream, {precision: _best(ours[precision]) for precision in PRECISIONS})
    for precision in PRECISIONS:
        lines.append(
            _likeness(precision, networks[precision], texts[SERVED_WORDS], voices[precision], exact)
        )
    return "\n".join([*lines, ""])


@dataclass(frozen=True, slots=True)
class Times:
    """One round of coqui-tts, in seconds."""

    whole: dict[int, float]
    """By words."""
    first: float
    """Until the first chunk of `CHUNK` tokens, of 10 words."""


@dataclass(frozen=True, slots=True)
class OurTimes(Times):
    """The same of us, and more."""

    served_first: float
    """Until the first sound of 10 words, in chunks as they are served."""
    unstreamed: float
    """All of `SERVED_WORDS` at once, in turn with the next; `whole` is measured no more often than
    coqui-tts's, with which it is compared."""
    streamed: float
    """All of `SERVED_WORDS` in such chunks."""
    alone: float
    """As many sentences of 10 words as there are callers, one after another."""
    together: float
    """The same at once."""


def _round(networks: Networks, texts: dict[int, list[int]], voice: Voice) -> OurTimes:
    with speaking(networks, WHOLE) as loop:
        whole = {words: _ours(loop, text, words, voice)[0] for words, text in texts.items()}
    with speaking(networks, Chunking(CHUNK, 1.0, CHUNK)) as loop:
        _, first = _ours(loop, texts[10], 10, voice)
    # They differ by less than the machine from one half minute to the next: in turn, and often.
    pairs = [
        [_total(networks, chunking, texts, voice) for chunking in (WHOLE, SERVED)]
        for _ in range(PAIRS)
    ]
    unstreamed, streamed = map(min, zip(*pairs, strict=True))
    with speaking(networks, SERVED) as loop:
        _, served_first = _ours(loop, texts[10], 10, voice)
        alone, together = _several(loop, texts[10], voice)
    return OurTimes(whole, first, served_first, unstreamed, streamed, alone, together)


def _total(
    networks: Networks, chunking: Chunking, texts: dict[int, list[int]], voice: Voice
) -> float:
    with speaking(networks, chunking) as loop:
        return _ours(loop, texts[SERVED_WORDS], SERVED_WORDS, voice)[0]


_Round = TypeVar("_Round", bound=Times)


def _best(rounds: Sequence[_Round]) -> _Round:
    """The shortest of each time, over all rounds."""
    whole = {words: min(one.whole[words] for one in rounds) for words in TOKENS}
    others = [field.name for field in fields(rounds[0]) if field.name != "whole"]
    least = {name: min(getattr(one, name) for one in rounds) for name in others}
    return replace(rounds[0], whole=whole, **least)


def _table(theirs: Times, ours: dict[Precision, OurTimes]) -> list[str]:
    lines = [
        "| XTTS v2 | words | coqui-tts | here | real-time factor | gain |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for precision, best in ours.items():
        for words, seconds in best.whole.items():
            before, audio = theirs.whole[words], TOKENS[words] * _TOKEN_SECONDS
            lines.append(
                f"| {precision}, whole | {words} | {before:.2f} s | {seconds:.2f} s"
                f" | {seconds / audio:.2f} | {before / seconds:.1f} × |"
            )
        lines.append(
            f"| {precision}, first of chunks of {CHUNK} | 10 | {theirs.first:.2f} s"
            f" | {best.first:.2f} s | | {theirs.first / best.first:.1f} × |"
        )
    rows: dict[str, Callable[[OurTimes], str]] = {
        "first sound of a sentence": lambda best: f"{best.served_first:.2f} s",
        f"{SERVED_WORDS} words streamed, against whole": lambda best: (
            f"{best.streamed / best.unstreamed:.2f} ×"
        ),
        f"{CALLERS} callers at once": lambda best: f"{best.together:.2f} s",
        "against one after another": lambda best: f"{best.alone / best.together:.1f} ×",
        "against coqui-tts, which has no batches": lambda best: (
            f"{CALLERS * theirs.whole[10] / best.together:.1f} ×"
        ),
    }
    lines += [
        "",
        f"| as served, XTTS v2 | {' | '.join(ours)} |",
        f"| --- |{' --- |' * len(ours)}",
        *(
            f"| {name} | {' | '.join(tell(best) for best in ours.values())} |"
            for name, tell in rows.items()
        ),
        "",
    ]
    return lines


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


def _settings(count: int) -> dict[str, Any]:
    return {
        "temperature": _TASTE.temperature,
        "top_k": _TASTE.top_k,
        "top_p": _TASTE.top_p,
        "repetition_penalty": _TASTE.repetition_penalty,
        "min_new_tokens": count,
        "max_new_tokens": count,
    }


def _conditioning(heard: Heard) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(heard[0])[None], torch.tensor(heard[1])[None, :, None]


def _whole(words: int, heard: Heard) -> float:
    """Seconds that coqui-tts takes for a text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        _UPSTREAM["xtts"].inference(
            _text(words), "en", *_conditioning(heard), **_settings(TOKENS[words])
        )
        return time.perf_counter() - started


def _first(heard: Heard) -> float:
    """Seconds until coqui-tts's first chunk of 10 words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        stream = _UPSTREAM["xtts"].inference_stream(
            _text(10),
            "en",
            *_conditioning(heard),
            stream_chunk_size=CHUNK,
            **_settings(TOKENS[10]),
        )
        next(stream)
        seconds = time.perf_counter() - started
        stream.close()
        return seconds


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


@dataclass(frozen=True, slots=True)
class Networks:
    """What a loop turns."""

    gpt: Gpt
    vocoder: Vocoder
    shape: XttsShape


def load_networks(checkpoint: Checkpoint, precision: Precision) -> Networks:
    """A checkpoint's, with the vocoder that is served beside this precision."""

    def build() -> Networks:
        gpt = Gpt(checkpoint.weights, checkpoint.shape, precision, CALLERS, voice_length=32)
        dtype = dtype_of(Precision.FP32 if precision is Precision.FP32 else Precision.BF16)
        vocoder = Vocoder(checkpoint.under(VOCODER), checkpoint.shape, dtype)
        return Networks(gpt, vocoder, checkpoint.shape)

    return apart(build)


@contextmanager
def speaking(networks: Networks, chunking: Chunking) -> Iterator[Loop]:
    """A loop that turns for a block."""
    metrics = ServingMetrics(None, "bench")
    loop = Loop(networks.gpt, networks.vocoder, networks.shape, CALLERS, chunking, metrics)
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


def _ours(loop: Loop, text: list[int], words: int, voice: Voice) -> tuple[float, float]:
    """Seconds until all of a text is there, and until the first of it is."""
    for _ in hear(begin(loop, text, 3, voice, _TASTE)):
        pass  # what is slow only once, such as reading the voice
    started = time.perf_counter()
    first = 0.0
    for _ in hear(begin(loop, text, TOKENS[words], voice, _TASTE)):
        first = first or time.perf_counter() - started
    return time.perf_counter() - started, first


def _several(loop: Loop, text: list[int], voice: Voice) -> tuple[float, float]:
    count = TOKENS[10]
    alone = sum(_ours(loop, text, 10, voice)[0] for _ in range(CALLERS))
    started = time.perf_counter()
    for sentence in [begin(loop, text, count, voice, _TASTE) for _ in range(CALLERS)]:
        for _ in hear(sentence):
            pass
    return alone, time.perf_counter() - started


def _likeness(
    precision: Precision, networks: Networks, text: list[int], voice: Voice, exact: list[int]
) -> str:
    with speaking(networks, SERVED) as loop:
        sentence = begin(loop, text, len(exact), voice, _GREEDY)
        for _ in hear(sentence):
            pass
    same = next(
        (n for n, (a, b) in enumerate(zip(sentence.tokens, exact, strict=True)) if a != b),
        len(exact),
    )
    return f"- {precision}: the first {same} of {len(exact)} greedy tokens are coqui-tts's"
