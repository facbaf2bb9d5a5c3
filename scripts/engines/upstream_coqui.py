"""coqui-tts itself, to compare with and to measure against; what serves imports less of it."""

from __future__ import annotations

import importlib
import shutil
import sys
import tempfile
import types
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def import_torchaudio() -> Any:
    """torchaudio, of which only what it does in Python is needed.

    Its compiled part is linked against CUDA in the wheel that the package index has, so without
    CUDA the loader of that part is replaced.
    """
    import torch

    if torch.version.cuda is None and "torchaudio" not in sys.modules:
        extension: Any = types.ModuleType("torchaudio._extension")
        extension.__path__ = []
        extension._IS_TORCHAUDIO_EXT_AVAILABLE = extension._IS_ALIGN_AVAILABLE = False
        extension.fail_if_no_align = lambda function: function
        sys.modules["torchaudio._extension"] = extension
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("torchaudio")


def import_xtts() -> Any:
    """The module `TTS.tts.models.xtts`."""
    import_torchaudio()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("TTS.tts.models.xtts")


def load_xtts(folder: Path) -> Any:
    """The model of a checkpoint's folder, ready to speak.

    What it reads is a copy: coqui-tts rewrites official checkpoints.
    """
    xtts = import_xtts()
    from TTS.tts.configs.xtts_config import XttsConfig

    config = XttsConfig()
    config.load_json(str(folder / "config.json"))
    with tempfile.TemporaryDirectory() as copy, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        model = xtts.Xtts.init_from_config(config)
        model.load_checkpoint(config, checkpoint_dir=copy, eval=True)
    return model
