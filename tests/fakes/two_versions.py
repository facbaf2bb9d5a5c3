"""A model that clones in the real tritonserver, in two versions of different weights."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fakes.triton_caller import free_ports
from tritonserver import Server, install, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]


@contextmanager
def two_versions(
    model: str,
    folder: Path,
    first: Path,
    write_second: Callable[[Path], None],
    settings: Mapping[str, object],
    secret: str,
) -> Iterator[Server]:
    """Serves them for a block.

    Args:
        model: Its name.
        folder: For the repository, the conditioning and the log.
        first: A checkpoint, for version 1.
        write_second: Writes another one into the folder of version 2.
        settings: Its settings, without the model's name before them.
        secret: What callers say, and the log must not have in the end.
    """
    versions = folder / "repository" / model
    skip = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.pth")
    shutil.copytree(ROOT / "model_repository" / model, versions, ignore=skip)
    shutil.copytree(versions / "1", versions / "2")
    shutil.copytree(first, versions / "1", dirs_exist_ok=True)
    write_second(versions / "2")
    settings = {**settings, "CACHE_DIR": folder / "conditioning"}
    server = Server(
        installation=install(ROOT / ".local/tools"),
        repository=versions.parent,
        source=ROOT / "triton/src",
        run_dir=folder / "run",
        models=(model,),
        ports=free_ports(),
        variables={f"{model}_{name}".upper(): str(value) for name, value in settings.items()},
    )
    log = folder / "log"
    with running(server, log, timeout=240.0):
        yield server
    assert secret not in log.read_text(errors="replace"), "customers' text is in the log"
