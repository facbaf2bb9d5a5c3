"""Settings from config.pbtxt and the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from voice_serving.engines.piper.settings import PiperSettings, Profile
from voice_serving.params import ParameterError, Parameters


def parameters(environment: dict[str, str] | None = None, **configured: str) -> Parameters:
    return Parameters("piper", configured, environment or {})


def test_reads_tritons_model_configuration():
    config = {"name": "piper", "parameters": {"max_pending": {"string_value": "7"}}}
    assert Parameters.from_model_config("piper", config, {}).integer("max_pending", 1) == 7
    assert Parameters.from_model_config("piper", {}, {}).integer("max_pending", 1) == 1


def test_the_environment_wins_unless_it_is_empty():
    assert parameters({"PIPER_THREADS": "3"}, threads="2").integer("threads", 1) == 3
    assert parameters({"PIPER_THREADS": " "}, threads="2").integer("threads", 1) == 2


@pytest.mark.parametrize("text", ["two", "0", "-1", "1.5"])
def test_a_number_that_is_none_names_the_setting_and_its_variable(text):
    with pytest.raises(ParameterError, match=r"threads \(PIPER_THREADS\) must be"):
        parameters(threads=text).integer("threads", 1)


def test_a_choice_knows_its_options():
    assert parameters(profile="Throughput").choice("profile", Profile.LATENCY) == "throughput"
    with pytest.raises(ParameterError, match="latency, throughput"):
        parameters(profile="fast").choice("profile", Profile.LATENCY)


def test_paths_expand_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert parameters(voices_dir="~/voices").path("voices_dir") == Path("/home/someone/voices")
    assert parameters().path("voices_dir") is None


@pytest.mark.parametrize(
    ("cores", "profile", "expected"),
    [
        (1, "latency", (1, 1)),
        (2, "latency", (2, 1)),
        (4, "latency", (2, 2)),
        (8, "latency", (2, 4)),
        (16, "latency", (4, 4)),
        (1, "throughput", (1, 1)),
        (2, "throughput", (2, 1)),
        (16, "throughput", (16, 1)),
    ],
)
def test_profiles_spend_the_cores_there_are(monkeypatch, cores, profile, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    settings = PiperSettings.from_parameters(parameters(profile=profile))
    assert (settings.instances, settings.threads) == expected
    assert settings.streams == 32
    alone = min(cores, 4) if profile == "latency" else 1
    assert settings.lone_threads == alone


def test_every_setting_can_be_set_alone(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    settings = PiperSettings.from_parameters(parameters(instances="3", streams="5"))
    assert (settings.instances, settings.threads, settings.streams) == (3, 1, 5)
