from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from voice_gateway.domain.errors import FailureReason, ProviderError
from voice_gateway.domain.receipt import Asked, Attempt, Outcome, Receipt, Served
from voice_gateway.observability import NAMESPACE, SpeechTelemetry, log_failure

RECEIPT = Receipt(
    request_id="req-1",
    personality="marcel",
    asked=Asked(provider="piper", voice="budtender/marcel", quality="medium"),
    served=(
        Served(provider="piper", voice="budtender/marcel", sentences=2),
        Served(provider="espeak", voice="en-US", sentences=1),
    ),
    substituted=True,
    complete=True,
    attempts=(
        Attempt(provider="styletts2", outcome=Outcome.PASSED_OVER, reason="not_configured"),
        Attempt(
            provider="google",
            outcome=Outcome.FAILED,
            reason="timeout",
            hedge=True,
            characters=20,
            cost_usd=Decimal("0.00032"),
        ),
        Attempt(provider="piper", outcome=Outcome.SERVED, characters=60, first_audio_ms=12.0),
    ),
    sentences=3,
    first_audio_ms=42.0,
    total_ms=120.5,
    audio_seconds=4.0,
    real_time_factor=0.03,
    characters=60,
    cost_usd=Decimal("0.00032"),
    format="wav",
    sample_rate=24_000,
)


def _figures(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    figures = [line for line in lines if "_aws" in line]
    for figure in figures:
        (described,) = figure["_aws"]["CloudWatchMetrics"]
        assert described["Namespace"] == NAMESPACE
    return figures


def test_an_answer_is_counted_once_and_its_sentences_by_who_spoke(
    capsys: pytest.CaptureFixture[str],
) -> None:
    SpeechTelemetry().served("demo", RECEIPT)
    every, answer, *turns = _figures(capsys)
    assert (answer["asked"], answer["quality"]) == ("piper", "medium")
    assert (answer["Substituted"], answer["Incomplete"], answer["Failed"]) == ([1], [0], [0])
    assert (answer["FirstAudio"], answer["Total"]) == ([42.0], [120.5])
    # The same again without what was asked for: alarms need one figure for all.
    about = {"_aws", "asked", "quality"}
    assert "asked" not in every
    assert {k: v for k, v in every.items() if k not in about} == {
        k: v for k, v in answer.items() if k not in about
    }
    spoken = [t for t in turns if "Sentences" in t]
    assert [(t["provider"], t["Sentences"]) for t in spoken] == [("piper", [2]), ("espeak", [1])]


def test_each_attempt_is_counted_with_what_it_cost(capsys: pytest.CaptureFixture[str]) -> None:
    SpeechTelemetry().served("demo", RECEIPT)
    figures = _figures(capsys)
    google, piper = [f for f in figures if "Attempts" in f]
    assert (google["provider"], google["CostUsd"], google["Hedges"]) == ("google", [0.00032], [1])
    assert "FirstAudio" not in google
    assert (piper["provider"], piper["FirstAudio"], piper["Characters"]) == ("piper", [12.0], [60])
    (failure,) = [f for f in figures if "FailedAttempts" in f]
    assert (failure["provider"], failure["reason"]) == ("google", "timeout")


def test_no_figure_is_by_tenant_or_personality(capsys: pytest.CaptureFixture[str]) -> None:
    SpeechTelemetry().served("demo", RECEIPT)
    for figure in _figures(capsys):
        (described,) = figure["_aws"]["CloudWatchMetrics"]
        (dimensions,) = described["Dimensions"]
        assert set(dimensions) <= {"service", "asked", "quality", "provider", "reason"}


def test_an_answer_that_never_was_is_counted_too(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    tried = [Attempt(provider="piper", outcome=Outcome.FAILED, reason="quota")]
    SpeechTelemetry().failed("demo", "req-3", tried)
    every, answer, attempt, failure = _figures(capsys)
    assert (every["Failed"], attempt["Attempts"]) == ([1], [1])
    assert (failure["reason"], failure["FailedAttempts"]) == ("quota", [1])
    assert (answer["asked"], answer["Failed"]) == ("piper", [1])
    (line,) = _records(caplog)
    assert (line["request"], line["attempts"][0]["reason"]) == ("req-3", "quota")


def _records(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records]


def test_the_line_of_an_answer_has_its_receipt(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    SpeechTelemetry().served("demo", RECEIPT)
    (line,) = [r for r in _records(caplog) if r["msg"] == "speech served"]
    assert line["tenant"] == "demo"
    assert line["receipt"]["request_id"] == "req-1"


def test_a_lost_receipt_is_told(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    SpeechTelemetry().receipt_lost("demo", RECEIPT, RuntimeError("words"))
    (line,) = _records(caplog)
    assert (line["request"], line["error"]) == ("req-1", "RuntimeError")
    assert "words" not in str(line["msg"])
    (figure,) = _figures(capsys)
    assert figure["ReceiptsLost"] == [1]


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (RuntimeError("the customer's words"), None),
        (
            ProviderError("piper", FailureReason.TIMEOUT, "no first audio"),
            "piper: timeout: no first audio",
        ),
    ],
)
def test_a_failure_says_where_and_only_our_own_words(
    caplog: pytest.LogCaptureFixture, error: Exception, detail: str | None
) -> None:
    try:
        raise error
    except Exception as raised:
        log_failure(raised, 500, "req-2")
    (line,) = _records(caplog)
    assert line["error"] == type(error).__name__
    assert line["detail"] == detail
    assert any(__name__.rpartition(".")[2] in where for where in line["where"])
