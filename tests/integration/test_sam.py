"""template.yaml before AWS's own tools: each finds what the others do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_template.py"


@pytest.mark.parametrize("check", ["lint", "sam", "translate", "build"])
def test_template_passes(check: str) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
