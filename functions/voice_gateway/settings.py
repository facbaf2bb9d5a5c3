"""One frozen settings model a function: what template.yaml must hand it, checked at cold start."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class FunctionSettings(BaseSettings):
    """What every function reads."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    table_name: str = Field(min_length=1)
    """The one DynamoDB table."""


class PersonalitiesSettings(FunctionSettings):
    """Of the personalities function."""


class AuthorizerSettings(FunctionSettings):
    """Of the authorizer."""


class SpeechSettings(FunctionSettings):
    """Of the speech function."""

    triton_url: str = Field(pattern=r"^[^/\s:]+:\d+$")
    """`host:port` of Triton's gRPC endpoint."""
    triton_tls: bool = False
