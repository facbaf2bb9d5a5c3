from collections.abc import Callable
from types import ModuleType

import numpy as np
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

Script = Callable[[str], ModuleType]


def test_a_loud_vowel_is_voiced_whatever_the_tracker_says(script: Script) -> None:
    corpus = script("corpus")
    ids = np.array([DEFAULT_PHONEME_ID_MAP[symbol][0] for symbol in "sɑ."])
    frames = np.array([3, 4, 2])
    audio = np.full(9 * corpus.HOP, 0.1, np.float32)
    audio[-4 * corpus.HOP :] = 0
    found = corpus.sonorous(ids, frames, audio)
    assert found.tolist() == [False] * 3 + [True] * 2 + [False] * 4
