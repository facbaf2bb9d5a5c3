"""What is kept of cloned voices, and what is not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fakes.pb_utils import FakeBackend
from voice_serving.conditioning import ConditioningCache
from voice_serving.metrics import ServingMetrics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
BYTES = 400


def made(value: float) -> dict[str, NDArray[np.float32]]:
    return {"latent": np.full(BYTES // 4, value, np.float32)}


def cache(
    folder: Path | None = None, *, places: int = 10, version: str = "one", disk: int = 1 << 20
) -> ConditioningCache:
    metrics = ServingMetrics(None, "test")
    return ConditioningCache(version, places * BYTES, metrics, folder, disk)


def value(found: Mapping[str, NDArray[np.float32]] | None) -> float | None:
    return None if found is None else float(found["latent"][0])


def test_the_one_unused_for_longest_goes_first():
    kept = cache(places=2)
    kept.put((A,), made(1), kept.epoch)
    kept.put((B,), made(2), kept.epoch)
    kept.get((A,))
    kept.put((C,), made(3), kept.epoch)
    assert [value(kept.get((key,))) for key in (A, B, C)] == [1, None, 3]


def test_what_is_larger_than_the_bound_is_not_kept():
    kept = cache(places=0)
    kept.put((A,), made(1), kept.epoch)
    assert kept.get((A,)) is None


def test_two_samples_are_another_voice_than_each_and_than_the_other_order():
    kept = cache()
    kept.put((A, B), made(1), kept.epoch)
    assert [value(kept.get(key)) for key in ((A, B), (B, A), (A,), (B,))] == [1, None, None, None]


def test_a_process_that_starts_finds_what_another_left(tmp_path):
    before = cache(tmp_path)
    before.put((A,), made(1), before.epoch)
    before.put((A, B), made(2), before.epoch)
    after = cache(tmp_path)
    assert [value(after.get(key)) for key in ((A,), (A, B))] == [1, 2]


def test_what_was_used_last_is_warm(tmp_path):
    before = cache(tmp_path)
    for number, key in enumerate((A, B, C)):
        before.put((key,), made(number), before.epoch)
        (path,) = tmp_path.glob(f"one/{key}*")
        os.utime(path, (number, number))
    size = path.stat().st_size
    after = ConditioningCache("one", 2 * size, ServingMetrics(None, "test"), tmp_path)
    assert after.warm() == 2
    for path in tmp_path.glob("one/*"):
        path.unlink()
    assert [value(after.get((key,))) for key in (A, B, C)] == [None, 1, 2]


def test_another_checkpoint_finds_nothing(tmp_path):
    before = cache(tmp_path)
    before.put((A,), made(1), before.epoch)
    assert cache(tmp_path, version="two").get((A,)) is None


def test_a_broken_file_is_as_good_as_none(tmp_path):
    kept = cache(tmp_path)
    kept.put((A,), made(1), kept.epoch)
    (path,) = tmp_path.glob("one/*")
    path.write_bytes(path.read_bytes()[:50])
    assert cache(tmp_path).get((A,)) is None
    assert list(tmp_path.glob("one/*")) == []


def test_the_disk_is_bounded(tmp_path):
    kept = cache(tmp_path, disk=1000)
    for key in (A, B, C):
        kept.put((key,), made(1), kept.epoch)
    assert sum(path.stat().st_size for path in tmp_path.glob("one/*")) <= 1000


def test_a_forgotten_sample_is_gone_from_memory_and_from_every_version(tmp_path):
    other = cache(tmp_path, version="two")
    other.put((A,), made(1), other.epoch)
    kept = cache(tmp_path)
    for key in ((A,), (A, B), (B,)):
        kept.put(key, made(1), kept.epoch)
    kept.forget((A,))
    assert [value(kept.get(key)) for key in ((A,), (A, B), (B,))] == [None, None, 1]
    assert [path.name for path in tmp_path.rglob(f"*{A}*")] == []


def test_what_is_computed_while_it_is_forgotten_is_not_kept(tmp_path):
    kept = cache(tmp_path)
    begun = kept.epoch
    kept.forget((A,))
    kept.put((A,), made(1), begun)
    assert kept.get((A,)) is None
    kept.put((A,), made(2), kept.epoch)
    assert value(kept.get((A,))) == 2


@pytest.mark.parametrize(("asked", "hits", "misses"), [((A,), 1, 0), ((B,), 0, 1)])
def test_hits_and_misses_are_counted(asked, hits, misses):
    backend = FakeBackend()
    kept = ConditioningCache("one", 1000, ServingMetrics(backend, "test"))
    kept.put((A,), made(1), kept.epoch)
    kept.get(asked)
    assert backend.metrics["voice_conditioning_hits_total"].value == hits
    assert backend.metrics["voice_conditioning_misses_total"].value == misses
