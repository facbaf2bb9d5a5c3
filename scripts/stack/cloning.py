"""The weights of the models that clone, where the local stack is to have such models.

`VOICE_CLONING_MODELS` names them (`layout.cloning_models`). The weights are those that somebody
fetched; where there are none, a small random checkpoint takes their place. It sounds like noise,
and takes every road that the real one would take.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import layout
from tools import InstallError

if TYPE_CHECKING:
    from collections.abc import Iterable

_WRITER: Final = layout.ROOT / "scripts" / "make_random_model.py"
_RANDOM: Final = layout.LOCAL / "random"


def checkpoint(model: str) -> Path:
    """Where a model's weights are: what its own variable names, what was fetched, or noise."""
    named = os.environ.get(f"{model.upper()}_CHECKPOINT", "").strip()
    if named:
        return Path(named).expanduser()
    fetched = layout.WEIGHTS / model
    return fetched if any(fetched.glob("*")) else _RANDOM / model


def is_noise(model: str) -> bool:
    """Whether a model speaks with random weights of our making."""
    return checkpoint(model) == _RANDOM / model


def environment(models: Iterable[str]) -> dict[str, str]:
    """What tells the models where their weights are, and where to keep what they made of voices."""
    told = {}
    for model in models:
        told[f"{model.upper()}_CACHE_DIR"] = str(layout.CONDITIONING / model)
        told[f"{model.upper()}_CHECKPOINT"] = str(checkpoint(model))
    return told


def prepare(models: Iterable[str]) -> None:
    """Writes the random checkpoints that are needed and not there yet.

    Raises:
        InstallError: One could not be written, or a fetch was interrupted.
    """
    models = tuple(models)
    for model in models:
        _check_fetched(model)
    for model in filter(is_noise, models):
        print(
            f"  {model} has no weights in {layout.WEIGHTS / model}: it will speak NOISE, "
            "from small random ones ...",
            flush=True,
        )
        folder = _RANDOM / model
        if not folder.is_dir():
            _write(model, folder)


def _check_fetched(model: str) -> None:
    # Whoever fetches weights does not want noise, and the model could only say that none lie there.
    folder = checkpoint(model)
    for part in folder.glob("*.part"):
        if not part.with_suffix("").exists():
            raise InstallError(
                f"{part.with_suffix('').name} is not whole yet in {folder}: wait for the fetch,"
                f" or repeat it, and it goes on: .venv/bin/python scripts/fetch_models.py {model}"
            )


def _write(model: str, folder: Path) -> None:
    # An interrupted one is never taken for a whole one.
    fresh = folder.with_name(f"{model}.{os.getpid()}.new")
    command = [sys.executable, str(_WRITER), model, "--size", "tiny", "--dest", str(fresh)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = done.stderr.strip()[-2000:]
            raise InstallError(f"no random weights for {model} could be written:\n{reason}")
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
