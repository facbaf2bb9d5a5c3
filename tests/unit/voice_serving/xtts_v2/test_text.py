"""Seventeen languages, read by upstream's own cleaners."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from voice_serving.engines.xtts_v2.languages import LONGEST
from voice_serving.engines.xtts_v2.text import Tokenizer
from voice_serving.errors import InternalError, VoiceNotInstalledError

if TYPE_CHECKING:
    from pathlib import Path

MOST = 402
HELLO = {
    "ar": "مرحبا، عندي 3 كتب.",
    "cs": "Dobrý den, mám 3 knihy.",
    "de": "Guten Tag, ich habe 3 Bücher.",
    "en": "Hello, Dr. Who has $3.",
    "es": "Hola, tengo 3 libros.",
    "fr": "Bonjour, j'ai 3 livres.",
    "hi": "नमस्ते, मेरे पास 3 किताबें हैं।",
    "hu": "Jó napot, 3 könyvem van.",
    "it": "Ciao, ho 3 libri.",
    "ja": "こんにちは、本が3冊あります。",
    "ko": "안녕하세요, 책이 3권 있습니다.",
    "nl": "Hallo, ik heb 3 boeken.",
    "pl": "Dzień dobry, mam 3 książki.",
    "pt": "Olá, tenho 3 livros.",
    "ru": "Привет, у меня 3 книги.",
    "tr": "Merhaba, 3 kitabım var.",
    "zh": "你好，我有3本书。",
}


@pytest.fixture(scope="module")
def tokenizer(tiny_xtts: Path) -> Tokenizer:
    return Tokenizer(tiny_xtts / "vocab.json", MOST)


def test_all_seventeen_are_here():
    assert set(HELLO) == set(LONGEST)


@pytest.mark.parametrize("language", sorted(LONGEST))
def test_every_language_is_read_as_upstream_reads_it(tokenizer, tiny_xtts, language):
    from upstream_coqui import import_xtts

    upstream = import_xtts().VoiceBpeTokenizer(vocab_file=str(tiny_xtts / "vocab.json"))
    (tokens,) = tokenizer.parts(HELLO[language], language)
    text = HELLO[language].lower()
    if language == "hi":
        # Upstream fails on it: num2words knows no Hindi.
        text = text.replace("3", "३")
    assert list(tokens) == upstream.encode(text, lang=language)
    assert upstream.char_limits == LONGEST


@pytest.mark.parametrize("text", ["🙂", "...", "—", "\u200b", "[[en]]!"[:2]])
def test_nothing_to_pronounce_is_nothing(tokenizer, text):
    assert list(tokenizer.parts(text, "en")) == []


def test_a_long_text_is_cut_at_the_limit(tokenizer):
    assert len(list(tokenizer.parts("Once upon a time. " * 50, "en"))) == 4
    assert len(list(tokenizer.parts("再见朋友。" * 40, "zh"))) == 3


def test_what_takes_more_tokens_than_it_looks_is_cut_again(tiny_xtts):
    tight = Tokenizer(tiny_xtts / "vocab.json", 40)
    parts = list(tight.parts("9999999 and 8888888 and 7777777 and a word more", "en"))
    assert len(parts) > 1
    assert all(len(part) < 40 for part in parts)


def test_a_word_that_cannot_be_cut_is_no_endless_loop(tiny_xtts):
    with pytest.raises(InternalError):
        list(Tokenizer(tiny_xtts / "vocab.json", 2).parts("a", "en"))


@pytest.mark.parametrize(("language", "package"), [("ja", "cutlet"), ("zh", "pypinyin")])
def test_a_language_whose_package_is_missing_says_which(tokenizer, monkeypatch, language, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    with pytest.raises(VoiceNotInstalledError, match=package):
        list(tokenizer.parts(HELLO[language], language))
    assert list(tokenizer.parts("Hello.", "en"))
