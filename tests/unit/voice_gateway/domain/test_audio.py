from __future__ import annotations

import numpy as np
import pytest

from fakes.providers import tone
from voice_gateway.domain.audio import (
    AudioFormat,
    SentenceTrimmer,
    is_audible,
    is_sound,
    media_type,
    rates_of,
    silence,
    usual_rate,
)

RATE = 16_000


def trimmed(audio: np.ndarray, piece: int) -> np.ndarray:
    trimmer = SentenceTrimmer(RATE)
    out = [trimmer.push(audio[i : i + piece]) for i in range(0, audio.size, piece)]
    return np.concatenate([*out, trimmer.finish()])


@pytest.mark.parametrize("piece", [1, 7, 160, 4000, 100_000])
def test_cuts_both_ends_and_keeps_the_pause_inside(piece: int) -> None:
    speech = np.concatenate([tone(0.1), silence(0.2, RATE), tone(0.1)])
    audio = np.concatenate([silence(0.5, RATE), speech, silence(0.7, RATE)])
    out = trimmed(audio, piece)
    # A lead of 20 ms and a tail of 60 ms stay; the tone's own first and last samples are quiet.
    assert out.size == pytest.approx(speech.size + 0.08 * RATE, abs=4)
    start = int(np.flatnonzero(out)[0])
    assert np.array_equal(out[start : start + speech.size - 1], speech[1:])


def test_the_pieces_do_not_change_the_outcome() -> None:
    audio = np.concatenate([silence(0.3, RATE), tone(0.2), silence(0.3, RATE)])
    assert np.array_equal(trimmed(audio, 13), trimmed(audio, audio.size))


def test_silence_alone_gives_nothing() -> None:
    assert trimmed(silence(1, RATE), 1600).size == 0


def test_sound_without_silence_passes_untouched() -> None:
    audio = np.full(1600, 0.5, np.float32)
    assert np.array_equal(trimmed(audio, 160), audio)


def test_what_counts_as_audible_and_as_sound() -> None:
    assert is_audible(tone(0.01))
    assert not is_audible(np.zeros(0, np.float32))
    assert not is_audible(np.full(10, 0.003, np.float32))
    assert is_sound(tone(0.01))
    assert not is_sound(np.array([np.nan], np.float32))


def test_only_some_formats_bind_the_rate() -> None:
    assert rates_of(AudioFormat.WAV) is None
    assert 44_100 not in (rates_of(AudioFormat.OPUS) or ())


def test_mu_law_is_basic_audio_only_where_the_telephone_speaks_it() -> None:
    assert media_type(AudioFormat.WAV, 8000, 2) == "audio/wav"
    assert media_type(AudioFormat.MULAW, 8000, 1) == "audio/basic"
    assert media_type(AudioFormat.MULAW, 16_000, 2) == "audio/PCMU; rate=16000; channels=2"
    assert (usual_rate(AudioFormat.MULAW), usual_rate(AudioFormat.WAV)) == (8000, 24_000)
