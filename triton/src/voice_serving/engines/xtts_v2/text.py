"""Text to tokens, by coqui-tts's own cleaners and tokenizer."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from voice_serving.engines.xtts_v2.languages import EXTRAS, LONGEST, split
from voice_serving.errors import InternalError, VoiceNotInstalledError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEVANAGARI: Final = str.maketrans("0123456789", "०१२३४५६७८९")
_PACKAGES: Final = (
    "TTS",
    "TTS.tts",
    "TTS.tts.layers",
    "TTS.tts.layers.xtts",
    "TTS.tts.utils",
    "TTS.tts.utils.text",
)


class Tokenizer:
    """Reads text in the checkpoint's vocabulary.

    Args:
        vocabulary: The checkpoint's `vocab.json`.
        most: Tokens that the model reads at once.
    """

    def __init__(self, vocabulary: Path, most: int) -> None:
        self._upstream = _import_tokenizer().VoiceBpeTokenizer(vocab_file=str(vocabulary))
        self._most = most
        # Its Japanese and Chinese parts do not say whether they bear two threads.
        self._lock = threading.Lock()

    def parts(self, sentence: str, language: str) -> Iterator[tuple[int, ...]]:
        """Cuts a sentence into what the model reads at once.

        Args:
            sentence: Of any length.
            language: One of `LONGEST`.

        Yields:
            Tokens of each part; nothing for a sentence without a letter or a digit.

        Raises:
            VoiceNotInstalledError: A package for the language is not here.
        """
        for package in EXTRAS.get(language, ()):
            if importlib.util.find_spec(package) is None:
                raise VoiceNotInstalledError(
                    f"xtts_v2 speaks {language} only where the package {package} is installed"
                )
        for part in split(sentence, LONGEST[language]):
            if any(character.isalnum() for character in part):
                yield from self._encode(part, language)

    def _encode(self, part: str, language: str) -> Iterator[tuple[int, ...]]:
        if language == "hi":
            # What writes numbers out for upstream knows no Hindi, and fails on European digits.
            part = part.translate(_DEVANAGARI)
        with self._lock:
            tokens = tuple(self._upstream.encode(part.strip().lower(), lang=language))
        if len(tokens) < self._most:
            yield tokens
            return
        # Written out, numbers and symbols can take far more room than they look.
        halves = split(part, (len(part) + 1) // 2)
        if len(halves) == 1:
            raise InternalError("a word is longer than the model can read")
        for half in halves:
            yield from self._encode(half, language)


def _import_tokenizer() -> Any:
    """The module `TTS.tts.layers.xtts.tokenizer`, without the packages around it.

    Those import torchaudio, scipy, transformers and more, of which reading text needs nothing.
    """
    name = f"{_PACKAGES[3]}.tokenizer"
    if name in sys.modules:
        return sys.modules[name]
    root = _root()
    before = {key: sys.modules.pop(key) for key in list(sys.modules) if _ours(key)}
    try:
        for package in _PACKAGES:
            hollow: Any = types.ModuleType(package)
            hollow.__path__ = [str(root.joinpath(*package.split(".")[1:]))]
            sys.modules[package] = hollow
        return importlib.import_module(name)
    finally:
        for key in [key for key in sys.modules if _ours(key)]:
            del sys.modules[key]
        sys.modules.update(before)


def _root() -> Path:
    # Asking for the spec of a package at the top imports nothing.
    spec = importlib.util.find_spec("TTS")
    if spec is None or not spec.submodule_search_locations:
        raise InternalError("coqui-tts, whose tokenizer is needed, is not installed")
    return Path(spec.submodule_search_locations[0])


def _ours(name: str) -> bool:
    return name == "TTS" or name.startswith("TTS.")
