"""The parts of the local stack, in the order in which they depend on each other."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import urllib.request
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aws
import cloning
import layout
import redis_server
import tritonserver
from processes import Part
from voice_serving.supervisor import Pulse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

TRITON: Final = "triton"
AWS: Final = "aws"
REDIS: Final = "redis"
VENDORS: Final = "vendors"
GATEWAY: Final = "gateway"
NAMES: Final = (TRITON, AWS, REDIS, VENDORS, GATEWAY)
PIPER: Final = "piper"

_REPOSITORY: Final = layout.ROOT / "model_repository"
_SERVING: Final = layout.ROOT / "triton" / "src"
_STACK: Final = layout.ROOT / "scripts" / "stack"
_READ_WHOLE: Final = 1 << 20
_LOADING_SECONDS: Final = 600
_SYSTEM_VARIABLES: Final = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")


def triton() -> Part:
    """The real Triton, installed if it is not there.

    Raises:
        tritonserver.InstallError: It could not be fetched, or does not fit this Python.
    """
    ports = (layout.TRITON_HTTP_PORT, layout.TRITON_GRPC_PORT, layout.TRITON_METRICS_PORT)
    http, grpc, metrics = (port.number for port in ports)
    cloners = layout.cloning_models()
    models = (PIPER, *cloners)
    if not (layout.TOOLS / "tritonserver").exists():
        print("  installing tritonserver (once, 150 MB) ...", flush=True)
    server = tritonserver.Server(
        installation=tritonserver.install(layout.TOOLS),
        repository=_REPOSITORY,
        source=_SERVING,
        run_dir=layout.RUN / TRITON,
        models=models,
        ports=tritonserver.Ports(http=http, grpc=grpc, metrics=metrics),
        # Official weights are converted when they are first loaded.
        stub_timeout_seconds=_LOADING_SECONDS if cloners else 120,
    )
    found = {"PIPER_VOICES_DIR": str(layout.VOICES), **cloning.environment(cloners)}
    environment = server.environment(_system_environment() | found | _variables_of(models))

    def prepare() -> None:
        cloning.prepare(cloners)
        server.prepare()

    return Part(
        name=TRITON,
        command=server.command(),
        environment=environment,
        cwd=layout.ROOT,
        ports=ports,
        prepare=prepare,
        ready=lambda: server.ready() and all(map(alive, cloners)),
        start_seconds=_LOADING_SECONDS if cloners else 180.0,
        stop_seconds=35.0,
        fingerprint=_fingerprint(
            server.command(),
            environment,
            (*_SERVING.rglob("*.py"), *_REPOSITORY.rglob("*")),
        ),
    )


def alive(model: str) -> bool:
    """Whether a model's process lives: Triton calls it ready when it does not, too."""
    url = f"http://{tritonserver.HOST}:{layout.TRITON_HTTP_PORT.number}"
    return Pulse(url).beats(model)


def local_aws() -> Part:
    """The local AWS, installed if it is not there.

    Raises:
        tools.InstallError: It could not be fetched.
    """
    program = aws.install(layout.TOOLS)
    port = layout.AWS_PORT
    environment = _system_environment() | aws.environment(port.number, layout.STATE)
    layout.STATE.mkdir(parents=True, exist_ok=True)
    return Part(
        name=AWS,
        command=(program,),
        environment=environment,
        cwd=layout.STATE,
        ports=(port,),
        ready=partial(aws.ready, endpoint()),
        fingerprint=_fingerprint((program,), environment, (aws.REQUIREMENTS,)),
    )


def redis() -> Part:
    """The real Redis, installed if it is not there.

    Raises:
        tools.InstallError: It could not be fetched.
    """
    port = layout.REDIS_PORT
    command = redis_server.command(redis_server.install(layout.TOOLS), port.number)
    environment = _system_environment()
    return Part(
        name=REDIS,
        command=command,
        environment=environment,
        cwd=layout.LOCAL,
        ports=(port,),
        ready=partial(redis_server.ready, port.number),
        fingerprint=_fingerprint(command, environment, (redis_server.REQUIREMENTS,)),
    )


def vendors() -> Part:
    """Google, Azure and Watson, as far as this machine knows them."""
    ports = (layout.VENDORS_PORT, layout.VENDORS_GRPC_PORT)
    environment = {
        **_system_environment(),
        "PYTHONPATH": str(_STACK),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }
    http, grpc = (str(port.number) for port in ports)
    module = (sys.executable, "-m", "vendors.server")
    command = (*module, "--http-port", http, "--grpc-port", grpc)
    return Part(
        name=VENDORS,
        command=command,
        environment=environment,
        cwd=layout.ROOT,
        ports=ports,
        ready=partial(_vendors_answer, http),
        fingerprint=_fingerprint(command, environment, (_STACK / "vendors").glob("*.py")),
    )


def gateway() -> Part:
    """The gateway with the functions behind it."""
    environment = {
        **_system_environment(),
        "PYTHONPATH": str(_STACK),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "VOICE_LOCAL": str(layout.LOCAL),
        layout.CLONING: ",".join(layout.cloning_models()),
        **{
            port.variable: str(port.number)
            for port in (
                layout.GATEWAY_PORT,
                layout.AWS_PORT,
                layout.REDIS_PORT,
                layout.TRITON_GRPC_PORT,
                layout.VENDORS_PORT,
                layout.VENDORS_GRPC_PORT,
            )
        },
    }
    command = (sys.executable, _STACK / "gateway.py")
    # By content: it is written anew, mostly unchanged, whenever the local AWS has been started.
    resources = layout.RESOURCES.read_text(encoding="utf-8") if layout.RESOURCES.exists() else ""
    return Part(
        name=GATEWAY,
        command=command,
        environment=environment,
        cwd=layout.ROOT,
        ports=(layout.GATEWAY_PORT,),
        ready=lambda: functions_up(gateway_state()),
        start_seconds=90.0,
        fingerprint=_fingerprint(
            (*command, resources),
            environment,
            (
                layout.TEMPLATE,
                *_STACK.glob("*.py"),
                *layout.FUNCTIONS.rglob("*.py"),
                *layout.FUNCTIONS.glob("*.sh"),
            ),
        ),
    )


def endpoint() -> str:
    """Where the local AWS answers."""
    return f"http://127.0.0.1:{layout.AWS_PORT.number}"


def url() -> str:
    """Where the API answers."""
    return f"http://127.0.0.1:{layout.GATEWAY_PORT.number}"


def gateway_state() -> dict[str, Any]:
    """How the gateway's functions do; empty when nobody answers."""
    try:
        with urllib.request.urlopen(f"{url()}/_local/state", timeout=2.0) as response:
            state: dict[str, Any] = json.load(response)
            return state
    except (OSError, ValueError):
        return {}


def functions_up(state: Mapping[str, Any]) -> bool:
    """Whether every function has been started, be it in vain: the log says why then."""
    return bool(state) and "starting" not in state.values()


def _vendors_answer(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_control/calls", timeout=2.0):
            return True
    except OSError:
        return False


def _system_environment() -> dict[str, str]:
    # Not the whole of it: a developer's AWS profile must reach no part of the local stack.
    return {name: os.environ[name] for name in _SYSTEM_VARIABLES if name in os.environ}


def _variables_of(models: Iterable[str]) -> dict[str, str]:
    prefixes = tuple(f"{model.upper()}_" for model in models)
    # An empty one counts as absent.
    return {
        name: value for name, value in os.environ.items() if value and name.startswith(prefixes)
    }


def _fingerprint(
    command: Iterable[object], environment: Mapping[str, str], files: Iterable[Path]
) -> str:
    # Without what differs from one terminal to the next, and means nothing to the part.
    told = {key: environment[key] for key in environment.keys() - set(_SYSTEM_VARIABLES)}
    digest = hashlib.sha256(repr(([str(word) for word in command], sorted(told.items()))).encode())
    for file in sorted(files):
        if file.is_file() and file.suffix != ".pyc":
            status = file.stat()
            digest.update(f"{file}:{status.st_size}:".encode())
            # A checkout touches files without changing them; models are too long to read.
            small = status.st_size < _READ_WHOLE
            digest.update(file.read_bytes() if small else str(status.st_mtime_ns).encode())
    return digest.hexdigest()[:16]
