from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HOP = 128
SYMBOLS = "_^$ ,.?ˈˌːabhkloʊɪ"
IDS = {symbol: [index] for index, symbol in enumerate(SYMBOLS)}
Script = Callable[[str], ModuleType]


def timed(
    script: Script, phonemes: str, events: list[tuple[int, str]], samples: int
) -> list[tuple[str, int]]:
    """Align, and pair the symbols that last any time with their frames."""
    found = script("alignment").align(list(phonemes), events, samples, hop=HOP, id_map=IDS)
    names = {ids[0]: symbol for symbol, ids in IDS.items()}
    return [
        (names[i], n) for i, n in zip(found.ids, found.frames, strict=True) if n or i == IDS["$"][0]
    ]


def test_every_sound_lasts_from_its_event_to_the_next(script: Script) -> None:
    events = [(2 * HOP, "h"), (5 * HOP, "a"), (9 * HOP, "")]
    assert timed(script, "ha.", events, 12 * HOP) == [
        ("^", 2),
        ("h", 3),
        ("a", 4),
        (".", 3),
        ("$", 0),
    ]


def test_a_diphthong_shares_its_time_and_a_stress_mark_takes_none(script: Script) -> None:
    found = timed(script, "ˈoʊ", [(0, "ˈoʊ")], 10 * HOP)
    assert found == [("o", 5), ("ʊ", 5), ("$", 0)]


def test_a_pause_belongs_to_the_comma_and_not_to_the_space(script: Script) -> None:
    events = [(0, "a"), (4 * HOP, ""), (9 * HOP, "h")]
    assert timed(script, "a, h", events, 12 * HOP) == [("a", 4), (",", 5), ("h", 3), ("$", 0)]


def test_a_pause_inside_a_word_lengthens_the_sound_before_it(script: Script) -> None:
    events = [(0, "a"), (4 * HOP, ""), (6 * HOP, "h")]
    assert timed(script, "ah", events, 8 * HOP) == [("a", 6), ("h", 2), ("$", 0)]


def test_the_teachers_own_stress_is_not_compared(script: Script) -> None:
    # "And you?": espeak-ng writes no stress and speaks one.
    found = script("alignment").align(
        ["k", "a"], [(0, "k"), (HOP, "ˈa")], 3 * HOP, hop=HOP, id_map=IDS
    )
    assert found is not None
    assert sum(found.frames) == 3


@pytest.mark.parametrize(
    ("phonemes", "events"),
    [
        ("ha", [(0, "h")]),
        ("h", [(0, "h"), (HOP, "a")]),
        ("ha", [(0, "h"), (HOP, "o")]),
        ("hx", [(0, "h"), (HOP, "x")]),
    ],
    ids=["a sound is missing", "a sound too many", "another sound", "an unknown symbol"],
)
def test_gives_nothing_rather_than_a_wrong_alignment(
    script: Script, phonemes: str, events: list[tuple[int, str]]
) -> None:
    aligned = script("alignment").align(list(phonemes), events, 4 * HOP, hop=HOP, id_map=IDS)
    assert aligned is None


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    words=st.lists(
        st.lists(
            st.tuples(st.sampled_from(["h", "a", "ˈoʊ", "k", "ɪ"]), st.integers(1, 3000)),
            min_size=1,
        ),
        min_size=1,
        max_size=6,
    ),
    pause=st.integers(0, 4000),
)
def test_ids_and_frames_always_fit_the_audio(
    script: Script, words: list[list[tuple[str, int]]], pause: int
) -> None:
    events, phonemes, now = [], "", 0
    for word in words:
        for name, samples in word:
            events.append((now, name))
            now += samples
            phonemes += name
        phonemes += ", "
        events.append((now, ""))
        now += pause
    total = -(-now // HOP) * HOP
    found = script("alignment").align(list(phonemes.rstrip()), events, total, hop=HOP, id_map=IDS)
    assert sum(found.frames) * HOP == total
    assert min(found.frames) >= 0
    assert len(found.ids) == len(found.frames) == 2 * (len(phonemes.rstrip()) + 2) - 1
    assert found.ids[1::2] == [IDS["_"][0]] * (len(found.ids) // 2)
