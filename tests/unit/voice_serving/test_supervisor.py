"""The supervisor over a process that does nothing, with a pulse that follows a script."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from voice_serving import supervisor
from voice_serving.supervisor import Pulse, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_SECONDS = 20.0
IDLE = (sys.executable, "-c", "import time; time.sleep(600)")


@dataclass
class ScriptedPulse(Pulse):
    """Two versions of one model.

    Attributes:
        dead: Versions that give no answer.
        word: What a model says that is asked for a word; called in a thread of its own.
        beats_felt: How often any version was felt.
    """

    dead: set[str] = field(default_factory=set)
    word: Callable[[], bool] = lambda: True
    beats_felt: int = 0
    served: tuple[str, ...] = ("1", "2")

    def ready(self, model: str) -> bool:
        return True

    def versions(self, model: str) -> list[str]:
        return list(self.served)

    def beats(self, model: str, version: str = "") -> bool:
        self.beats_felt += 1
        return version not in self.dead

    def speaks(self, model: str, version: str = "") -> bool:
        return self.word()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[ScriptedPulse], Supervisor]]:
    monkeypatch.setattr(supervisor, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "WORD_EVERY", 2)
    monkeypatch.setattr(supervisor, "_PAUSES", (0.0,))
    running: list[tuple[Supervisor, threading.Thread]] = []

    def started(pulse: ScriptedPulse) -> Supervisor:
        one = Supervisor(IDLE, ["speech"], pulse)
        thread = threading.Thread(target=one.run)
        thread.start()
        running.append((one, thread))
        return one

    yield started
    for one, thread in running:
        one.end()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def wait_until(condition: Callable[[], bool]) -> None:
    again = threading.Event()
    for _ in range(int(PATIENCE_SECONDS / 0.01)):
        if condition():
            return
        again.wait(0.01)
    raise AssertionError("it never came")


def test_whoever_lives_is_left_alone(run):
    pulse = ScriptedPulse()
    one = run(pulse)
    wait_until(lambda: pulse.beats_felt > 50)
    assert one.starts == 1


def test_an_older_version_that_dies_is_seen_too(run, capfd):
    pulse = ScriptedPulse(dead={"1"})
    one = run(pulse)
    wait_until(lambda: one.starts == 2)
    assert "speech, version 1, is dead" in capfd.readouterr().err


def test_where_the_versions_are_not_told_the_latest_is_felt(run, capfd):
    one = run(ScriptedPulse(served=(), dead={""}))
    wait_until(lambda: one.starts == 2)
    assert "speech is dead" in capfd.readouterr().err


def test_a_model_whose_front_alone_lives_is_seen(run, capfd):
    one = run(ScriptedPulse(word=lambda: False))
    wait_until(lambda: one.starts == 2)
    assert "says nothing" in capfd.readouterr().err


def test_a_word_that_takes_its_time_hides_no_death(run):
    said = threading.Event()
    asked = threading.Event()

    def slowly() -> bool:
        asked.set()
        return said.wait(PATIENCE_SECONDS)

    pulse = ScriptedPulse(word=slowly)
    one = run(pulse)
    assert asked.wait(PATIENCE_SECONDS)
    pulse.dead = {"2"}
    wait_until(lambda: one.starts == 2)
    said.set()


def test_a_death_is_known_within_five_seconds():
    longest = supervisor.BEAT_SECONDS + supervisor.MISSES * supervisor.BEAT_PATIENCE_SECONDS
    assert longest <= 5
