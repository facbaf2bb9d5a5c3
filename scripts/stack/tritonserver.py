"""The real tritonserver on this machine, without Docker.

NVIDIA ships the binary inside the wheel `nvidia-pytriton`, together with a stub, the process that
runs a model, for every Python. `install` unpacks it into a folder of its own, never into the
project's environment. Beside it goes a small environment for the stub, which sees this
interpreter's packages through a numpy of its own: these stubs read garbage from numpy 2, and die of
it at the first text (python_backend pull request 384; mended in Triton 24.11).

    server = Server(
        installation=install(Path(".local/tools")),
        repository=Path("model_repository"),
        source=Path("triton/src"),
        run_dir=Path(".local/run/triton"),
        models=("piper",),
    )
    server.prepare()
    process = subprocess.Popen(server.command(), env=server.environment())
    server.ready()          # True once every model may be asked

Whoever starts the process supervises it. A model's dead stub is never restarted by this Triton, and
the health endpoints still answer 200 then, so a canary should speak now and then. The other way
round, stubs outlive a server that crashed: start it in a session of its own and end with the whole
process group, as `running` does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from dataclasses import dataclass, field
from importlib.metadata import Distribution
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PYTRITON_VERSION: Final = "0.7.0"
"""Of the wheel; it holds Triton 2.51.0 and stubs for Python 3.8 to 3.13."""

NUMPY_VERSION: Final = "1.26.4"
"""The last numpy that these stubs understand."""

HOST: Final = "127.0.0.1"

_POLL_SECONDS: Final = 0.05
_MIB: Final = 1 << 20


class InstallError(RuntimeError):
    """tritonserver could not be installed, or does not fit this Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the server listens, on 127.0.0.1 only."""

    http: int = 8700
    grpc: int = 8701
    metrics: int = 8702


@dataclass(frozen=True, slots=True)
class Installation:
    """The unpacked wheel, and the environment of its stub."""

    root: Path
    environment: Path
    """Prefix of the stub's Python environment."""

    @property
    def binary(self) -> Path:
        """`tritonserver` itself."""
        return self.root / "pytriton/tritonserver/bin/tritonserver"

    @property
    def python_backend(self) -> Path:
        """The Python backend, which lacks a stub."""
        return self.root / "pytriton/tritonserver/backends/python"

    @property
    def libraries(self) -> Path:
        """What binary and stub are linked against."""
        return self.root / "nvidia_pytriton.libs"

    @property
    def stub(self) -> Path:
        """The process that runs a model, for this interpreter's version."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stubs = self.root / "pytriton/tritonserver/python_backend_stubs"
        stub = stubs / version / "triton_python_backend_stub"
        if not stub.is_file():
            known = ", ".join(sorted(path.name for path in stubs.glob("*")))
            raise InstallError(f"no Triton stub for Python {version}; there are: {known}")
        return stub


def install(tools_dir: Path) -> Installation:
    """Unpacks the wheel and makes the stub's environment, unless they are there already.

    Args:
        tools_dir: Gets `tritonserver` and `tritonserver-python<version>`.

    Raises:
        InstallError: There is no installer, or a download failed.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    installation = Installation(
        root=(tools_dir / "tritonserver").resolve(),
        environment=(tools_dir / f"tritonserver-python{version}").resolve(),
    )
    if not _has(installation.root, "nvidia-pytriton", PYTRITON_VERSION):
        with _fresh(installation.root) as folder:
            _fetch(f"nvidia-pytriton=={PYTRITON_VERSION}", folder)
    packages = f"lib/python{version}/site-packages"
    if not _has(installation.environment / packages, "numpy", NUMPY_VERSION):
        with _fresh(installation.environment) as folder:
            venv.create(folder, symlinks=True)
            _fetch(f"numpy=={NUMPY_VERSION}", folder / packages)
    # After its own packages come this interpreter's, so that everything but numpy is shared.
    shared = installation.environment / packages / "shared.pth"
    ours = dict.fromkeys(sysconfig.get_path(key) for key in ("purelib", "platlib"))
    shared.write_text("".join(f"{path}\n" for path in ours), encoding="utf-8")
    return installation


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How one tritonserver is started; nothing here keeps a process."""

    installation: Installation
    repository: Path
    """Folder of the model directories."""
    source: Path
    """Folder that holds the package `voice_serving`."""
    run_dir: Path
    """Where the backend folder is composed; one per server."""
    models: tuple[str, ...]
    """What is loaded; other directories of the repository are left alone."""
    ports: Ports = Ports()
    variables: Mapping[str, str] = field(default_factory=dict)
    """More environment, such as `PIPER_PROFILE`."""
    verbose: int = 0
    """Triton's own log level; 0 tells of models, warnings and errors."""
    stub_timeout_seconds: int = 120
    """How long a model may take to load."""
    exit_seconds: int = 10
    """How long it may take to stop. It usually takes two; all of it when a caller has cancelled a
    stream at the very moment of its last answer, since this Triton then never lets the model go."""

    @property
    def grpc_url(self) -> str:
        """`host:port` for clients."""
        return f"{HOST}:{self.ports.grpc}"

    @property
    def shared_memory_prefix(self) -> str:
        """Start of the names of its regions in /dev/shm."""
        return f"personality-voices-{self.ports.grpc}-"

    def prepare(self) -> None:
        """Composes the backend folder and clears what a killed predecessor left in /dev/shm.

        To be called before every start, with no server running on the same ports.
        """
        python = self._backends / "python"
        python.mkdir(parents=True, exist_ok=True)
        for source in [*self.installation.python_backend.iterdir(), self.installation.stub]:
            if source.is_file():
                _refresh(source, python / source.name)
        # The backend's folder is the one place of the stub's search path that is ours.
        package = python / "voice_serving"
        package.unlink(missing_ok=True)
        package.symlink_to((self.source / "voice_serving").resolve(), target_is_directory=True)
        for region in Path("/dev/shm").glob(f"{self.shared_memory_prefix}*"):
            region.unlink(missing_ok=True)

    def command(self) -> list[str]:
        """The argument vector."""
        python = {
            "shm-region-prefix-name": self.shared_memory_prefix,
            # A sentence of ten seconds is under one MiB; regions never shrink again.
            "shm-default-byte-size": 4 * _MIB,
            "shm-growth-byte-size": 4 * _MIB,
            "stub-timeout-seconds": self.stub_timeout_seconds,
        }
        return [
            str(self.installation.binary),
            f"--model-repository={self.repository.resolve()}",
            # Explicit: a model whose weights are not here must not keep the others from starting.
            "--model-control-mode=explicit",
            *(f"--load-model={model}" for model in self.models),
            f"--backend-directory={self._backends.resolve()}",
            *(f"--backend-config=python,{key}={value}" for key, value in python.items()),
            f"--http-address={HOST}",
            f"--http-port={self.ports.http}",
            f"--grpc-address={HOST}",
            f"--grpc-port={self.ports.grpc}",
            f"--metrics-address={HOST}",
            f"--metrics-port={self.ports.metrics}",
            "--allow-gpu-metrics=false",
            "--disable-auto-complete-config",
            f"--exit-timeout-secs={self.exit_seconds}",
            f"--log-verbose={self.verbose}",
        ]

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """The process's environment.

        Args:
            base: What it starts from; this process's own when None.
        """
        environment = dict(os.environ if base is None else base)
        # The stub belongs to the environment of the first `python3` on PATH. It ignores PYTHONPATH:
        # its interpreter starts isolated.
        prefix = str(self.installation.environment.resolve())
        environment["VIRTUAL_ENV"] = prefix
        environment["PATH"] = f"{prefix}/bin{os.pathsep}{environment.get('PATH', os.defpath)}"
        # libpython lies outside the system's own path where Python is not the system's.
        libraries = [str(self.installation.libraries.resolve())]
        libpython = sysconfig.get_config_var("LIBDIR")
        if libpython:
            libraries.append(libpython)
        libraries += filter(None, [environment.get("LD_LIBRARY_PATH")])
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
        environment.update(self.variables)
        return environment

    def ready(self, timeout: float = 0.0) -> bool:
        """Whether every model may be asked.

        Args:
            timeout: Seconds to wait for it; 0 asks once.
        """
        deadline = time.monotonic() + timeout
        url = f"http://{HOST}:{self.ports.http}"
        # No proxy of the machine's leads to its own loopback.
        with httpx.Client(base_url=url, timeout=2.0, trust_env=False) as client:
            while True:
                if all(self._model_ready(client, model) for model in self.models):
                    return True
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_POLL_SECONDS)

    @property
    def _backends(self) -> Path:
        return self.run_dir / "backends"

    @staticmethod
    def _model_ready(client: httpx.Client, model: str) -> bool:
        try:
            return client.get(f"/v2/models/{model}/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


@contextlib.contextmanager
def running(server: Server, log: Path, timeout: float = 60.0) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the server for a block, for tests and measurements.

    Args:
        server: What to start.
        log: File for its output.
        timeout: Seconds until its models must be ready.

    Raises:
        RuntimeError: It ended, or was not ready in time; the message has the end of its log.
    """
    server.prepare()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            server.command(),
            # The stub looks for modules where it stands: our folder `triton` must not be there.
            cwd=server.run_dir,
            env=server.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + timeout
        while not server.ready():
            if process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
                raise RuntimeError(f"tritonserver did not become ready:\n{tail}")
            time.sleep(_POLL_SECONDS)
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=server.exit_seconds + 10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _has(packages: Path, name: str, version: str) -> bool:
    """Whether a folder of packages has this very version."""
    found = Distribution.discover(name=name, path=[str(packages)])
    return any(distribution.version == version for distribution in found)


@contextlib.contextmanager
def _fresh(folder: Path) -> Iterator[Path]:
    """A new folder that takes the old one's place when the block succeeds.

    An interrupted installation is thus never taken for a good one.
    """
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}.new")
    try:
        yield fresh
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _fetch(requirement: str, folder: Path) -> None:
    """Installs one package, without what it depends on."""
    arguments = [*_installer(), "--no-deps", "--target", str(folder), requirement]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise InstallError(f"{requirement} could not be installed: {reason}")


def _installer() -> list[str]:
    """The command that installs a package, up to its options.

    An environment made by uv has no pip, so uv is asked first; it tells programs that it runs where
    it lies. The last resort is the pip of the interpreter that the environment was made from.
    """
    beside = Path(sys.executable).with_name("uv")
    uv = os.environ.get("UV") or (str(beside) if beside.is_file() else shutil.which("uv"))
    if uv:
        return [uv, "pip", "install", "--python", sys.executable]
    for python in dict.fromkeys([sys.executable, f"{sys.base_prefix}/bin/python3"]):
        probe = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False)
        if probe.returncode == 0:
            return [python, "-m", "pip", "install"]
    raise InstallError("neither uv nor pip was found; put uv on PATH")


def _refresh(source: Path, target: Path) -> None:
    """Copies a file that is not there in this very version.

    By way of a new name, since a file that still runs cannot be written.
    """
    wanted = source.stat()
    if target.is_file():
        have = target.stat()
        if (have.st_size, have.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns):
            return
    fresh = target.with_name(f"{target.name}.{os.getpid()}.new")
    shutil.copy2(source, fresh)
    fresh.replace(target)
