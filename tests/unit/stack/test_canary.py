from __future__ import annotations

import io
import urllib.request
from http.client import IncompleteRead
from typing import TYPE_CHECKING, Any

import pytest

import canary

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Answer(io.BytesIO):
    def __init__(self, provider: str) -> None:
        super().__init__(b"RIFF")
        self.headers = {"x-speech-provider": provider}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the API answers, one after the other; the last one for ever."""
    waiting: list[Any] = []

    def answer(*_: Any, **__: Any) -> _Answer:
        given = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(given, Exception):
            raise given
        return _Answer(given)

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    monkeypatch.setattr(canary, "_POLL_SECONDS", 0.001)
    yield waiting


def test_a_substitute_is_no_song(answers: list[Any]) -> None:
    answers[:] = ["piper"]
    assert canary.sings("http://local", "key")
    for substitute in ("espeak", "google"):
        answers[:] = [substitute]
        assert not canary.sings("http://local", "key", patience=0.01)


def test_waits_for_who_looks_away_for_a_moment(answers: list[Any]) -> None:
    answers[:] = ["espeak", "espeak", "piper"]
    assert canary.sings("http://local", "key", patience=5.0)
    answers[:] = ["espeak", "piper"]
    assert not canary.sings("http://local", "key")


@pytest.mark.parametrize("error", [ConnectionResetError(), IncompleteRead(b"")])
def test_leaves_other_failures_to_others(answers: list[Any], error: Exception) -> None:
    answers[:] = [error]
    assert canary.sings("http://local", "key")
