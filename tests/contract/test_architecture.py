"""The laws of the house that a machine can keep."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
FUNCTIONS: Final = ROOT / "functions"
SERVING: Final = ROOT / "triton" / "src"
PACKAGES: Final = {"voice_gateway": FUNCTIONS, "voice_serving": SERVING}

# What each room of voice_gateway may see of the others. A room that is not here may see no other.
MAY_SEE: Final = {
    "domain": {"domain"},
    "ports": {"domain"},
    "services": {"domain", "ports", "services"},
    "adapters": {"domain", "ports", "adapters"},
    "providers": {"domain", "ports", "providers"},
    "http_errors": {"domain"},
    "api_models": {"domain", "services"},  # it maps to the services' commands
    "sample_models": {"domain", "services"},
    "settings": {"domain"},
    "observability": {"domain", "ports"},
    "handlers": {
        "api_models",
        "bootstrap",
        "domain",
        "handlers",
        "http_errors",
        "observability",
        "ports",
        "sample_models",
        "services",
        "settings",
    },
    "bootstrap": {
        "adapters",
        "domain",
        "observability",
        "ports",
        "providers",
        "services",
        "settings",
    },
    "seed": {"adapters", "domain", "ports", "services"},
}
PURE: Final = {"numpy", "pydantic", "sentencex"}
MODELS_ENGINES: Final = {"onnx", "onnxruntime", "piper", "torch", "transformers", "voice_serving"}
HEAVY: Final = {
    "azure",
    "boto3",
    "botocore.client",  # powertools takes the empty top of botocore, nothing below
    "botocore.session",
    "cryptography",
    "google",
    "ibm_cloud_sdk_core",
    "ibm_watson",
    "jwt",
    "onnx",
    "onnxruntime",
    "piper",
    "python_stretch",
    "redis",
    "torch",
    "transformers",
    "tritonclient",
}
NETWORK: Final = "network"
"""An engine's room of this name is imported inside `load`, and made of these."""
NETWORKS: Final = {
    "google",  # protobuf, which onnx writes its graphs in
    "onnx",
    "onnxruntime",
    "torch",
    "transformers",
}
FOLDERS_NOT_PACKAGES: Final = ("functions", "model_repository", "scripts", "tests", "triton")


def _modules(package: str) -> Iterator[tuple[str, Path]]:
    base = PACKAGES[package]
    for path in sorted((base / package).rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _imports(name: str, path: Path) -> Iterator[str]:
    """Everything that a module imports anywhere, functions and type checking included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name if path.name == "__init__.py" else name.rpartition(".")[0]
                base = importlib.util.resolve_name("." * node.level + base, package)
            yield base
            # `from voice_gateway import bootstrap` names the module behind the import.
            if base in PACKAGES:
                yield from (f"{base}.{alias.name}" for alias in node.names)


GATEWAY: Final = dict(_modules("voice_gateway"))
ALL: Final = {**GATEWAY, **dict(_modules("voice_serving"))}


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


class TestDirection:
    @pytest.mark.parametrize("module", [name for name in GATEWAY if "." in name])
    def test_each_room_sees_only_what_it_may(self, module: str) -> None:
        seen = {
            _room(imported)
            for imported in _imports(module, GATEWAY[module])
            if imported.startswith("voice_gateway.")
        }
        assert seen <= MAY_SEE.get(_room(module), set()), f"{module} sees too much"

    @pytest.mark.parametrize(
        "module", [name for name in GATEWAY if _room(name) in ("domain", "services", "ports")]
    )
    def test_the_inside_is_pure(self, module: str) -> None:
        imported = {name.split(".")[0] for name in _imports(module, GATEWAY[module])}
        assert imported <= sys.stdlib_module_names | PURE | {"voice_gateway"}

    @pytest.mark.parametrize("module", GATEWAY)
    def test_functions_know_no_engine(self, module: str) -> None:
        imported = {name.split(".")[0] for name in _imports(module, GATEWAY[module])}
        assert not imported & MODELS_ENGINES

    @pytest.mark.parametrize("module", GATEWAY)
    def test_the_tensor_client_stays_in_its_provider(self, module: str) -> None:
        imported = {name.split(".")[0] for name in _imports(module, GATEWAY[module])}
        assert "tritonclient" not in imported or _room(module) == "providers"

    @pytest.mark.parametrize(
        "path",
        sorted([*(ROOT / "triton").rglob("*.py"), *(ROOT / "model_repository").rglob("*.py")]),
        ids=lambda path: str(path.relative_to(ROOT)),
    )
    def test_the_serving_side_knows_no_gateway(self, path: Path) -> None:
        imported = {name.split(".")[0] for name in _imports("x.y", path)}
        assert "voice_gateway" not in imported

    def test_the_test_itself_sees_imports(self, tmp_path: Path) -> None:
        source = tmp_path / "speech.py"
        source.write_text(
            "from voice_gateway import bootstrap\n"
            "from .. import settings\n"
            "from .rest import serve\n"
            "def later():\n    import torch.nn\n"
        )
        assert set(_imports("voice_gateway.handlers.speech", source)) == {
            "voice_gateway",
            "voice_gateway.bootstrap",
            "voice_gateway.settings",
            "voice_gateway.handlers.rest",
            "torch.nn",
        }


# Runs in its own interpreter, without an environment. Opening a socket there is an error.
_IMPORT_ONE: Final = """
import sys

def no_sockets(event, args):
    if event.startswith("socket."):
        raise RuntimeError(f"{event} at import")

sys.path[:0] = sys.argv[2:]
sys.addaudithook(no_sockets)
__import__(sys.argv[1])
import json
print(json.dumps(sorted(sys.modules)))
"""


class TestNothingAtImport:
    @pytest.mark.parametrize("module", ALL)
    def test_imports_without_environment_network_or_weight(
        self, module: str, tmp_path: Path
    ) -> None:
        done = subprocess.run(
            [sys.executable, "-P", "-W", "error", "-c", _IMPORT_ONE, module]
            + [str(path) for path in PACKAGES.values()],
            env={},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        loaded = set(json.loads(done.stdout.splitlines()[-1]))
        allowed = NETWORKS if NETWORK in module.split(".") else set()
        assert loaded & HEAVY <= allowed
        assert list(tmp_path.iterdir()) == []


class TestNames:
    def test_the_name_triton_is_free(self) -> None:
        # torch takes any findable `triton` for NVIDIA's, our folder included.
        spec = importlib.util.find_spec("triton")
        assert spec is None or spec.origin is not None

    @pytest.mark.parametrize("folder", FOLDERS_NOT_PACKAGES)
    def test_a_folder_is_no_package(self, folder: str) -> None:
        assert not (ROOT / folder / "__init__.py").exists()

    def test_tests_are_no_packages(self) -> None:
        inits = (ROOT / "tests").rglob("__init__.py")
        assert [path for path in inits if path.is_relative_to(ROOT / "tests")] == []

    def test_there_is_no_root_conftest(self) -> None:
        assert not (ROOT / "conftest.py").exists()
