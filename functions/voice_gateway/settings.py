"""One frozen settings model a function: what template.yaml must hand it, checked at cold start."""

from __future__ import annotations

from typing import Final

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

EXPOSED_HEADERS: Final = (
    "x-request-id",
    "x-speech-provider",
    "x-speech-voice",
    "x-speech-budget",
    "x-ai-generated",
    "link",
    "etag",
    "idempotent-replayed",
    "location",
    "allow",
)
"""What a page may read of an answer beside what every page may."""


class FunctionSettings(BaseSettings):
    """What every function reads."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    table_name: str = Field(min_length=1)
    """The one DynamoDB table."""


class BrowserSettings(BaseSettings):
    """What a function that pages may call reads."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    allowed_origin: str = Field(default="*", min_length=1)
    """The one web origin whose pages may call the API."""

    def cors_headers(self) -> dict[str, str]:
        """Goes with every answer; the preflight is API Gateway's."""
        return {
            "access-control-allow-origin": self.allowed_origin,
            "access-control-expose-headers": ", ".join(EXPOSED_HEADERS),
        }


class RedisSettings(BaseSettings):
    """What a function that shares state with the others reads."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    redis_url: str = Field(default="", pattern=r"^(rediss?://\S+)?$")
    """`redis://host:port`, or `rediss://` for TLS. Empty: nothing is shared."""


class PersonalitiesSettings(FunctionSettings, BrowserSettings):
    """Of the personalities function."""


class CostsSettings(FunctionSettings, BrowserSettings):
    """Of the costs function."""


class AuthorizerSettings(FunctionSettings):
    """Of the authorizer."""


class SpeechSettings(FunctionSettings, BrowserSettings, RedisSettings):
    """Of the speech function."""

    triton_url: str = Field(pattern=r"^[^/\s:]+:\d+$")
    """`host:port` of Triton's gRPC endpoint."""
    triton_tls: bool = False
    hedge_percent: float = Field(default=5.0, ge=0.0, le=100.0)
    """Of a hundred requests, how many may start a second provider beside one that is slow."""
