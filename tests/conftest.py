"""What holds for every test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from pathlib import Path

# The same examples at every run: a test that fails on one machine fails on all. To look for new
# ones: pytest --hypothesis-profile=default
settings.register_profile("fixed", derandomize=True, database=None)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def tiny_xtts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random checkpoint of XTTS v2, in the official format."""
    import torch

    from random_xtts import TINY, write_xtts

    # For networks this small a second thread costs more than it brings.
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("xtts") / "checkpoint"
    write_xtts(folder, TINY)
    return folder


@pytest.fixture(scope="session")
def tiny_styletts2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random checkpoint of StyleTTS2, in the official format."""
    import torch

    from random_styletts2 import upstream, write_styletts2

    # For networks this small a second thread costs more than it brings.
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("styletts2") / "checkpoint"
    write_styletts2(folder, upstream(tiny=True))
    return folder
