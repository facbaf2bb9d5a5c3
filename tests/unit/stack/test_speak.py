from __future__ import annotations

import argparse
import io
import json
import struct
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from rich.console import Console

import speak as command
import stack
from speak import (
    SpeechFailedError,
    Spoken,
    add_arguments,
    fetch_receipt,
    finish_wav,
    problem_message,
    receipt_table,
    request_body,
    speak,
)
from voice_gateway.domain.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNKNOWN = 0xFFFFFFFF
PCM = b"\x01\x02" * 2400


def streamed_wav(*, extra: bytes = b"") -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 24000, 48000, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", UNKNOWN)
        + b"WAVE"
        + form
        + extra
        + b"data"
        + (struct.pack("<I", UNKNOWN))
    )


def client(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://local")


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_asks_for_what_was_said_and_nothing_else() -> None:
    assert request_body(options("--text", "Hi", "--out", "a.wav")) == {
        "text": "Hi",
        "personality": "marcel",
    }
    asked = request_body(options("--text", "Hi", "--out", "a.MP3", "--speed", "1.5"))
    assert asked == {"text": "Hi", "personality": "marcel", "format": "mp3", "speed": 1.5}


def test_takes_the_text_from_the_environment_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'It\'s $5, "friend"!\n`ls` \\ %'
    monkeypatch.setenv("VOICE_TEXT", text)
    monkeypatch.setenv("VOICE_OUT", "a b.ogg")
    monkeypatch.setenv("VOICE_SPEED", "")
    assert request_body(options()) == {"text": text, "personality": "marcel", "format": "opus"}


@pytest.mark.parametrize(
    ("name", "format_"),
    [("a.ogg", "opus"), ("a.OGA", "opus"), ("a.opus", "opus"), ("a.mp3", "mp3")],
)
def test_a_file_s_name_says_the_format(name: str, format_: str) -> None:
    assert request_body(options("--out", name))["format"] == format_
    assert request_body(options("--out", name, "--format", "flac"))["format"] == "flac"


@pytest.mark.parametrize("speed", ["nan", "-inf", "fast"])
def test_refuses_a_speed_that_is_no_number(
    speed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOICE_SPEED", speed)
    with pytest.raises(SystemExit):
        options()
    assert f"--speed: '{speed}' is no finite number" in capsys.readouterr().err


def test_tells_what_json_cannot_say(tmp_path: Path) -> None:
    with (
        client(lambda _: httpx.Response(200)) as http,
        pytest.raises(SpeechFailedError, match="cannot be sent"),
    ):
        speak(http, {"speed": float("nan")}, tmp_path / "a.wav")


def test_an_answer_that_breaks_off_is_told_and_what_came_is_playable(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield streamed_wav()
        yield PCM
        raise httpx.RemoteProtocolError("peer closed connection")

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"x-request-id": "r1"}, content=chunks())

    out = tmp_path / "part.wav"
    with client(answer) as http, pytest.raises(SpeechFailedError, match=r"broke off .* r1"):
        speak(http, {"text": "Hi"}, out)
    with wave.open(str(out)) as file:
        assert file.getnframes() == 2400


@pytest.mark.parametrize("name", ["folder", "file/a.wav", "/proc/nope/a.wav", "x" * 300])
def test_tells_of_a_file_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with (
        client(lambda _: httpx.Response(200, content=PCM)) as http,
        pytest.raises(SpeechFailedError, match="cannot be written"),
    ):
        speak(http, {"text": "Hi"}, tmp_path / name)


def test_writes_what_streams_in_and_mends_its_head(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield streamed_wav(extra=b"LIST" + struct.pack("<I", 4) + b"made")
        yield PCM

    def answer(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content) == {"text": "Hi"}
        return httpx.Response(200, headers={"x-request-id": "r1"}, content=chunks())

    out = tmp_path / "new folder" / "hello.wav"
    with client(answer) as http:
        spoken = speak(http, {"text": "Hi"}, out)
    assert (spoken.request_id, spoken.size) == ("r1", out.stat().st_size)
    assert 0 <= spoken.first_audio_ms <= spoken.total_ms
    with wave.open(str(out)) as file:
        assert (file.getnframes(), file.getframerate()) == (2400, 24000)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"ID3\x04 mp3", b"RIFF....WAVEfmt "])
def test_leaves_what_is_no_streamed_wav(content: bytes) -> None:
    file = io.BytesIO(content)
    finish_wav(file)
    assert file.getvalue() == content


def test_leaves_true_sizes(tmp_path: Path) -> None:
    path = tmp_path / "true.wav"
    with wave.open(str(path), "wb") as made:
        made.setparams((1, 2, 24000, 0, "NONE", ""))
        made.writeframes(PCM)
    file = io.BytesIO(path.read_bytes())
    finish_wav(file)
    assert file.getvalue() == path.read_bytes()


def test_tells_a_problem_in_full(tmp_path: Path) -> None:
    problem = {
        "title": "A field is wrong",
        "status": 422,
        "detail": "Check: speed.",
        "errors": [{"field": "speed", "message": "at most 4"}],
        "attempts": [{"provider": "piper", "outcome": "failed", "reason": "timeout"}],
        "request_id": "r1",
    }
    with (
        client(lambda _: httpx.Response(422, json=problem)) as http,
        pytest.raises(SpeechFailedError) as caught,
    ):
        speak(http, {}, tmp_path / "out.wav")
    for words in (
        "A field is wrong (422): Check: speed.",
        "speed: at most 4",
        "piper: timeout",
        "r1",
    ):
        assert words in str(caught.value)
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize("body", ["<html>", "[]", "{}", '{"title": 1, "errors": 3}'])
def test_tells_what_is_no_problem_document_as_it_is(body: str) -> None:
    assert problem_message(httpx.Response(502, text=body)).startswith("The API answered 502")


def test_a_receipt_that_is_not_there_is_told() -> None:
    problem = {"title": "Not found", "status": 404, "detail": "There is no receipt."}
    with (
        client(lambda _: httpx.Response(404, json=problem)) as http,
        pytest.raises(SpeechFailedError, match="no receipt"),
    ):
        fetch_receipt(http, "r1")


def test_an_empty_text_is_sent_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICE_TEXT", "")
    assert request_body(options())["text"] == ""


def receipt(**changes: Any) -> Receipt:
    return Receipt.model_validate(
        {
            "request_id": "r1",
            "personality": "marcel",
            "asked": {"provider": "piper", "voice": "budtender/marcel", "quality": "medium"},
            "served": [{"provider": "espeak", "voice": "en-us+m3", "sentences": 1}],
            "substituted": True,
            "complete": True,
            "attempts": [
                {"provider": "piper", "outcome": "failed", "reason": "unavailable"},
                {"provider": "google", "outcome": "passed_over", "reason": "not_configured"},
                {"provider": "espeak", "outcome": "served"},
            ],
            "sentences": 1,
            "first_audio_ms": 12.3,
            "total_ms": 40,
            "audio_seconds": 2.5,
            "real_time_factor": 0.016,
            "characters": 11,
            "cost_usd": 0.0,
            "format": "wav",
            "sample_rate": 24000,
            **changes,
        }
    )


def shown_receipt(out: str, **changes: Any) -> str:
    file = io.StringIO()
    spoken = Spoken(request_id="r1", first_audio_ms=15, total_ms=45, size=2048)
    Console(file=file, width=120).print(receipt_table(receipt(**changes), spoken, Path(out)))
    return file.getvalue()


def test_takes_no_value_for_markup() -> None:
    shown = shown_receipt(
        "/tmp/rv[/].wav",
        asked={"provider": "piper", "voice": "[/red]", "quality": "medium"},
        served=[{"provider": "espeak", "voice": "[bold]\\", "sentences": 1}],
        attempts=[
            {"provider": "piper", "outcome": "failed", "reason": "unavailable", "detail": "[/x]"}
        ],
    )
    for words in ("/tmp/rv[/].wav", "piper ([/red])", "espeak ([bold]\\)", "unavailable ([/x])"):
        assert words in shown
    assert "a?.wav" in shown_receipt("a\udcff.wav")


def test_shows_who_spoke_and_why() -> None:
    shown = shown_receipt("a.wav", complete=False)
    for words in (
        "piper (budtender/marcel)",
        "espeak (en-us+m3)",
        "piper failed: unavailable",
        "google passed over: not_configured",
        "12 ms  (here after 15 ms)",
        "2.50 s, 24000 Hz wav",
        "0.016",
        "not complete",
        "substituted",
        "attempts",
    ):
        assert words in shown


class Parts:
    """Which parts run, and what is started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *alive: str) -> None:
        self.started: list[str] = []
        client = {stack.URL: "http://local", stack.API_KEY: "key"}

        def start(what: str) -> dict[str, str]:
            self.started.append(what)
            return client

        monkeypatch.setattr(stack.supervisor, "running", lambda name: name in alive or None)
        monkeypatch.setattr(stack, "client", lambda: client)
        monkeypatch.setattr(stack, "up", lambda: start("all"))
        monkeypatch.setattr(stack, "up_but_speakers", lambda: start("all but speakers"))


@pytest.mark.parametrize(
    ("alive", "started", "hint"),
    [
        ((), ["all"], False),
        (("triton", "aws", "redis", "vendors", "gateway"), [], False),
        (("triton", "vendors", "aws", "redis"), ["all but speakers"], False),
        (("triton", "vendors", "aws", "gateway"), ["all but speakers"], False),
        (("triton", "vendors", "gateway"), ["all but speakers"], False),
        (("triton", "aws", "redis", "gateway"), [], True),
        (("aws", "redis", "gateway"), [], True),
        (("aws",), ["all but speakers"], True),
    ],
)
def test_starts_what_is_missing_but_nobody_who_only_speaks(
    monkeypatch: pytest.MonkeyPatch, alive: tuple[str, ...], started: list[str], hint: bool
) -> None:
    parts = Parts(monkeypatch, *alive)
    console = Console(file=io.StringIO(), width=120)
    assert command._reach(console)[stack.API_KEY] == "key"
    assert parts.started == started
    assert isinstance(console.file, io.StringIO)
    assert ("this is how it sounds without" in console.file.getvalue()) is hint
