"""Programs that pin what the project pins otherwise: each in an environment of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path


class InstallError(RuntimeError):
    """A tool could not be installed; the message says why and what to do."""


def install_tool(name: str, requirements: Path, tools_dir: Path) -> Path:
    """Makes `tools_dir/name` a virtual environment of exactly these requirements.

    Args:
        name: The folder's name.
        requirements: A file that pins every package.
        tools_dir: Where tools live.

    Returns:
        The environment; untouched when it was made from the same file.

    Raises:
        InstallError: A package could not be fetched or built.
    """
    target = tools_dir / name
    stamp = target / ".requirements"
    wanted = f"{sys.version_info[:2]} {hashlib.sha256(requirements.read_bytes()).hexdigest()}"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return target
    print(f"  installing {name} (once) ...", flush=True)
    python = target / "bin" / "python"
    uv = find_uv()
    if uv:
        make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(target)]
        fill = [uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        make = [sys.executable, "-m", "venv", "--clear", str(target)]
        fill = [str(python), "-m", "pip", "install", "--quiet"]
    for command in (make, [*fill, "-r", str(requirements)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr or done.stdout).strip()[-2000:]
            raise InstallError(
                f"{name} could not be installed. It needs the package index (PyPI); "
                f"the installer said:\n{reason}"
            )
    stamp.write_text(wanted, encoding="utf-8")
    return target


def find_uv() -> str | None:
    """The `uv` to use: the one of this environment first."""
    beside = Path(sys.executable).with_name("uv")
    return os.environ.get("UV") or (str(beside) if beside.is_file() else shutil.which("uv"))
