"""The life of a model inside Triton, with an engine that follows a script."""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fakes.pb_utils import FakeBackend, FakeRequest, FakeTritonError
from fakes.scripted_engine import BREAK, HOLD, NAN, REFUSE, STOP, ScriptedEngine
from voice_serving.model import SpeechModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def arguments(**parameters: str) -> dict[str, str]:
    config = {"parameters": {k: {"string_value": v} for k, v in parameters.items()}}
    return {
        "model_name": "scripted",
        "model_version": "1",
        "model_repository": "/nowhere/scripted",
        "model_config": json.dumps(config),
    }


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[SpeechModel, FakeBackend]]]:
    running: list[tuple[SpeechModel, ScriptedEngine]] = []

    def started(engine: ScriptedEngine, **parameters: str) -> tuple[SpeechModel, FakeBackend]:
        backend = FakeBackend()
        model = _model_of(engine)(backend)
        model.initialize(arguments(**parameters))
        running.append((model, engine))
        return model, backend

    yield started
    for model, engine in running:
        engine.release(1000)
        model.finalize()


def _model_of(engine: ScriptedEngine) -> type[SpeechModel]:
    class ScriptedModel(SpeechModel):
        engine_class: Any = staticmethod(lambda: engine)

    return ScriptedModel


def request(*sentences: str, **inputs: Any) -> FakeRequest:
    return FakeRequest(**{"sentences": list(sentences), "language": "en", **inputs})


def execute(model: SpeechModel, *requests: FakeRequest) -> None:
    assert model.execute(requests) is None
    for one in requests:
        one.released = True


def spoken(one: FakeRequest) -> list[tuple[int, float, bool]]:
    one.sender.wait_for_end()
    return [
        (int(r.value("sentence")[0]), float(r.value("audio")[0]), bool(r.value("last")[0]))
        for r in one.sender.audio
    ]


def error_of(one: FakeRequest) -> FakeTritonError:
    error = one.sender.wait_for_end().error
    assert error is not None
    return error


def test_loads_and_warms_up_before_it_is_ready(start):
    engine = ScriptedEngine()
    start(engine)
    assert engine.calls == ["load", "warm_up"]


def test_speaks_the_sentences_in_order_and_ends_with_the_last_chunk(start):
    model, _ = start(ScriptedEngine())
    one = request("a", "bb", "ccc")
    execute(model, one)
    assert spoken(one) == [(0, 1.0, True), (1, 2.0, True), (2, 3.0, True)]
    assert one.sender.finals == 1
    assert len(one.sender.sent) == 3


def test_answers_carry_rate_and_voice(start):
    model, _ = start(ScriptedEngine())
    one = request("a")
    execute(model, one)
    answer = one.sender.wait_for_end().audio[0]
    assert answer.value("sample_rate").tolist() == [16000]
    assert answer.value("voice").tolist() == [b"scripted"]


def test_requests_are_served_in_order_of_arrival(start):
    engine = ScriptedEngine()
    model, _ = start(engine)
    ones = [request(f"{number} {HOLD}") for number in range(5)]
    execute(model, *ones)
    engine.release(5)
    for one in ones:
        one.sender.wait_for_end()
    assert engine.begun == [f"{number} {HOLD}" for number in range(5)]


def test_as_many_requests_at_once_as_the_engine_allows(start):
    engine = ScriptedEngine(concurrency=3)
    model, _ = start(engine)
    ones = [request(f"{number} {HOLD}") for number in range(3)]
    execute(model, *ones)
    assert {engine.wait_until_held() for _ in ones} == {f"{number} {HOLD}" for number in range(3)}
    engine.release(3)
    for one in ones:
        assert len(spoken(one)) == 1


def test_streams_never_mix(start):
    engine = ScriptedEngine(concurrency=4)
    model, _ = start(engine, max_pending="50")
    ones = [request(*["x" * (number + 1)] * 20) for number in range(30)]
    execute(model, *ones)
    for number, one in enumerate(ones):
        assert spoken(one) == [(index, float(number + 1), True) for index in range(20)]


def test_refuses_what_does_not_fit_and_only_that(start):
    engine = ScriptedEngine()
    model, backend = start(engine, max_pending="2")
    admitted = [request(f"{number} {HOLD}") for number in range(3)]
    refused = request("late")
    execute(model, *admitted, refused)

    error = error_of(refused)
    assert error.code() == FakeTritonError.UNAVAILABLE
    assert error.message().startswith("overloaded: ")
    assert re.search(r", retry_after_ms=\d+$", error.message())
    assert backend.metrics["voice_rejected_total"].value == 1
    assert backend.metrics["voice_in_flight"].value == 3

    engine.release(3)
    for one in admitted:
        assert len(spoken(one)) == 1


def test_those_sent_away_are_told_to_come_back_one_after_another(start):
    engine = ScriptedEngine()
    model, _ = start(engine, max_pending="1")
    execute(model, *(request(f"{number} {HOLD}") for number in range(2)))
    refused = [request("late") for _ in range(3)]
    execute(model, *refused)
    told = [int(error_of(one).message().rpartition("=")[2]) for one in refused]
    assert told == [told[0], 2 * told[0], 3 * told[0]]


def test_a_finished_request_makes_room(start):
    engine = ScriptedEngine()
    model, _ = start(engine, max_pending="1")
    first, second = request(f"1 {HOLD}"), request(f"2 {HOLD}")
    execute(model, first, second)
    engine.wait_until_held()
    engine.release()
    # The second is at work, so the first has left.
    engine.wait_until_held()
    third = request("3")
    execute(model, third)
    engine.release()
    assert len(spoken(third)) == 1


def test_cancelled_waiters_give_their_places_away(start):
    engine = ScriptedEngine()
    model, _ = start(engine, max_pending="1")
    running, gone, late = request(f"1 {HOLD}"), request("2"), request("3")
    execute(model, running)
    engine.wait_until_held()
    execute(model, gone)
    gone.sender.cancelled = True
    execute(model, late)
    assert error_of(gone).code() == FakeTritonError.CANCELLED
    engine.release()
    assert len(spoken(late)) == 1
    assert engine.begun == [f"1 {HOLD}", "3"]


def test_cancelled_before_its_turn_is_never_spoken(start):
    engine = ScriptedEngine()
    model, _ = start(engine)
    running, gone = request(f"1 {HOLD}"), request("2")
    execute(model, running, gone)
    engine.wait_until_held()
    gone.sender.cancelled = True
    engine.release()
    assert error_of(gone).message() == "cancelled: the caller cancelled the request"
    assert engine.begun == [f"1 {HOLD}"]


def test_cancelled_in_the_middle_stops_and_frees_the_worker(start):
    engine = ScriptedEngine()
    model, _ = start(engine)
    gone = request("a", f"b {HOLD}", "c", "d")
    execute(model, gone)
    gone.sender.wait_for_messages(1)
    engine.wait_until_held()
    gone.sender.cancelled = True
    engine.release()
    assert error_of(gone).code() == FakeTritonError.CANCELLED
    assert len(gone.sender.audio) == 1
    assert gone.sender.finals == 1

    after = request("e")
    execute(model, after)
    assert len(spoken(after)) == 1


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"sentences": []}, "sentences"),
        ({"sentences": None}, "sentences"),
        ({"sentences": ["a", "  "]}, "sentences[1]"),
        ({"sentences": ["a" * 1001]}, "sentences[0]"),
        ({"sentences": ["a"] * 5001}, "sentences"),
        ({"sentences": [b"\xff\xfe"]}, "sentences"),
        ({"language": ""}, "language"),
        ({"speed": float("nan")}, "speed"),
        ({"speed": float("inf")}, "speed"),
        ({"speed": 0.0}, "speed"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 1.01}, "top_p"),
        ({"repetition_penalty": 0.5}, "repetition_penalty"),
        ({"length_penalty": float("inf")}, "length_penalty"),
        ({"seed": -1}, "seed"),
        ({"alpha": -0.1}, "alpha"),
        ({"beta": 1.1}, "beta"),
        ({"diffusion_steps": 51}, "diffusion_steps"),
        ({"embedding_scale": 11.0}, "embedding_scale"),
        ({"sample_ids": ["../../etc/passwd"]}, "sample_ids[0]"),
        ({"sample_ids": ["a" * 64] * 4}, "sample_ids"),
        ({"sample_ids": ["a" * 64], "samples": [b"x", b"y"]}, "samples"),
        ({"sample_ids": ["a" * 64], "samples": [bytes(9 << 20)]}, "samples[0]"),
        ({"operation": "sing"}, "operation"),
        ({"operation": "forget"}, "sample_ids"),
        ({"length_scale": 11.0}, "length_scale"),
        ({"noise_scale": -0.1}, "noise_scale"),
        ({"noise_w": float("nan")}, "noise_w"),
    ],
)
def test_bad_input_fails_alone_and_names_the_field(start, inputs, field):
    model, _ = start(ScriptedEngine())
    good, bad, also_good = request("a"), request("a", **inputs), request("b")
    execute(model, good, bad, also_good)
    error = error_of(bad)
    assert error.code() == FakeTritonError.INVALID_ARG
    assert error.message().startswith(f"invalid_input: {field} ")
    assert bad.sender.finals == 1
    assert len(spoken(good)) == len(spoken(also_good)) == 1


def test_errors_of_the_engine_keep_their_code(start):
    model, _ = start(ScriptedEngine())
    one = request(REFUSE)
    execute(model, one)
    assert error_of(one).code() == FakeTritonError.NOT_FOUND
    assert error_of(one).message().startswith("voice_not_installed: ")


def test_a_broken_request_fails_alone_without_its_text_anywhere(start):
    model, backend = start(ScriptedEngine())
    broken, good = request(f"my secret {BREAK}"), request("a")
    execute(model, broken, good)
    error = error_of(broken)
    assert error.code() == FakeTritonError.INTERNAL
    assert len(spoken(good)) == 1
    everything = "\n".join([error.message(), *backend.Logger.lines])
    assert "secret" not in everything
    assert "ValueError at scripted_engine.py:" in everything


def test_audio_that_is_not_a_number_is_an_error(start):
    model, _ = start(ScriptedEngine())
    one = request("a", NAN)
    execute(model, one)
    assert error_of(one).code() == FakeTritonError.INTERNAL
    assert len(one.sender.audio) == 1


def test_an_engine_that_stops_early_is_an_error(start):
    model, _ = start(ScriptedEngine())
    one = request("a", STOP, "b")
    execute(model, one)
    assert error_of(one).message().startswith("internal: ")


def test_a_caller_who_cannot_be_answered_does_not_harm_the_worker(start):
    model, backend = start(ScriptedEngine())
    mute, good = request("a"), request("b")
    mute.sender.broken = True
    execute(model, mute, good)
    assert len(spoken(good)) == 1
    model.finalize()
    assert backend.metrics["voice_in_flight"].value == 0


def test_finalize_speaks_what_was_admitted_and_closes():
    engine = ScriptedEngine()
    model = _model_of(engine)(FakeBackend())
    model.initialize(arguments())
    ones = [request(f"{number} {HOLD}") for number in range(4)]
    execute(model, *ones)
    closing = threading.Thread(target=model.finalize)
    closing.start()
    engine.release(4)
    closing.join()
    assert [len(spoken(one)) for one in ones] == [1, 1, 1, 1]
    assert engine.calls == ["load", "warm_up", "close"]


def test_finalize_tells_those_who_cannot_be_served_any_more(monkeypatch):
    monkeypatch.setattr("voice_serving.model.DRAIN_SECONDS", 0.0)
    engine = ScriptedEngine()
    model = _model_of(engine)(FakeBackend())
    model.initialize(arguments())
    running, waiting = request(f"1 {HOLD}"), request("2")
    execute(model, running, waiting)
    engine.wait_until_held()
    closing = threading.Thread(target=model.finalize)
    closing.start()
    assert error_of(waiting).message().startswith("overloaded: the model is closing")
    engine.release()
    closing.join()
    assert error_of(running).message().startswith("overloaded: the model is closing")


def test_measures_waiting_and_first_audio(start):
    model, backend = start(ScriptedEngine())
    ones = [request("a", "b"), request("c")]
    execute(model, *ones)
    for one in ones:
        one.sender.wait_for_end()
    model.finalize()
    assert len(backend.metrics["voice_queue_ms"].observations) == 2
    assert len(backend.metrics["voice_first_audio_ms"].observations) == 2
    assert backend.metrics["voice_in_flight"].value == 0


def test_works_on_a_server_without_custom_metrics():
    backend = FakeBackend()
    del backend.MetricFamily
    model = _model_of(ScriptedEngine())(backend)
    model.initialize(arguments())
    one = request("a")
    execute(model, one)
    assert len(spoken(one)) == 1
    model.finalize()


def test_the_environment_overrides_the_configuration(start, monkeypatch):
    monkeypatch.setenv("SCRIPTED_MAX_PENDING", "1")
    engine = ScriptedEngine()
    model, _ = start(engine, max_pending="9")
    ones = [request(f"{number} {HOLD}") for number in range(3)]
    execute(model, *ones)
    assert error_of(ones[2]).message().startswith("overloaded: ")


def test_what_is_to_be_forgotten_is_forgotten_at_once_even_when_all_is_full(start):
    engine = ScriptedEngine()
    model, _ = start(engine, max_pending="1")
    execute(model, *(request(f"{number} {HOLD}") for number in range(2)))
    engine.wait_until_held()
    one = request(operation="forget", sample_ids=["a" * 64, "b" * 64])
    execute(model, one)
    assert one.sender.wait_for_end().sent == [None]
    assert "forget 2" in engine.calls


def test_a_request_ends_when_its_time_is_over(start):
    engine = ScriptedEngine()
    model, _ = start(engine)
    engine.release()
    late = request(HOLD, microseconds=1)
    execute(model, late)
    error = error_of(late)
    assert error.code() == FakeTritonError.UNAVAILABLE
    assert error.message().startswith("deadline: ")


def test_who_waits_learns_of_its_deadline_while_all_are_busy(start):
    engine = ScriptedEngine()
    model, _ = start(engine, max_pending="2")
    running = request(f"1 {HOLD}")
    execute(model, running)
    engine.wait_until_held()
    patient, late = request("2"), request("3", microseconds=1000)
    execute(model, patient, late)
    assert error_of(late).message().startswith("deadline: ")
    # Its place is free for somebody else.
    newcomer = request("4")
    execute(model, newcomer)
    engine.release()
    assert len(spoken(patient)) == len(spoken(newcomer)) == 1
    assert engine.begun == [f"1 {HOLD}", "2", "4"]


def test_one_that_is_in_time_is_not_disturbed(start):
    model, _ = start(ScriptedEngine())
    one = request("a", microseconds=3_600_000_000)
    execute(model, one)
    assert spoken(one) == [(0, 1.0, True)]
