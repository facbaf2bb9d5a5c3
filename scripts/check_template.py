"""Checks template.yaml in every way that needs no AWS account, and builds it.

    python scripts/check_template.py                      all of it
    python scripts/check_template.py lint|sam|translate|build

Each finds what the others do not: `lint` wrong values (cfn-lint on the SAM template), `sam` unknown
events and properties, `translate` references to nothing (cfn-lint on what SAM makes of the
template), `build` packages that do not exist for Lambda's Linux, and what no artefact may weigh.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent / "stack"))

import layout
import template
from layout import ROOT
from tools import InstallError, install_tool

LIMIT_BYTES: Final = 250 * 1000 * 1000
"""Lambda's, of an unzipped artefact with its layers (250 MB)."""
ROOM_BYTES: Final = 15 * 1000 * 1000
"""Kept free for the web adapter's layer and the next release of numpy."""
_RUNTIME: Final = "LambdaRuntime"
_IMPORT_HANDLERS: Final = """
import importlib, pathlib, sys
sys.path.insert(0, sys.argv[1])
for file in sorted(pathlib.Path(sys.argv[1], "voice_gateway", "handlers").glob("[a-z]*.py")):
    importlib.import_module(f"voice_gateway.handlers.{file.stem}")
"""
_REQUIREMENTS: Final = ROOT / "infrastructure" / "requirements" / "sam.txt"


class CheckError(Exception):
    """The template fails a check; the message says which and how."""


def lint() -> None:
    """cfn-lint on the template as it is written, and on those that deploy beside it."""
    _sam("validate", "--lint")
    beside = sorted((ROOT / "infrastructure").glob("*.yaml"))
    _run([Path(sys.executable).with_name("cfn-lint"), *beside])


def sam() -> None:
    """SAM's own validation."""
    _sam("validate", "--region", layout.REGION)


def translate() -> None:
    """cfn-lint on plain CloudFormation, where a misspelled reference shows."""
    with tempfile.TemporaryDirectory() as folder:
        translated = Path(folder) / "translated.json"
        translated.write_text(json.dumps(template.translate(), default=str), encoding="utf-8")
        _run([Path(sys.executable).with_name("cfn-lint"), translated])


def build() -> None:
    """Builds every function as `sam deploy` would ship it, and weighs the artefacts."""
    runtime, path = _runtime()
    target = ROOT / ".aws-sam" / "build"
    print(f"  building for {runtime} ...", flush=True)
    _sam(
        *("build", "--cached", "--build-dir", str(target)),
        *("--cache-dir", str(ROOT / ".aws-sam" / "cache")),
        *("--parameter-overrides", f"{_RUNTIME}={runtime} TritonUrl=triton.internal:8001"),
        path=path,
    )
    for artefact in sorted(each for each in target.iterdir() if each.is_dir()):
        size = sum(file.lstat().st_size for file in artefact.rglob("*") if file.is_file())
        print(f"  {artefact.name}: {size / 1e6:.0f} MB unzipped, of {LIMIT_BYTES / 1e6:.0f}")
        if size > LIMIT_BYTES - ROOM_BYTES:
            raise CheckError(f"{artefact.name} leaves less than {ROOM_BYTES / 1e6:.0f} MB free")
        if not (artefact / "run.sh").stat().st_mode & 0o111:
            raise CheckError(f"{artefact.name}/run.sh has lost its run bit")
        # Alone with the artefact, as on Lambda: no site-packages of this machine.
        _run([Path(path.split(os.pathsep)[0]) / runtime, "-ISBc", _IMPORT_HANDLERS, artefact])


CHECKS: Final = {"lint": lint, "sam": sam, "translate": translate, "build": build}


def main(names: list[str]) -> int:
    """Runs checks; returns the exit status."""
    try:
        for name in names or CHECKS:
            print(f"{name}: {CHECKS[name].__doc__}", flush=True)
            CHECKS[name]()
    except (CheckError, InstallError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyError:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


def _runtime() -> tuple[str, str]:
    """Which runtime to build for, and a PATH that has its interpreter with pip.

    The template's own where this machine has it; otherwise the running interpreter's, so that a
    build is tried at least.
    """
    wanted: str = template.translate()["Parameters"][_RUNTIME]["Default"]
    running = f"python{sys.version_info.major}.{sys.version_info.minor}"
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for runtime in dict.fromkeys((wanted, running)):
        folders = [
            *(Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder),
            *sorted(versions.glob(f"{runtime.removeprefix('python')}.*/bin"), reverse=True),
            Path(sys.executable).parent,
            Path(sys.base_prefix) / "bin",
        ]
        for folder in folders:
            if _works(folder / runtime):
                if runtime != wanted:
                    print(f"  there is no {wanted} here")
                return runtime, f"{folder}{os.pathsep}{os.environ['PATH']}"
    raise CheckError(f"neither {wanted} nor {running} with pip was found; the build needs one")


def _works(python: Path) -> bool:
    if not python.is_file():
        return False
    # A pyenv shim is there for versions that are not in use, and fails only when it is run.
    done = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False)
    return done.returncode == 0


def _sam(*arguments: str, path: str | None = None) -> None:
    program = install_tool("sam", _REQUIREMENTS, layout.TOOLS) / "bin" / "sam"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "SAM_CLI_TELEMETRY": "0",
        **({"PATH": path} if path else {}),
    }
    _run([program, *arguments], environment)


def _run(command: list[str | Path], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        words = " ".join(str(word) for word in command)
        raise CheckError(f"`{words}` failed:\n{done.stdout}\n{done.stderr}".rstrip())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
