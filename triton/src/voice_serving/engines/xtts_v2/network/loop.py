"""The one loop in which all callers' sentences move on together."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from voice_serving.engines.xtts_v2.network.batch import Batch
from voice_serving.engines.xtts_v2.network.sentence import Piece, Sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_serving.engines.xtts_v2.network.gpt import Gpt
    from voice_serving.engines.xtts_v2.network.sentence import Chunking
    from voice_serving.engines.xtts_v2.network.vocoder import Vocoder, Window
    from voice_serving.engines.xtts_v2.network.voice import Voice
    from voice_serving.engines.xtts_v2.shape import XttsShape
    from voice_serving.metrics import ServingMetrics

Result = TypeVar("Result")


class ClosedError(RuntimeError):
    """The loop has ended; nothing more will come."""


class Loop:
    """A thread that owns the networks.

    Between two steps sentences join and leave, and of the windows that are due some are spoken:
    those of sentences that nobody has heard yet first. Everything that computes is done in this
    thread, so that two of torch's thread pools never fight for the cores.
    """

    def __init__(
        self,
        gpt: Gpt,
        vocoder: Vocoder,
        shape: XttsShape,
        slots: int,
        chunking: Chunking,
        metrics: ServingMetrics,
    ) -> None:
        self._gpt = gpt
        self._vocoder = vocoder
        self._shape = shape
        self._chunking = chunking
        self._metrics = metrics
        self._batch = Batch(gpt, shape, slots)
        self._cuda = gpt.mel_head.device.type == "cuda"
        self._waiting: list[Sentence] = []
        self._active: list[Sentence] = []
        """By slot."""
        self._ending: list[Sentence] = []
        """Generated to the end, and not yet spoken."""
        self._errands: list[tuple[Callable[[], Any], Future[Any]]] = []
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="xtts-loop", daemon=True)

    def start(self) -> None:
        """Begins to turn, once all graphs are there."""
        with torch.inference_mode():
            self._batch.prepare()
        self._thread.start()

    def submit(self, sentence: Sentence) -> None:
        """Puts a sentence in line; its pieces come through its own queue.

        Raises:
            ClosedError: The loop has ended.
        """
        sentence.begin(self._shape, self._chunking)
        with self._changed:
            if self._closed:
                raise ClosedError
            self._waiting.append(sentence)
            self._changed.notify()

    def do(self, errand: Callable[[], Result]) -> Result:
        """Computes something between two steps, and waits for it.

        Raises:
            ClosedError: The loop has ended.
        """
        future: Future[Result] = Future()
        with self._changed:
            if self._closed:
                raise ClosedError
            self._errands.append((errand, future))
            self._changed.notify()
        return future.result()

    def close(self) -> None:
        """Ends all that is in progress."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    @torch.inference_mode()
    def _run(self) -> None:
        while self._wait():
            try:
                self._turn()
            except Exception as error:
                # One of them is to blame, and which one cannot be told: a step is made for all.
                self._fail(error)
        self._fail(ClosedError())

    def _wait(self) -> bool:
        with self._changed:
            while not (
                self._closed or self._waiting or self._active or self._ending or self._errands
            ):
                self._changed.wait()
            errands, self._errands = self._errands, []
            closed = self._closed
        for errand, future in errands:
            if closed:
                future.set_exception(ClosedError())
                continue
            try:
                future.set_result(errand())
            except Exception as error:
                future.set_exception(error)
        return not closed

    def _turn(self) -> None:
        self._let_go()
        self._let_in()
        if self._active:
            self._metrics.batch_size.observe(len(self._active))
            noise = [sentence.noise.draw() for sentence in self._active]
            tokens, latents = self._batch.step(noise)
            for sentence, token, latent in zip(self._active, tokens, latents, strict=True):
                sentence.add(token, latent, self._shape.stop_audio)
            for sentence in [s for s in self._active if s.finished]:
                self._leave(sentence)
                self._ending.append(sentence)
        self._metrics.slots.set(len(self._active))
        self._speak()

    def _let_go(self) -> None:
        with self._changed:
            self._waiting = [s for s in self._waiting if not s.gone]
        for sentence in [s for s in self._active if s.gone]:
            self._leave(sentence)
        self._ending = [s for s in self._ending if not s.gone]

    def _let_in(self) -> None:
        """One at most: reading a text takes as long as many steps of the others."""
        if len(self._active) == self._batch.slots:
            return
        with self._changed:
            if not self._waiting:
                return
            sentence = min(self._waiting, key=lambda waiting: waiting.rank)
            self._waiting.remove(sentence)
        try:
            self._join(sentence)
        except Exception as error:
            sentence.pieces.put(error)

    def _join(self, sentence: Sentence) -> None:
        slot = len(self._active)
        transformer = self._gpt.transformer
        start = self._read_voice(slot, sentence.voice)
        prompt = self._gpt.prompt(sentence.text)
        latents = transformer.extend(slot, start, prompt)
        length = start + len(prompt)
        token = self._batch.join(
            slot, latents[-1], length, sentence.taste, sentence.least, sentence.noise.draw()
        )
        sentence.slot = slot
        sentence.add(token, latents[-1], self._shape.stop_audio)
        if sentence.finished:
            self._ending.append(sentence)
        else:
            self._active.append(sentence)

    def _read_voice(self, slot: int, voice: Voice) -> int:
        """Fills the slot's first positions with the voice; tells how many they are."""
        transformer = self._gpt.transformer
        if voice.prefix is None:
            transformer.extend(slot, 0, voice.latents)
            voice.prefix = transformer.cache.read(slot, len(voice.latents))
        else:
            transformer.cache.write(slot, voice.prefix)
        return len(voice.latents)

    def _leave(self, sentence: Sentence) -> None:
        last = self._active.pop()
        if last is not sentence:
            self._batch.leave(sentence.slot, last.slot)
            last.slot = sentence.slot
            self._active[last.slot] = last

    def _speak(self) -> None:
        due = [s for s in (*self._ending, *self._active) if s.is_due]
        unheard = [s for s in due if not s.heard]
        # A CPU computes windows one after the other anyway: no more than one between two steps.
        chosen = sorted(unheard or due, key=lambda s: s.rank)[: None if self._cuda else 1]
        taken = [(sentence, *sentence.take_window()) for sentence in chosen]
        windows: list[Window] = [window for _, window, _ in taken if window is not None]
        spoken = iter(self._vocoder.speak(windows, multiple=32 if self._cuda else 1))
        for sentence, window, last in taken:
            samples = np.zeros(0, np.float32) if window is None else next(spoken).cpu().numpy()
            if samples.size or last:
                sentence.heard = True
                sentence.pieces.put(Piece(samples, last))
            if last:
                self._ending.remove(sentence)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            waiting, self._waiting = self._waiting, []
            errands, self._errands = self._errands, []
        for sentence in (*self._active, *self._ending, *waiting):
            sentence.pieces.put(error)
        for _, future in errands:
            future.set_exception(error)
        self._active.clear()
        self._ending.clear()
