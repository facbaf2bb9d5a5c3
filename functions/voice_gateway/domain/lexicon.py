"""A personality's own pronunciations, put into what is spoken."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.language import primary, within

if TYPE_CHECKING:
    from collections.abc import Mapping

_WITHOUT_SPACES: Final = frozenset({"cmn", "ja", "km", "lo", "my", "th", "yue", "zh"})
"""Languages that do not tell where a word ends."""


def as_said(sentence: str, lexicon: Mapping[str, Mapping[str, str]], language: str) -> str:
    """Writes each word that the lexicon knows as it is to be said.

    Whole words only, in the case in which they stand there or with a capital at their beginning;
    the longest that fits, each once: what is put in is not looked up again.

    Args:
        sentence: What the customer wrote.
        lexicon: Language tag → word → how to say it; a region's words win over the language's.
        language: The sentence's BCP 47 tag.

    Returns:
        What to speak. A lexicon that changes it changes the key of its audio with it.
    """
    fitting = sorted((tag for tag in lexicon if within(language, tag)), key=len)
    words = {
        unicodedata.normalize("NFC", word): said
        for tag in fitting
        for word, said in lexicon[tag].items()
    }
    if not words:
        return sentence
    capitalised = {word[:1].upper() + word[1:]: said for word, said in words.items()}
    forms = capitalised | words
    either = "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
    if primary(language) not in _WITHOUT_SPACES:
        either = rf"(?<!\w)(?:{either})(?!\w)"
    return re.sub(either, lambda found: forms[found[0]], unicodedata.normalize("NFC", sentence))
