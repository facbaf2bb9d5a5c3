"""The local stack, and a voice from it: up, down, status, logs, start, stop, token, speak."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from pathlib import Path

# PYTHONSAFEPATH, which the Makefile sets, keeps a script's own folder off the path.
sys.path.insert(0, str(Path(__file__).resolve().parent))

if sys.version_info < (3, 11):  # noqa: UP036 - told plainly, before an import breaks on syntax
    sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}. See `make setup`.")

import layout
import parts
import people
import speak
import stack
import status
from processes import PartError
from tools import InstallError
from tritonserver import InstallError as TritonInstallError
from voice_gateway.domain.access import Role

NOT_RUNNING = 3
"""Exit status of `status` when not everything runs, as init scripts have it."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (PartError, InstallError, TritonInstallError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stack", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, help_text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help_text, description=help_text)

    command("up", "Install and start what is missing.").set_defaults(run=_up)
    command("down", "Stop everything; data stays.").set_defaults(run=_down)
    command("status", "Tell what runs, and whether it can speak.").set_defaults(run=_status)
    logs = command("logs", "Show the end of the logs.")
    logs.add_argument("part", nargs="?", choices=parts.NAMES)
    logs.add_argument("--lines", type=int, default=40)
    logs.set_defaults(run=_logs)
    for name, run, help_text in (
        ("start", _start, "Start one part."),
        ("stop", _stop, "Stop one part, to hear how the rest copes."),
    ):
        each = command(name, help_text)
        each.add_argument("part", choices=parts.NAMES)
        each.set_defaults(run=run)
    signing = command("token", "Print a person's token for this machine's stack.")
    signing.add_argument("--role", choices=[role.value for role in Role], default=Role.ADMIN.value)
    signing.add_argument("--tenant", default=layout.TENANT)
    signing.add_argument("--hours", type=float, default=8.0, help="how long it is good")
    signing.set_defaults(run=_token)
    speaking = command("speak", "Speak a text into a file.")
    speak.add_arguments(speaking)
    speaking.set_defaults(run=speak.run)
    return parser


def _up(_: argparse.Namespace) -> int:
    client = stack.up()
    address, key = client[stack.URL], client[stack.API_KEY]
    print(f"""
The API answers at {address}, and the key is
  {key}
Both are in .local/stack.env. A first request:
  curl -sS -H 'Authorization: Bearer {key}' {address}/api/speech \\
    -H 'Content-Type: application/json' \\
    -d '{{"text": "Welcome in.", "personality": "marcel"}}' -o hello.wav""")
    return 0


def _down(_: argparse.Namespace) -> int:
    stopped = stack.down()
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
    return 0


def _status(_: argparse.Namespace) -> int:
    return 0 if status.show() else NOT_RUNNING


def _logs(options: argparse.Namespace) -> int:
    for name in [options.part] if options.part else parts.NAMES:
        print(f"== {name}: {stack.supervisor.log(name)}")
        print(stack.supervisor.tail(name, options.lines))
    return 0


def _token(options: argparse.Namespace) -> int:
    print(
        people.token(role=options.role, tenant=options.tenant, life=timedelta(hours=options.hours))
    )
    return 0


def _start(options: argparse.Namespace) -> int:
    stack.start(options.part)
    return 0


def _stop(options: argparse.Namespace) -> int:
    stopped = stack.stop(options.part)
    print(f"{options.part} {'stopped' if stopped else 'was not running'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
