from __future__ import annotations

import pytest

from voice_gateway.domain.errors import ConflictError, StaleWriteError
from voice_gateway.services.optimistic import ATTEMPTS, until_written


class Overtaken:
    def __init__(self, times: int) -> None:
        self.left = times
        self.pauses: list[float] = []

    def write(self) -> str:
        self.left -= 1
        if self.left >= 0:
            raise StaleWriteError
        return "written"


@pytest.mark.parametrize("times", [0, 1, ATTEMPTS - 1])
def test_writes_as_soon_as_nobody_is_faster(times: int) -> None:
    others = Overtaken(times)
    assert until_written(others.write, others.pauses.append) == "written"
    assert len(others.pauses) == times


def test_gives_up_in_the_end() -> None:
    others = Overtaken(1000)
    with pytest.raises(StaleWriteError):
        until_written(others.write, others.pauses.append)
    assert 1000 - others.left == ATTEMPTS
    assert sum(others.pauses) < 10
    assert max(others.pauses) <= 0.25


def test_any_other_error_is_final() -> None:
    def write() -> None:
        raise ConflictError("It is there.")

    with pytest.raises(ConflictError):
        until_written(write, lambda _: pytest.fail("no pause"))
