"""Piper over voices of a few kilobytes that sing tones."""

from __future__ import annotations

import itertools
import shutil
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fakes.tiny_piper import BASE_HZ, HZ_PER_ID, SPEAKER_RATIO, build_voice, samples_of
from voice_serving.engine import AudioChunk, SynthesisInput
from voice_serving.errors import (
    CancelledError,
    InternalError,
    VoiceNotInstalledError,
)

if TYPE_CHECKING:
    from voice_serving.engines.piper import PiperEngine

FIRST_ID = 1
"""Of the symbol that begins every sentence."""


def speak(engine: PiperEngine, *sentences: str, **fields: Any) -> list[AudioChunk]:
    request = SynthesisInput(
        **{"sentences": sentences, "language": "en", "noise_scale": 0.0, **fields}
    )
    return list(engine.synthesize(request, lambda: False))


def first_tone(chunk: AudioChunk) -> float:
    """Frequency in Hz of the chunk's first phoneme."""
    tone = chunk.samples[: samples_of(1)]
    rising = np.flatnonzero((tone[:-1] <= 0) & (tone[1:] > 0))
    return float(chunk.sample_rate * (len(rising) - 1) / (rising[-1] - rising[0]))


def test_one_chunk_a_sentence_in_order(engine):
    chunks = speak(engine, "Hello there.", "Good morning!", "Why?")
    assert [(c.sentence, c.last) for c in chunks] == [(0, True), (1, True), (2, True)]
    assert all(c.samples.dtype == np.float32 and c.samples.ndim == 1 for c in chunks)
    assert all(0 < np.abs(c.samples).max() <= 1 for c in chunks)
    assert len(chunks[2].samples) < len(chunks[0].samples)


def test_two_sentences_in_one_leave_as_two_chunks(engine):
    chunks = speak(engine, "One. Two.", "Three.")
    assert [(c.sentence, c.last) for c in chunks] == [(0, False), (0, True), (1, True)]


def test_the_same_words_give_the_same_samples(engine):
    first, second = speak(engine, "Hello.", "Hello.")
    assert np.array_equal(first.samples, second.samples)


def test_noise_makes_a_difference_when_it_is_asked_for(engine):
    first, second = speak(engine, "Hello.", "Hello.", noise_scale=1.0)
    assert not np.array_equal(first.samples, second.samples)


@pytest.mark.parametrize("text", ["Åsa café naïve", "你好 hello", "🙂 hi", "[[hello]]", "a\0b"])
def test_speaks_any_text(engine, text):
    chunks = speak(engine, text, "End.")
    assert chunks[-1].sentence == 1
    assert sum(len(c.samples) for c in chunks if c.sentence == 0) > 0


def test_double_brackets_are_text_not_phonemes(engine):
    """Piper would take them for raw phonemes and speak `[[h]]` as one sound."""
    bracketed, plain = speak(engine, "[[h]]", "h")
    assert len(bracketed.samples) >= len(plain.samples)


def test_what_cannot_be_pronounced_is_an_empty_last_chunk(engine):
    chunks = speak(engine, "\u200b \u200b", "End.")
    assert [(c.sentence, c.last, len(c.samples) > 0) for c in chunks][-1] == (1, True, True)
    assert sum(c.last for c in chunks) == 2


@pytest.mark.parametrize(("speed", "ratio"), [(2.0, 0.5), (0.5, 2.0), (1.0, 1.0)])
def test_speed_shortens_every_phoneme(engine, speed, ratio):
    (usual,) = speak(engine, "Hello there.")
    (changed,) = speak(engine, "Hello there.", speed=speed)
    assert len(changed.samples) == ratio * len(usual.samples)


def test_length_scale_replaces_the_voices_own_and_speed_divides_it(engine):
    (usual,) = speak(engine, "Hello.")
    (longer,) = speak(engine, "Hello.", length_scale=3.0)
    (neither,) = speak(engine, "Hello.", length_scale=3.0, speed=3.0)
    assert len(longer.samples) == 3 * len(usual.samples)
    assert len(neither.samples) == len(usual.samples)


@pytest.mark.parametrize(("speaker", "number"), [(None, 0), ("marcel", 0), ("shante", 1), ("1", 1)])
def test_speaker_by_name_or_number(engine, speaker, number):
    (chunk,) = speak(engine, "Hello.", speaker=speaker)
    expected = (BASE_HZ + HZ_PER_ID * FIRST_ID) * (1 + SPEAKER_RATIO * number)
    assert first_tone(chunk) == pytest.approx(expected, rel=0.02)
    assert chunk.voice == ("house/shante" if number else "house/marcel")


def test_who_spoke_can_be_asked_for_as_it_was_told(engine):
    (chunk,) = speak(engine, "Hello.", voice="house/shante")
    assert chunk.voice == "house/shante"


@pytest.mark.parametrize("speaker", ["bob", "2", "-1", "²", ""])
def test_an_unknown_speaker_names_those_there_are(engine, speaker):
    with pytest.raises(VoiceNotInstalledError, match="no such speaker, it has marcel, shante"):
        speak(engine, "Hello.", speaker=speaker)


def test_a_voice_with_one_speaker_has_no_other(engine):
    (chunk,) = speak(engine, "Hello.", voice="zebra", speaker="0")
    assert chunk.voice == "zebra"
    with pytest.raises(VoiceNotInstalledError, match="one speaker"):
        speak(engine, "Hello.", voice="zebra", speaker="1")


@pytest.mark.parametrize(
    ("language", "voice"),
    [
        ("en", "house/marcel"),
        ("EN", "house/marcel"),
        ("en-us", "house/marcel"),
        ("en-AU", "house/marcel"),
        ("en_GB", "london"),
        ("fr", "paris"),
        ("fr-CA", "paris"),
    ],
)
def test_chooses_the_voice_by_language(engine, language, voice):
    assert speak(engine, "Hello.", language=language)[0].voice == voice


def test_a_voice_by_name_brings_its_own_rate(engine):
    (chunk,) = speak(engine, "Hello.", voice="zebra")
    assert (chunk.voice, chunk.sample_rate) == ("zebra", 22050)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"language": "ja"}, "no installed voice speaks the language"),
        ({"voice": "house", "language": "fr"}, "house speaks en"),
        ({"voice": "nobody"}, "no voice of that name is known"),
        ({"voice": "../../etc/passwd"}, "no voice of that name is known"),
        ({"voice": "rome", "language": "it"}, "piper --voice rome"),
    ],
)
def test_nobody_here_can_speak_it(engine, fields, sentence):
    with pytest.raises(VoiceNotInstalledError, match=sentence):
        speak(engine, "Hello.", **fields)


def test_a_voice_that_was_downloaded_meanwhile_is_found(make_engine, tmp_path):
    engine = make_engine(voices_dir=str(tmp_path))
    with pytest.raises(VoiceNotInstalledError):
        speak(engine, "Ciao.", language="it")
    build_voice(tmp_path / "rome.onnx", espeak_voice="it")
    assert speak(engine, "Ciao.", language="it")[0].voice == "rome"


def test_shipped_voices_win_over_downloaded_ones_of_the_same_name(make_engine, tmp_path):
    build_voice(tmp_path / "zebra.onnx", sample_rate=8000)
    engine = make_engine(voices_dir=str(tmp_path))
    assert speak(engine, "Hello.", voice="zebra")[0].sample_rate == 22050


def test_a_model_without_its_json_is_no_voice(make_engine, tmp_path):
    build_voice(tmp_path / "half.onnx", espeak_voice="it")
    (tmp_path / "half.onnx.json").unlink()
    engine = make_engine(voices_dir=str(tmp_path))
    assert "half" not in [voice.name for voice in engine.voices]


def test_no_voice_at_all_is_no_engine(make_engine, tmp_path):
    (tmp_path / "1").mkdir()
    with pytest.raises(InternalError, match="no voice lies in"):
        make_engine(tmp_path / "1")


def test_warm_up_speaks_the_default_voice(engine):
    assert engine.voices[0].name == "house"
    engine.warm_up()


def test_keeps_as_many_voices_in_memory_as_allowed(make_engine):
    engine = make_engine(max_loaded_voices="2")
    library = engine._library
    names = ["house", "zebra", "house", "paris", "house", "london"]
    by_name = {voice.name: voice for voice in engine.voices}
    loaded = [library.load(by_name[name]) for name in names]
    assert loaded[0] is loaded[2] is loaded[4], "the last used one must stay"
    assert list(library._loaded) == ["house", "london"]


def test_a_voice_is_read_once_however_many_ask(make_engine, repository):
    engine = make_engine()
    voice = engine.voices[0]
    barrier = threading.Barrier(6)
    seen = []

    def ask() -> None:
        barrier.wait()
        seen.append(engine._library.load(voice))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in seen}) == 1


def test_stops_between_sentences_when_nobody_listens(engine):
    answers = itertools.chain([False], itertools.repeat(True))
    request = SynthesisInput(sentences=("One.", "Two.", "Three."), language="en")
    chunks = engine.synthesize(request, lambda: next(answers))
    assert next(chunks).sentence == 0
    with pytest.raises(CancelledError):
        next(chunks)


def test_nothing_is_loaded_for_a_caller_who_has_gone(engine):
    request = SynthesisInput(sentences=("One.",), language="en")
    with pytest.raises(CancelledError):
        next(engine.synthesize(request, lambda: True))


def test_broken_audio_is_left_for_the_model_to_see(engine):
    (chunk,) = speak(engine, "Hallo.", language="de")
    assert np.isnan(chunk.samples).any()


@pytest.mark.parametrize(("instances", "threads"), [("1", "1"), ("2", "1"), ("2", "2")])
def test_many_callers_at_once_hear_what_one_hears(make_engine, instances, threads):
    engine = make_engine(instances=instances, threads=threads)
    texts = [f"Number {number} of the callers." for number in range(8)]
    alone = [speak(engine, text)[0].samples for text in texts]
    together: dict[int, np.ndarray[Any, Any]] = {}

    def call(number: int) -> None:
        together[number] = speak(engine, texts[number])[0].samples

    callers = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all(np.array_equal(together[n], alone[n]) for n in range(8))


def test_each_pass_with_own_threads_has_its_own_session(make_engine):
    by_settings = {
        (instances, threads): make_engine(instances=instances, threads=threads)
        for instances, threads in [("3", "1"), ("3", "2")]
    }
    counts = {
        key: len(engine._library.load(engine.voices[0]).sessions)
        for key, engine in by_settings.items()
    }
    assert counts == {("3", "1"): 1, ("3", "2"): 3}


def test_the_text_reaches_no_log(engine, caplog):
    caplog.set_level("DEBUG")
    speak(engine, "A secret sentence, 你好.")
    assert "secret" not in caplog.text
    assert "你" not in caplog.text


def test_a_voice_may_be_deleted_while_it_speaks(make_engine, tmp_path):
    build_voice(tmp_path / "rome.onnx", espeak_voice="it")
    engine = make_engine(voices_dir=str(tmp_path))
    request = SynthesisInput(sentences=("Uno.", "Due."), language="it")
    chunks = engine.synthesize(request, lambda: False)
    next(chunks)
    shutil.rmtree(tmp_path)
    engine.close()
    assert next(chunks).sentence == 1
