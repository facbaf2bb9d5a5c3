"""Teach the voice: step after step until the time is up, from a checkpoint if there is one.

    python scripts/train_voice/train.py --out .local/train_voice --minutes 60

Every worker is a process with one thread and a share of each batch; they meet once a step, to add
up their gradients. On a machine with other work to do that is much faster than one process with
several threads, which meet at every operator and wait for the slowest.
"""

import argparse
import logging
import math
import os
import tempfile
import time
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Final

import torch
from corpus import Corpus
from lessons import Lessons
from losses import Losses
from network import Voice
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn

__all__ = ["CHECKPOINT", "load_voice", "train"]

CHECKPOINT: Final = "voice.pt"
_SEED: Final = 20261123
_RATE: Final = 1.6e-3
_FINAL_RATE: Final = 0.02  # of _RATE, where the cosine ends
_WARM_UP: Final = 200  # steps
_AVERAGE: Final = 0.999  # of the weights, a step; what is exported is the average
_SAVE_EVERY: Final = 60.0  # seconds
_SAY_EVERY: Final = 30.0

_log = logging.getLogger("train")


def load_voice(path: Path, transform: str = "fft") -> Voice:
    """Read the averaged weights out of a checkpoint."""
    voice = Voice(transform)
    voice.load_state_dict(torch.load(path, weights_only=True)["average"])
    return voice.eval()


def train(folder: Path, minutes: float, workers: int = 2) -> Path:
    """Train until ``minutes`` of training are spent, those of earlier runs counted in.

    Args:
        folder: Where ``corpus.build`` put the corpus; the checkpoint goes there too.
        minutes: The whole budget. The learning rate falls along it.
        workers: Processes that share the work.

    Returns:
        The checkpoint.
    """
    with tempfile.TemporaryDirectory() as meeting:
        spawn(_work, (folder, minutes, workers, f"file://{meeting}/point"), nprocs=workers)
    return folder / CHECKPOINT


def _work(worker: int, folder: Path, minutes: float, workers: int, meeting: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    distributed.init_process_group("gloo", meeting, rank=worker, world_size=workers)
    _Run(folder, minutes * 60, worker, workers).to_the_end()
    distributed.destroy_process_group()


class _Run:
    """One worker's part of the training. The first worker also keeps the average and the books."""

    def __init__(self, folder: Path, budget: float, worker: int, workers: int) -> None:
        self._path = folder / CHECKPOINT
        self._budget, self._worker, self._workers = budget, worker, workers
        torch.manual_seed(_SEED)
        self._voice = Voice()
        self._average = deepcopy(self._voice).requires_grad_(False)
        self._optimiser = torch.optim.AdamW(
            self._voice.parameters(), _RATE, betas=(0.9, 0.98), weight_decay=0.01
        )
        self._steps, self._spent = 0, 0.0
        if self._path.exists():
            self._load()
        torch.manual_seed(_SEED + self._steps * workers + worker)
        self._lessons = Lessons(
            Corpus(folder, "train"), _SEED + self._steps, worker=worker, workers=workers
        )
        self._losses = Losses()
        self._running: dict[str, float] = {}

    def to_the_end(self) -> None:
        """Step until the budget is spent."""
        if self._worker == 0:
            count = sum(parameter.numel() for parameter in self._voice.parameters())
            _log.info("step %d, %.2f million weights", self._steps, count / 1e6)
        distributed.barrier()
        said = saved = now = time.monotonic()
        while self._spent < self._budget:
            self._step()
            before, now = now, time.monotonic()
            self._spent = self._first_of(self._spent + now - before)
            if self._worker == 0 and now - said > _SAY_EVERY:
                said = now
                parts = "  ".join(f"{name} {part:.4f}" for name, part in self._running.items())
                _log.info("%5.1f min  step %d  %s", self._spent / 60, self._steps, parts)
            if self._worker == 0 and now - saved > _SAVE_EVERY:
                saved = now
                self._save()
        if self._worker == 0:
            self._save()
            _log.info("%d steps in %.1f minutes", self._steps, self._spent / 60)

    def _step(self) -> None:
        progress = min(1.0, self._spent / self._budget)
        decay = _FINAL_RATE + (1 - _FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in self._optimiser.param_groups:
            group["lr"] = _RATE * min(1.0, (self._steps + 1) / _WARM_UP) * decay
        parts = self._losses(self._voice, self._lessons())
        self._optimiser.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        self._share_gradients(self._voice.parameters())
        nn.utils.clip_grad_norm_(self._voice.parameters(), 1.0)
        self._optimiser.step()
        self._steps += 1
        if self._worker == 0:
            keep = min(_AVERAGE, self._steps / (self._steps + 10))
            pairs = zip(self._average.parameters(), self._voice.parameters(), strict=True)
            with torch.no_grad():
                for slow, fast in pairs:
                    slow.lerp_(fast, 1 - keep)
            for name, part in parts.items():
                value = float(part.detach())
                self._running[name] = 0.99 * self._running.get(name, value) + 0.01 * value

    def _share_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Put the mean gradient of all workers in the place of each worker's own."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(together)
        together /= self._workers
        for gradient, part in zip(
            gradients, together.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def _first_of(self, value: float) -> float:
        """Give the first worker's value to all: they have to agree on when to stop."""
        shared = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(shared, 0)
        return float(shared)

    def _load(self) -> None:
        state = torch.load(self._path, weights_only=True)
        self._voice.load_state_dict(state["voice"])
        self._average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._steps, self._spent = state["steps"], state["seconds"]

    def _save(self) -> None:
        state = {
            "voice": self._voice.state_dict(),
            "average": self._average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "steps": self._steps,
            "seconds": self._spent,
        }
        torch.save(state, self._path.with_suffix(".tmp"))
        self._path.with_suffix(".tmp").replace(self._path)


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(".local/train_voice"))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    train(options.out, options.minutes, options.workers)


if __name__ == "__main__":
    main()
