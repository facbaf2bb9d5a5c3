"""The composition root: the only place that knows both the ports and what implements them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from voice_gateway.adapters.system_clock import SystemClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from voice_gateway.ports import ReceiptStore
    from voice_gateway.providers.registry import ProviderRegistry
    from voice_gateway.services.authorization import AuthorizationService
    from voice_gateway.services.personalities import PersonalityService
    from voice_gateway.services.speech import SpeechService
    from voice_gateway.settings import FunctionSettings, SpeechSettings


@cache
def personality_service() -> PersonalityService:
    """Of the personalities function."""
    from voice_gateway.adapters.dynamodb_personalities import DynamoPersonalities
    from voice_gateway.adapters.dynamodb_tenants import DynamoTenants
    from voice_gateway.services.personalities import PersonalityService
    from voice_gateway.settings import PersonalitiesSettings

    table = _table(PersonalitiesSettings().table_name)
    clock = SystemClock()
    return PersonalityService(
        DynamoPersonalities(table, clock), clock, tenants=DynamoTenants(table)
    )


@cache
def authorization_service() -> AuthorizationService:
    """Of the authorizer."""
    from voice_gateway.adapters.dynamodb_api_keys import DynamoApiKeys
    from voice_gateway.services.authorization import AuthorizationService
    from voice_gateway.settings import AuthorizerSettings

    return AuthorizationService(DynamoApiKeys(_table(AuthorizerSettings().table_name)))


@cache
def speech_service() -> SpeechService:
    """Of the speech function."""
    from voice_gateway.adapters.audio_codec import audio_encoder
    from voice_gateway.adapters.dynamodb_personalities import DynamoPersonalities
    from voice_gateway.observability import SpeechTelemetry
    from voice_gateway.providers.fallback import FallbackProvider
    from voice_gateway.services.speech import SpeechService
    from voice_gateway.settings import SpeechSettings

    settings = SpeechSettings()
    clock = SystemClock()
    return SpeechService(
        personalities=DynamoPersonalities(_table(settings.table_name), clock),
        receipts=receipt_store(settings),
        router=FallbackProvider(provider_registry(settings), clock),
        encoders=audio_encoder,
        observer=SpeechTelemetry(),
        clock=clock,
    )


def provider_registry(settings: SpeechSettings) -> ProviderRegistry:
    """Every provider of this deployment, none of them built yet."""
    from voice_gateway.providers.espeak import EspeakProvider
    from voice_gateway.providers.piper import piper_on_triton
    from voice_gateway.providers.registry import ProviderRegistry

    return ProviderRegistry(
        {
            "piper": lambda: piper_on_triton(settings.triton_url, tls=settings.triton_tls),
            "espeak": EspeakProvider,
        }
    )


@cache
def receipt_store(settings: FunctionSettings) -> ReceiptStore:
    """Where receipts wait for whoever asks after the stream."""
    from voice_gateway.adapters.dynamodb_receipts import DynamoReceipts

    return DynamoReceipts(_table(settings.table_name), SystemClock())


@cache
def _table(name: str) -> Table:
    # boto3 takes a third of a second to import: only whoever needs the table pays it.
    import boto3
    from botocore.config import Config

    # boto's own patience is a minute: longer than anybody who waits for a voice.
    config = Config(
        connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3}
    )
    return boto3.resource("dynamodb", config=config).Table(name)
