"""How tritonserver is started, without starting it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tritonserver import Installation, InstallError, Ports, Server

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    installation = Installation(root=tmp_path / "triton", environment=tmp_path / "python")
    stub = installation.root / f"pytriton/tritonserver/python_backend_stubs/{VERSION}"
    stub.mkdir(parents=True)
    (stub / "triton_python_backend_stub").write_text("stub")
    installation.python_backend.mkdir(parents=True)
    (installation.python_backend / "libtriton_python.so").write_text("backend")
    return installation


@pytest.fixture
def make_server(installation: Installation, tmp_path: Path) -> Callable[..., Server]:
    def make(**fields: object) -> Server:
        defaults = {
            "installation": installation,
            "repository": tmp_path / "repository",
            "source": tmp_path / "source",
            "run_dir": tmp_path / "run",
            "models": ("piper",),
        }
        return Server(**{**defaults, **fields})

    return make


def test_listens_on_this_machine_only(make_server):
    command = make_server(ports=Ports(http=1, grpc=2, metrics=3)).command()
    assert [part for part in command if "address" in part or "-port" in part] == [
        "--http-address=127.0.0.1",
        "--http-port=1",
        "--grpc-address=127.0.0.1",
        "--grpc-port=2",
        "--metrics-address=127.0.0.1",
        "--metrics-port=3",
    ]


def test_the_usual_ports():
    assert (Ports().http, Ports().grpc, Ports().metrics) == (8700, 8701, 8702)


def test_loads_the_named_models_and_no_others(make_server):
    command = make_server(models=("piper", "xtts_v2")).command()
    assert "--model-control-mode=explicit" in command
    assert [part for part in command if part.startswith("--load-model")] == [
        "--load-model=piper",
        "--load-model=xtts_v2",
    ]


def test_the_stub_finds_its_own_environment_first(make_server, installation):
    environment = make_server().environment({"PATH": "/bin", "LD_LIBRARY_PATH": "/old"})
    assert environment["PATH"].split(os.pathsep)[0] == str(installation.environment / "bin")
    libraries = environment["LD_LIBRARY_PATH"].split(os.pathsep)
    assert libraries[0] == str(installation.libraries)
    assert libraries[-1] == "/old"


def test_variables_reach_the_models(make_server):
    server = make_server(variables={"PIPER_PROFILE": "throughput"})
    environment = server.environment({"PIPER_PROFILE": "latency", "HOME": "/home"})
    assert environment["PIPER_PROFILE"] == "throughput"
    assert environment["HOME"] == "/home"


def test_composes_the_backend_with_the_stub_of_this_python(make_server, tmp_path):
    server = make_server()
    server.prepare()
    server.prepare()
    folder = tmp_path / "run/backends/python"
    assert {path.name for path in folder.iterdir()} == {
        "libtriton_python.so",
        "triton_python_backend_stub",
        "voice_serving",
    }
    assert (folder / "voice_serving").readlink() == tmp_path / "source/voice_serving"
    assert f"--backend-directory={tmp_path / 'run/backends'}" in server.command()


def test_clears_the_shared_memory_of_a_killed_predecessor(make_server):
    server = make_server(ports=Ports(grpc=os.getpid()))
    leftover = Path(f"/dev/shm/{server.shared_memory_prefix}left-over")
    another = Path(f"/dev/shm/{make_server(ports=Ports(grpc=1)).shared_memory_prefix}another")
    leftover.touch()
    another.touch()
    try:
        server.prepare()
        assert not leftover.exists()
        assert another.exists()
    finally:
        leftover.unlink(missing_ok=True)
        another.unlink()


def test_a_python_without_a_stub_is_told_which_there_are(installation):
    stubs = installation.root / "pytriton/tritonserver/python_backend_stubs"
    (stubs / VERSION).rename(stubs / "3.8")
    with pytest.raises(InstallError, match=rf"no Triton stub for Python {VERSION}.*3\.8"):
        _ = installation.stub


def test_a_server_that_is_not_there_is_not_ready(make_server):
    # Port 9, discard: nothing listens there.
    assert not make_server(ports=Ports(http=9)).ready()
