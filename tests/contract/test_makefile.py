"""The Makefile hands over what was typed, and explains itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The environment is there, or no test would run: make need not look after it.
MAKE = ("make", "--old-file", ".venv/.ready")


def make(*arguments: str) -> str:
    done = subprocess.run([*MAKE, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """Shows what would have reached the program."""
    script = tmp_path / "show"
    script.write_text(
        '#!/bin/sh\nprintf "%s|%s|%s" "$VOICE_TEXT" "$VOICE_PERSONALITY" "$VOICE_OUT"\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    return script


@pytest.mark.parametrize(
    "text",
    [
        "Hello there, friend.",
        "It's \"quoted\", and it's `date` & $HOME for $5 | > /dev/null; # no comment",
        "100 % sure! Really?! \\n stays",
        "Shanté, 你好, 😀",
        "$(shell exit 1)$(HOME)${HOME}$$",
    ],
)
def test_text_arrives_as_it_was_typed(stand_in: Path, tmp_path: Path, text: str) -> None:
    out = f"{tmp_path}/a folder/it's.wav"
    shown = make("speak", f"STACK={stand_in}", f"TEXT={text}", "PERSONALITY=shante", f"OUT={out}")
    assert shown == f"{text}|shante|{out}"


def test_what_is_left_out_has_a_default(stand_in: Path) -> None:
    text, personality, out = make("speak", f"STACK={stand_in}").split("|")
    assert text
    assert (personality, out) == ("marcel", "hello.wav")


def test_explains_itself() -> None:
    shown = make()
    for target in ("setup", "speak", "test", "check", "fix", "up", "down", "status", "logs"):
        assert f"  {target} " in shown
