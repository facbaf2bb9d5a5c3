"""The words that the sentence generator draws from, read out of ``vocabulary.txt``."""

import functools
from pathlib import Path

__all__ = ["words"]

_FILE = Path(__file__).with_name("vocabulary.txt")


def words(section: str) -> list[str]:
    """Give one list of words or phrases.

    Args:
        section: Its name in ``vocabulary.txt``, without the brackets.

    Returns:
        The entries in the order of the file. A dash there is an empty word here.
    """
    return _sections()[section]


@functools.cache
def _sections() -> dict[str, list[str]]:
    _, *parts = _FILE.read_text(encoding="utf-8").split("\n[")
    sections = {}
    for part in parts:
        name, text = part.split("]\n", 1)
        entries = text.replace("\n", " ").split("|" if "|" in text else None)
        sections[name] = ["" if entry.strip() == "-" else entry.strip() for entry in entries]
    return sections
