"""How many forward passes at once, and how many threads each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from voice_serving.params import Parameters

_SENTENCES_AT_ONCE: Final = 2
_MOST_USEFUL_THREADS: Final = 4
_STREAMS: Final = 32


class Profile(StrEnum):
    """What the machine's cores are spent on; `scripts/bench_piper_instances.py` measures both."""

    LATENCY = "latency"
    """One sentence and the next one side by side, the cores shared between them: a text of a few
    sentences is done soonest."""
    THROUGHPUT = "throughput"
    """One sentence a core, as many at once as there are cores: the most audio a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PiperSettings:
    """Settings of the Piper engine."""

    instances: int
    """Forward passes at once."""
    threads: int
    """Cores that one forward pass uses."""
    lone_threads: int
    """Cores that a pass uses when nobody waits behind it: a text of one sentence, or its last."""
    streams: int
    """Requests in progress at once; they take turns at the instances, sentence by sentence. Many:
    the turns let a newcomer's first sentence go before the tail of the others, but only once the
    newcomer has a stream."""
    max_loaded_voices: int
    """Voices kept in memory; the one unused for longest goes first."""
    voices_dir: Path | None
    """Folder of downloaded voices, beside the shipped ones."""

    @classmethod
    def from_parameters(cls, parameters: Parameters) -> PiperSettings:
        """Reads `profile` for the defaults, and whatever overrides them one by one."""
        cores = len(os.sched_getaffinity(0))
        if parameters.choice("profile", Profile.LATENCY) is Profile.LATENCY:
            instances = max(min(cores, _SENTENCES_AT_ONCE), cores // _MOST_USEFUL_THREADS)
            threads = min(cores // instances, _MOST_USEFUL_THREADS)
            lone_threads = min(cores, _MOST_USEFUL_THREADS)
        else:
            threads, instances = 1, cores
            lone_threads = threads
        threads = parameters.integer("threads", threads)
        return cls(
            instances=parameters.integer("instances", instances),
            threads=threads,
            lone_threads=max(threads, parameters.integer("lone_threads", lone_threads)),
            streams=parameters.integer("streams", _STREAMS),
            max_loaded_voices=parameters.integer("max_loaded_voices", 4),
            voices_dir=parameters.path("voices_dir"),
        )
