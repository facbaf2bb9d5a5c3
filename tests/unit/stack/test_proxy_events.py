from __future__ import annotations

import json
from typing import Any

import pytest

from proxy_events import MalformedAnswerError, answer

AUDIO = frozenset({"audio/wav"})


def read(response: Any, accept: str | None = None) -> Any:
    return answer(json.dumps(response).encode(), accept, AUDIO)


def test_reads_an_answer() -> None:
    found = read({"statusCode": "201", "headers": {"X-A": 1}, "body": "é"})
    assert (found.status, found.headers, found.body) == (201, (("X-A", "1"),), "é".encode())


def test_many_values_win_over_one() -> None:
    found = read(
        {
            "statusCode": 200,
            "headers": {"Set-Cookie": "a", "X": "1", "Content-Length": "9"},
            "multiValueHeaders": {"set-cookie": ["b", "c"]},
        }
    )
    assert found.headers == (("set-cookie", "b"), ("set-cookie", "c"), ("X", "1"))
    assert found.body == b""


def test_decodes_bytes_only_for_the_api_s_binary_types() -> None:
    response = {"statusCode": 200, "isBase64Encoded": True, "body": "AP8="}
    assert read(response).body == b"AP8="
    assert read(response, "audio/wav, */*").body == b"\x00\xff"
    assert read({**response, "headers": {"Content-Type": "audio/wav"}}).body == b"\x00\xff"


@pytest.mark.parametrize(
    "response",
    [
        None,
        [],
        "text",
        {},
        {"statusCode": "no"},
        {"statusCode": 200, "headers": ["x"]},
        {
            "statusCode": 200,
            "headers": {"content-type": "audio/wav"},
            "isBase64Encoded": True,
            "body": "not base64",
        },
    ],
)
def test_refuses_what_is_no_answer(response: Any) -> None:
    with pytest.raises(MalformedAnswerError):
        read(response)
