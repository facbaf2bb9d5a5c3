"""Every model of the repository keeps the one tensor contract, and the catalogue is whole."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from voice_serving.catalogue import read_catalogue
from voice_serving.model import SpeechModel
from voice_serving.tensors import CLONING, INPUTS, MORE_OUTPUTS, OUTPUTS, TO_SPEAK, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_serving.catalogue import Catalogue

REPOSITORY = Path(__file__).parents[2] / "model_repository"
MODELS = sorted(path.parent for path in REPOSITORY.glob("*/config.pbtxt"))


def config_of(model: Path) -> model_config_pb2.ModelConfig:
    text = (model / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def specs(tensors: Sequence[model_config_pb2.ModelInput]) -> set[TensorSpec]:
    return {
        TensorSpec(
            name=tensor.name,
            data_type=model_config_pb2.DataType.Name(tensor.data_type),
            dims=tuple(tensor.dims),
            optional=getattr(tensor, "optional", False),
        )
        for tensor in tensors
    }


def entry_of(model: Path) -> type[SpeechModel]:
    path = model / "1/model.py"
    spec = importlib.util.spec_from_file_location(f"{model.name}_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entry: type[SpeechModel] = module.TritonPythonModel
    return entry


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue(REPOSITORY / "piper/voices.json")


def test_there_are_models():
    assert "piper" in [model.name for model in MODELS]


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.name)
def test_configuration_declares_the_common_tensors(model):
    config = config_of(model)
    assert config.name == model.name
    assert config.backend == "python"


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.name)
def test_a_model_gives_what_all_give_and_what_its_engine_tells(model):
    told = entry_of(model).engine_class.tells
    assert told <= {spec.name for spec in MORE_OUTPUTS}
    wanted = {*OUTPUTS, *(spec for spec in MORE_OUTPUTS if spec.name in told)}
    assert specs(config_of(model).output) == wanted


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.name)
def test_a_model_takes_what_its_engine_honours_and_nothing_else(model):
    honoured = entry_of(model).engine_class.honours
    assert honoured <= {spec.name for spec in INPUTS} - TO_SPEAK
    wanted = {spec for spec in INPUTS if spec.name in honoured | TO_SPEAK}
    assert specs(config_of(model).input) == wanted
    assert not honoured & CLONING or honoured >= CLONING


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.name)
def test_models_stream_and_batch_inside(model):
    config = config_of(model)
    assert config.model_transaction_policy.decoupled
    assert config.max_batch_size == 0
    assert not config.HasField("response_cache"), "a decoupled model with it does not load"
    assert sum(group.count for group in config.instance_group) == 1


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.name)
def test_the_entry_point_only_names_its_engine(model):
    path = model / "1/model.py"
    entry = entry_of(model)
    assert issubclass(entry, SpeechModel)
    assert [name for name in vars(entry) if not name.startswith("_")] == ["engine_class"]
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 15


def test_fourteen_voices_in_ten_languages_or_more(catalogue):
    assert len(catalogue.voices) == 14
    assert len({voice.name for voice in catalogue.voices}) == 14
    assert len({voice.language.partition("-")[0] for voice in catalogue.voices}) >= 10


def test_the_shipped_voice_is_the_default_one(catalogue):
    assert [voice.name for voice in catalogue.voices if voice.shipped] == ["budtender"]
    assert [voice.name for voice in catalogue.voices if voice.default] == ["budtender"]
    assert catalogue.find("budtender").speakers == ("marcel", "shante")


def test_downloads_are_pinned_to_a_commit(catalogue):
    assert re.fullmatch(r"[0-9a-f]{40}", catalogue.revision)


def test_every_voice_says_who_it_is(catalogue):
    for voice in catalogue.voices:
        assert re.fullmatch(r"[a-z]{2}-[A-Z]{2}", voice.language), voice.name
        assert voice.gender in {"female", "male", None}, voice.name
        assert voice.sample_rate in {16000, 22050, 24000}, voice.name
        assert voice.display_name, voice.name
        assert voice.licence, voice.name
        assert voice.quality in {"x_low", "low", "medium", "high"}, voice.name


def test_every_download_is_verifiable(catalogue):
    for voice in catalogue.voices:
        if voice.shipped:
            continue
        model, config = voice.files
        region = voice.language.replace("-", "_")
        folder, name = model.path.rsplit("/", 1)
        assert name == f"{voice.name}.onnx"
        assert voice.name.startswith(f"{region}-")
        assert folder.startswith(f"{region[:2]}/{region}/")
        assert config.path == f"{model.path}.json"
        assert 50e6 < model.size_bytes < 200e6
        assert 1e3 < config.size_bytes < 50e3
        for file in (model, config):
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256), file.path
            assert file.md5 is None or re.fullmatch(r"[0-9a-f]{32}", file.md5), file.path


def test_no_digest_appears_twice(catalogue):
    digests = [file.sha256 for voice in catalogue.voices for file in voice.files]
    assert len(digests) == len(set(digests)) == 2 * 13
