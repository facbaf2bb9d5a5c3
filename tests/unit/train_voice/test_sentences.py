import itertools
from collections.abc import Callable
from types import ModuleType

Script = Callable[[str], ModuleType]


def lines(script: Script, count: int, **options: int) -> list[str]:
    return list(itertools.islice(script("sentences").Sentences(**options), count))


def test_one_seed_gives_one_stream(script: Script) -> None:
    assert lines(script, 200, seed=3) == lines(script, 200, seed=3)
    assert lines(script, 200, seed=3) != lines(script, 200, seed=4)


def test_the_shipped_voice_learnt_from_these_very_lines(script: Script) -> None:
    # A change here is a change of the lessons: train the voice again, then renew these.
    assert lines(script, 3) == [
        "Nothing business simply share had want camera word small!",
        "Woman!",
        "Wow!",
    ]


def test_lines_cover_letters_digits_and_punctuation(script: Script) -> None:
    text = "".join(lines(script, 3000)).lower()
    missing = set("abcdefghijklmnopqrstuvwxyz0123456789.,?!;:'$") - set(text)
    assert not missing


def test_every_line_has_something_to_say(script: Script) -> None:
    assert all(any(c.isalnum() for c in line) for line in lines(script, 3000))


def test_held_out_lines_are_new_distinct_and_no_single_words(script: Script) -> None:
    taught = set(lines(script, 2000))
    kept = script("sentences").held_out(200, taught)
    assert len(set(kept)) == 200
    assert not taught & set(kept)
    assert all(len(line.split()) >= 3 for line in kept)


def test_the_vocabulary_has_no_stray_blanks(script: Script) -> None:
    words = script("vocabulary").words
    assert words("places")[0] == "in the shop"
    assert "" in words("onsets")
    assert all(word == word.strip() for word in words("strains") + words("common"))
