"""What a cloning engine has computed from a voice's samples, kept by the samples' content.

The key is the SHA-256 of each prepared WAV, never a name or a path: equal samples give equal
conditioning, and another sample under the same name cannot be mistaken for the first one.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from voice_serving.metrics import ServingMetrics

    Conditioning = Mapping[str, NDArray[Any]]

_SUFFIX: Final = ".safetensors"


class ConditioningCache:
    """Least recently used first out, within bounds of bytes, in memory and on disk.

    Files lie in `folder/<version>/`. Other versions' files are left alone, since two versions of a
    model may be served at once, but `forget` removes from all of them.

    Args:
        version: Of the engine and its checkpoint: with another one, nothing is found.
        max_bytes: Bound of what is in memory.
        folder: Where it outlives the process; None keeps it in memory alone.
        max_disk_bytes: Bound of this version's files.
        metrics: Counts hits and misses.
    """

    def __init__(
        self,
        version: str,
        max_bytes: int,
        metrics: ServingMetrics,
        folder: Path | None = None,
        max_disk_bytes: int = 1 << 30,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_disk_bytes = max_disk_bytes
        self._metrics = metrics
        self._root = folder
        self._folder = None if folder is None else folder / version
        self._kept: OrderedDict[tuple[str, ...], Conditioning] = OrderedDict()
        self._bytes = 0
        self._forgotten: dict[str, int] = {}
        """Sample → the last epoch in which it was forgotten."""
        self._epoch = 0
        self._lock = threading.Lock()
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)

    @property
    def epoch(self) -> int:
        """To be read before a conditioning is computed, and handed to `put`."""
        with self._lock:
            return self._epoch

    def get(self, sample_ids: tuple[str, ...]) -> Conditioning | None:
        """What was computed from these samples, in this order; None when it is not known."""
        with self._lock:
            found = self._kept.get(sample_ids)
            if found is None:
                found = self._read(sample_ids)
                if found is not None:
                    self._keep(sample_ids, found)
            else:
                self._kept.move_to_end(sample_ids)
        (
            self._metrics.conditioning_misses if found is None else self._metrics.conditioning_hits
        ).increment(1)
        return found

    def put(self, sample_ids: tuple[str, ...], conditioning: Conditioning, epoch: int) -> None:
        """Keeps a conditioning, unless one of its samples was forgotten meanwhile.

        Args:
            sample_ids: What it was computed from.
            conditioning: Named arrays.
            epoch: As it was when the computation began.
        """
        with self._lock:
            if any(self._forgotten.get(sample_id, 0) > epoch for sample_id in sample_ids):
                return
            self._keep(sample_ids, conditioning)
            self._write(sample_ids, conditioning)

    def forget(self, sample_ids: tuple[str, ...]) -> None:
        """Removes all that was computed from any of these samples, whatever the version."""
        with self._lock:
            self._epoch += 1
            for sample_id in sample_ids:
                self._forgotten[sample_id] = self._epoch
                for key in [key for key in self._kept if sample_id in key]:
                    self._drop(key)
                if self._root is not None:
                    for path in self._root.glob(f"*/*{sample_id}*"):
                        path.unlink(missing_ok=True)

    def warm(self) -> int:
        """Reads into memory what was used last, as much as there is room for; tells how many."""
        with self._lock:
            for path in self._files():
                if self._bytes + path.stat().st_size > self._max_bytes:
                    break
                sample_ids = tuple(path.name.removesuffix(_SUFFIX).split("-"))
                found = self._read(sample_ids)
                if found is not None:
                    self._keep(sample_ids, found)
            # What was read first was used last.
            for key in reversed(list(self._kept)):
                self._kept.move_to_end(key)
            return len(self._kept)

    def _keep(self, sample_ids: tuple[str, ...], conditioning: Conditioning) -> None:
        self._drop(sample_ids)
        self._kept[sample_ids] = conditioning
        self._bytes += _size(conditioning)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, sample_ids: tuple[str, ...]) -> None:
        dropped = self._kept.pop(sample_ids, None)
        if dropped is not None:
            self._bytes -= _size(dropped)

    def _path(self, sample_ids: tuple[str, ...]) -> Path | None:
        return None if self._folder is None else self._folder / f"{'-'.join(sample_ids)}{_SUFFIX}"

    def _read(self, sample_ids: tuple[str, ...]) -> Conditioning | None:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self._path(sample_ids)
        if path is None or not path.is_file():
            return None
        try:
            found: Conditioning = load_file(path)
        except SafetensorError:
            # Half a disk's worth of it is as good as none: it is computed anew.
            path.unlink()
            return None
        os.utime(path)
        return found

    def _write(self, sample_ids: tuple[str, ...], conditioning: Conditioning) -> None:
        from safetensors.numpy import save

        path = self._path(sample_ids)
        if path is None:
            return
        fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
        fresh.write_bytes(save(dict(conditioning)))
        fresh.replace(path)
        room = self._max_disk_bytes
        for old in self._files():
            room -= old.stat().st_size
            if room < 0:
                old.unlink()

    def _files(self) -> Iterator[Path]:
        """This version's files, the last used one first."""
        if self._folder is None:
            return iter(())
        found = self._folder.glob(f"*{_SUFFIX}")
        return iter(sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True))


def _size(conditioning: Conditioning) -> int:
    return sum(array.nbytes for array in conditioning.values())
