"""Where the local stack lives on this machine: folders, ports, and what every part is told."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FUNCTIONS: Final = ROOT / "functions"
TEMPLATE: Final = ROOT / "template.yaml"
TOOLS: Final = ROOT / ".local" / "tools"
VOICES: Final = ROOT / ".local" / "voices"
WEIGHTS: Final = ROOT / ".local" / "weights"
CLONING: Final = ("xtts_v2", "styletts2")
"""Models whose checkpoint is too large for the repository: served where it is there."""
"""Where scripts/fetch_models.py puts voices."""
LOCAL: Final = Path(os.environ.get("VOICE_LOCAL") or ROOT / ".local")
"""What one stack keeps; a second stack beside it has its own, and its own ports."""
LOGS: Final = LOCAL / "log"
RUN: Final = LOCAL / "run"
STATE: Final = LOCAL / "state"
STACK_ENV: Final = LOCAL / "stack.env"
RESOURCES: Final = STATE / "resources.json"
"""Logical id → physical id, as the local AWS named them."""

REGION: Final = "us-east-1"
ACCOUNT: Final = "000000000000"
TENANT: Final = "demo"
ISSUER_KEY: Final = STATE / "issuer.pem"
"""Signs people's tokens on this machine, and opens nothing elsewhere."""
JWKS_PATH: Final = "/_local/jwks.json"
TOKEN_AUDIENCE: Final = "personality-voices"


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port on 127.0.0.1, and the environment variable that moves it elsewhere."""

    variable: str
    default: int

    @property
    def number(self) -> int:
        """The port in force.

        Raises:
            SystemExit: The variable holds no port number.
        """
        text = os.environ.get(self.variable) or str(self.default)
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise SystemExit(f"{self.variable}={text} is no port number (1 to 65535).")
        return int(text)


GATEWAY_PORT: Final = Port("VOICE_PORT", 8790)
AWS_PORT: Final = Port("VOICE_AWS_PORT", 4566)
TRITON_HTTP_PORT: Final = Port("VOICE_TRITON_HTTP_PORT", 8700)
TRITON_GRPC_PORT: Final = Port("VOICE_TRITON_GRPC_PORT", 8701)
TRITON_METRICS_PORT: Final = Port("VOICE_TRITON_METRICS_PORT", 8702)


def aws_environment() -> dict[str, str]:
    """What points an AWS SDK at the local AWS and nowhere else."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{AWS_PORT.number}",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        # Without this, botocore looks for a profile that the developer may well have.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def models() -> tuple[str, ...]:
    """What Triton serves: Piper, and what clones where a checkpoint was fetched or named."""
    there = (
        model
        for model in CLONING
        if f"{model.upper()}_CHECKPOINT" in os.environ or (WEIGHTS / model).is_dir()
    )
    return ("piper", *there)


def template_parameters() -> dict[str, str]:
    """What the template's parameters are on this machine."""
    return {
        "TritonUrl": f"127.0.0.1:{TRITON_GRPC_PORT.number}",
        "TritonTls": "false",
        "CloningModels": ",".join(models()[1:]),
        "DeletionProtection": "false",
        "JwtIssuer": issuer(),
        "JwtAudience": TOKEN_AUDIENCE,
        "JwtJwksUrl": f"{issuer()}{JWKS_PATH}",
    }


def issuer() -> str:
    """Who signs people's tokens on this machine; see `people`."""
    return f"http://127.0.0.1:{GATEWAY_PORT.number}"
