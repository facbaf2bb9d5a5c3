"""Recorded runs: on a GPU, launching a thousand small kernels costs more than their work."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_WARM_RUNS = 2


class Recorded:
    """A function of tensors, recorded once for each set of shapes and then replayed.

    The function must do the same work whatever the values are, and never wait for the GPU.

    Args:
        function: Takes tensors or None, returns tensors.
        most: How many recordings are kept; the one unused for longest goes first.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], most: int) -> None:
        self._function = function
        self._most = most
        self._recordings: OrderedDict[Any, _Recording] = OrderedDict()

    def __call__(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        """Runs; what is returned is the caller's own."""
        shapes = tuple(None if each is None else tuple(each.shape) for each in inputs)
        recording = self._recordings.pop(shapes, None) or _Recording(self._function, inputs)
        self._recordings[shapes] = recording
        while len(self._recordings) > self._most:
            self._recordings.popitem(last=False)
        return recording.replay(inputs)


class _Recording:
    """One shape's kernels, and the places that they read from and write to."""

    def __init__(
        self, function: Callable[..., tuple[Tensor, ...]], inputs: tuple[Tensor | None, ...]
    ) -> None:
        self._inputs = tuple(None if each is None else each.clone() for each in inputs)
        # cuDNN and cuBLAS choose their kernels in a first run, which must not be recorded.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_RUNS):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._outputs = function(*self._inputs)

    def replay(self, inputs: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
        for place, value in zip(self._inputs, inputs, strict=True):
            if place is not None and value is not None:
                place.copy_(value)
        self._graph.replay()
        return tuple(each.clone() for each in self._outputs)
