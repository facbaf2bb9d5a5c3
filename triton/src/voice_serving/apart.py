"""Work for a thread that ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


def apart(work: Callable[[], Result]) -> Result:
    """Does something in a thread of its own that ends with it, and waits.

    OpenMP gives every thread that has ever computed in parallel a team, for as long as that thread
    lives. Where all teams together are more threads than cores, libgomp lets none of them wait
    awake: each of the thousand parallel parts of a step of XTTS then costs a system call, and the
    step half as much time again. So whoever loads a model must not live on beside whoever speaks.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="apart") as executor:
        return executor.submit(work).result()
