"""Where the local stack lives on this machine: folders, ports, and what every part is told."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FUNCTIONS: Final = ROOT / "functions"
TEMPLATE: Final = ROOT / "template.yaml"
TOOLS: Final = ROOT / ".local" / "tools"
VOICES: Final = ROOT / ".local" / "voices"
"""Where scripts/fetch_models.py puts voices."""
WEIGHTS: Final = Path(os.environ.get("VOICE_WEIGHTS") or ROOT / ".local" / "weights")
"""Where it puts the weights of models that clone, a folder each."""
LOCAL: Final = Path(os.environ.get("VOICE_LOCAL") or ROOT / ".local")
"""What one stack keeps; a second stack beside it has its own, and its own ports."""
LOGS: Final = LOCAL / "log"
RUN: Final = LOCAL / "run"
STATE: Final = LOCAL / "state"
STACK_ENV: Final = LOCAL / "stack.env"
CONDITIONING: Final = STATE / "conditioning"
"""What models made of voices' samples, a folder each."""
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
REDIS_PORT: Final = Port("VOICE_REDIS_PORT", 8703)
TRITON_HTTP_PORT: Final = Port("VOICE_TRITON_HTTP_PORT", 8700)
TRITON_GRPC_PORT: Final = Port("VOICE_TRITON_GRPC_PORT", 8701)
TRITON_METRICS_PORT: Final = Port("VOICE_TRITON_METRICS_PORT", 8702)
VENDORS_PORT: Final = Port("VOICE_VENDORS_PORT", 8710)
VENDORS_GRPC_PORT: Final = Port("VOICE_VENDORS_GRPC_PORT", 8711)
VENDORS_KEY: Final = "key-of-this-machine"
"""What the local vendors take for a good key."""
CLONING: Final = "VOICE_CLONING_MODELS"
"""The variable that names the models that clone, with commas between; none unless it is set."""
CLONERS: Final = ("xtts_v2", "styletts2")
"""Those that it may name."""


def cloning_models() -> tuple[str, ...]:
    """The models that clone and that this stack is to have.

    Raises:
        SystemExit: The variable names one that there is not.
    """
    named = [name.strip() for name in os.environ.get(CLONING, "").split(",")]
    models = tuple(dict.fromkeys(filter(None, named)))
    if unknown := [name for name in models if name not in CLONERS]:
        raise SystemExit(f"{CLONING}: {unknown[0]} is none of: {', '.join(CLONERS)}.")
    return models


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


def template_parameters() -> dict[str, str]:
    """What the template's parameters are on this machine."""
    vendors = f"http://127.0.0.1:{VENDORS_PORT.number}"
    google = {"api_key": VENDORS_KEY, "endpoint": f"127.0.0.1:{VENDORS_GRPC_PORT.number}"}
    azure = {"key": VENDORS_KEY, "endpoint": vendors}
    watson = {"api_key": VENDORS_KEY, "url": vendors, "identity_url": vendors}
    return {
        "TritonUrl": f"127.0.0.1:{TRITON_GRPC_PORT.number}",
        "TritonTls": "false",
        "CloningModels": ",".join(cloning_models()),
        "RedisUrl": f"redis://127.0.0.1:{REDIS_PORT.number}",
        # On AWS these are ARNs; here, what would be found there.
        "GoogleCredentials": json.dumps(google),
        "AzureCredentials": json.dumps(azure),
        "WatsonCredentials": json.dumps(watson),
        "DeletionProtection": "false",
        "JwtIssuer": issuer(),
        "JwtAudience": TOKEN_AUDIENCE,
        "JwtJwksUrl": f"{issuer()}{JWKS_PATH}",
    }


def issuer() -> str:
    """Who signs people's tokens on this machine; see `people`."""
    return f"http://127.0.0.1:{GATEWAY_PORT.number}"
