"""One frozen settings model a function: what template.yaml must hand it, checked at cold start."""

from __future__ import annotations

from typing import Final, Self

from pydantic import Field, SecretStr, model_validator
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
    "retry-after",
)
"""What a page may read of an answer beside what every page may."""


_CLONING: Final = r"^((xtts_v2|styletts2)(,(xtts_v2|styletts2))*)?$"


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


class AccountSettings(FunctionSettings, BrowserSettings):
    """Of the account function."""


class AuthorizerSettings(FunctionSettings):
    """Of the authorizer.

    People can sign in where an issuer, an audience and the address of its keys are named: all three
    or none.
    """

    jwt_issuer: str = ""
    """What a token's `iss` must be."""
    jwt_audience: str = ""
    """What a token's `aud` must be or hold."""
    jwt_jwks_url: str = Field(default="", pattern=r"^$|^https://.|^http://127\.0\.0\.1[:/]")
    """Where the issuer publishes its keys."""
    jwt_tenant_claim: str = Field(default="tenant", min_length=1)
    """Which claim names the tenant."""
    jwt_role_claim: str = Field(default="role", min_length=1)
    """Which claim names the role, or a list of roles: `viewer`, `editor`, `admin`."""

    @property
    def people_sign_in(self) -> bool:
        """Whether tokens are taken at all."""
        return bool(self.jwt_issuer)

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        named = (self.jwt_issuer, self.jwt_audience, self.jwt_jwks_url)
        if any(named) and not all(named):
            raise ValueError("name JWT_ISSUER, JWT_AUDIENCE and JWT_JWKS_URL, or none of them")
        return self


class TritonSettings(BaseSettings):
    """Of functions that reach the models on Triton."""

    triton_url: str = Field(pattern=r"^[^/\s:]+:\d+$")
    """`host:port` of Triton's gRPC endpoint."""
    triton_tls: bool = False
    cloning_models: str = Field(default="", pattern=_CLONING)
    """The models there that clone voices, with commas between: `xtts_v2,styletts2`.

    They can be asked to speak, and are told to forget a voice that is purged: it is not purged
    before all of them did.
    """

    @property
    def cloners(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(filter(None, self.cloning_models.split(",")))


class SamplesSettings(FunctionSettings, BrowserSettings):
    """Of the samples function."""

    samples_bucket: str = Field(min_length=1)
    """Where voice samples lie."""
    sample_queue_url: str = Field(min_length=1)
    """Where whoever looks after samples is told of one."""


class SampleValidationSettings(FunctionSettings, RedisSettings, TritonSettings):
    """Of the function that looks after samples."""

    samples_bucket: str = Field(min_length=1)
    """Where voice samples lie."""
    sample_queue_url: str = Field(min_length=1)
    """Where the sweep puts the samples whose time has come."""


class SpeechSettings(FunctionSettings, BrowserSettings, RedisSettings, TritonSettings):
    """Of the speech function."""

    samples_bucket: str = Field(min_length=1)
    """Where the voices lie that a model asks for."""
    google_credentials: SecretStr = SecretStr("")
    """ARN of the secret or parameter with Google's credentials; empty: Google is not configured.

    In the place of the ARN may stand what it would lead to, a JSON object: for machines without
    Secrets Manager. Each provider's constructor tells its fields.
    """
    azure_credentials: SecretStr = SecretStr("")
    """The same, for Azure."""
    watson_credentials: SecretStr = SecretStr("")
    """The same, for IBM Watson."""
    hedge_percent: float = Field(default=5.0, ge=0.0, le=100.0)
    """Of a hundred requests, how many may start a second provider beside one that is slow."""
