"""Who may use the cores next."""

from __future__ import annotations

import queue
import threading

from voice_serving.engines.piper.turns import Turns

PATIENCE_SECONDS = 20.0


def wait_for_waiters(turns: Turns, count: int) -> None:
    with turns._changed:
        assert turns._changed.wait_for(lambda: len(turns._waiting) == count, PATIENCE_SECONDS)


def test_the_most_urgent_goes_first_and_equals_in_order():
    turns = Turns(1)
    order: queue.SimpleQueue[str] = queue.SimpleQueue()

    def work(name: str, urgency: int) -> None:
        with turns.turn(urgency):
            order.put(name)

    workers = []
    with turns.turn(0):
        for number, (name, urgency) in enumerate([("late", 3), ("first", 0), ("second", 0)]):
            workers.append(threading.Thread(target=work, args=(name, urgency)))
            workers[-1].start()
            wait_for_waiters(turns, number + 1)
    for worker in workers:
        worker.join()
    assert [order.get_nowait() for _ in workers] == ["first", "second", "late"]


def test_places_are_numbered_and_given_back():
    turns = Turns(2)
    with turns.turn(0) as one, turns.turn(0) as other:
        assert {one, other} == {0, 1}
    try:
        with turns.turn(0):
            raise KeyError
    except KeyError:
        pass
    with turns.turn(0) as one, turns.turn(0) as other:
        assert {one, other} == {0, 1}
