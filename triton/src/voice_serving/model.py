"""The life of a speech model inside Triton: admission, worker threads, streaming, cancellation."""

from __future__ import annotations

import json
import math
import os
import threading
import time
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from voice_serving.admission import Job, JobQueue
from voice_serving.apart import apart
from voice_serving.backend import BackendLog, import_backend
from voice_serving.engine import ForgetInput
from voice_serving.errors import (
    CancelledError,
    DeadlineError,
    InternalError,
    OverloadedError,
    SpeechServingError,
)
from voice_serving.metrics import ServingMetrics
from voice_serving.params import Parameters
from voice_serving.reply import Reply
from voice_serving.tensors import RequestCodec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voice_serving.backend import BackendRequest, BackendUtils
    from voice_serving.engine import AudioChunk, SpeechEngine, SynthesisInput

DEFAULT_MAX_PENDING: Final = 16
DRAIN_SECONDS: Final = 20.0
"""Below Triton's own patience at shutdown, `--exit-timeout-secs`, 30 by default."""

_CLOSING: Final = OverloadedError("the model is closing", retry_after_ms=5000)


class SpeechModel:
    """Base of every `TritonPythonModel`: a subclass names its engine.

    `execute` admits or refuses each request and returns at once; as many worker threads as the
    engine speaks at once (`engine.concurrency`) serve the admitted ones. Requests never share
    anything but the engine, so one that fails, fails alone.
    """

    engine_class: ClassVar[type[SpeechEngine]]

    def __init__(self, backend: BackendUtils | None = None) -> None:
        self._injected_backend = backend

    def initialize(self, args: Mapping[str, str]) -> None:
        """Loads the engine and lets it speak once; Triton calls the model ready when it returns.

        Args:
            args: What Triton's Python backend hands over: `model_name`, `model_version`,
                `model_repository` (the model's own folder), `model_config` (JSON).
        """
        utils = self._injected_backend or import_backend()
        name = args["model_name"]
        config = json.loads(args["model_config"])
        parameters = Parameters.from_model_config(name, config, os.environ)
        self._log = BackendLog(utils, name)
        self._codec = RequestCodec(utils)
        self._final_flag = utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        self._metrics = ServingMetrics(utils, name, args["model_version"])
        self._abandoned = threading.Event()

        started = time.monotonic()
        self._engine = self.engine_class()
        folder = Path(args["model_repository"]) / args["model_version"]
        apart(partial(self._engine.load, parameters, folder, self._metrics))
        self._engine.warm_up()

        workers = self._engine.concurrency
        max_pending = parameters.integer("max_pending", DEFAULT_MAX_PENDING)
        self._queue = JobQueue(workers, max_pending)
        self._workers = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(workers)
        ]
        self._workers.append(
            threading.Thread(target=self._tell_the_late, name=f"{name}-late", daemon=True)
        )
        for worker in self._workers:
            worker.start()
        self._log.info(
            f"ready after {time.monotonic() - started:.1f} s:"
            f" {workers} at once, {max_pending} may wait"
        )

    def execute(self, requests: Sequence[BackendRequest]) -> None:
        """Admits or refuses each request.

        A decoupled model answers only through the senders: returning responses as well would crash
        the stub.
        """
        for request in requests:
            reply = Reply(request.get_response_sender(), self._codec, self._final_flag)
            try:
                # Decoded here, since the request's tensors are gone once `execute` returns.
                self._receive(self._codec.decode(request), reply, request.timeout())
            except SpeechServingError as error:
                self._end_with(reply, error)
            except Exception as error:
                self._end_with(reply, self._internal(error))

    def finalize(self) -> None:
        """Speaks what was admitted to its end, within `DRAIN_SECONDS`, and closes the engine."""
        self._queue.close()
        deadline = time.monotonic() + DRAIN_SECONDS
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        self._abandoned.set()
        for job in self._queue.take_all():
            self._drop(job, _CLOSING)
        for worker in self._workers:
            worker.join()
        self._engine.close()
        self._log.info("closed")

    def _receive(
        self, request: SynthesisInput | ForgetInput, reply: Reply, microseconds: int
    ) -> None:
        if isinstance(request, ForgetInput):
            # Never refused for want of a place: somebody's voice is to be gone.
            self._engine.forget(request.sample_ids)
            reply.end()
            return
        now = time.monotonic()
        deadline = now + microseconds / 1e6 if microseconds else math.inf
        self._admit(Job(request, reply, now, deadline))

    def _admit(self, job: Job) -> None:
        if not self._queue.offer(job):
            # Only when full, because asking costs a round trip for everybody who waits.
            for gone in self._queue.take_cancelled():
                self._drop(gone, CancelledError())
            if not self._queue.offer(job):
                self._metrics.rejected.increment(1)
                raise OverloadedError("the model is full", retry_after_ms=self._queue.send_away())
        self._metrics.in_flight.increment(1)

    def _work(self) -> None:
        while True:
            with self._queue.next_job() as job:
                if job is None:
                    return
                self._serve(job)
            # The sender's destructor is what frees the request inside the server.
            del job

    def _tell_the_late(self) -> None:
        while late := self._queue.take_late():
            for job in late:
                self._drop(job, DeadlineError())
            del late, job

    def _drop(self, job: Job, error: SpeechServingError) -> None:
        """Ends a job that no worker has taken."""
        self._end_with(job.reply, error)
        self._metrics.in_flight.increment(-1)

    def _serve(self, job: Job) -> None:
        try:
            self._speak(job)
        except CancelledError as error:
            self._end_with(job.reply, self._why_cancelled(job, error))
        except SpeechServingError as error:
            self._end_with(job.reply, error)
        except Exception as error:
            self._end_with(job.reply, self._internal(error))
        finally:
            self._metrics.in_flight.increment(-1)

    def _speak(self, job: Job) -> None:
        self._metrics.queue_ms.observe(1000 * (time.monotonic() - job.admitted_at))

        def cancelled() -> bool:
            late = time.monotonic() > job.deadline
            return late or self._abandoned.is_set() or job.reply.cancelled()

        if cancelled():
            raise CancelledError
        started = time.monotonic()
        seconds = 0.0
        for chunk in self._engine.synthesize(job.request, cancelled):
            _check(chunk)
            job.reply.send(chunk, final=_ends(job.request, chunk))
            if not seconds:
                self._metrics.first_audio_ms.observe(1000 * (time.monotonic() - job.admitted_at))
            seconds += chunk.samples.size / chunk.sample_rate
        if seconds:
            self._metrics.real_time_factor.observe((time.monotonic() - started) / seconds)
        if not job.reply.ended:
            raise InternalError("the engine stopped before the last sentence")

    def _why_cancelled(self, job: Job, error: CancelledError) -> SpeechServingError:
        if self._abandoned.is_set():
            return _CLOSING
        return DeadlineError() if time.monotonic() > job.deadline else error

    def _end_with(self, reply: Reply, error: SpeechServingError) -> None:
        try:
            reply.fail(error)
        except Exception as failure:
            # Nobody is left to tell, and the worker must live on.
            self._log.warning(f"an answer could not be sent: {_place(failure)}")

    def _internal(self, error: Exception) -> InternalError:
        self._log.error(f"a request failed: {_place(error)}")
        return InternalError("the model failed on this request")


def _ends(request: SynthesisInput, chunk: AudioChunk) -> bool:
    return chunk.last and chunk.sentence == len(request.sentences) - 1


def _check(chunk: AudioChunk) -> None:
    # One NaN would reach the customer's ears as a bang, with a success status.
    if not np.isfinite(chunk.samples).all():
        raise InternalError("the model produced samples that are not numbers")


def _place(error: Exception) -> str:
    """Type and place of an error; its message stays out, since it may quote the customer's text."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    return f"{type(error).__name__} at {Path(frames[-1].filename).name}:{frames[-1].lineno}"
