"""The composition root: the only place that knows both the ports and what implements them."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from voice_gateway.adapters.system_clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb.service_resource import Table

    from voice_gateway.adapters.redis_connection import RedisConnection
    from voice_gateway.ports import (
        AudioCache,
        ProviderHealth,
        ReceiptStore,
        SpeechProvider,
        VoiceShifter,
    )
    from voice_gateway.providers.registry import ProviderRegistry
    from voice_gateway.services.api_keys import ApiKeyService
    from voice_gateway.services.authorization import AuthorizationService
    from voice_gateway.services.budgets import BudgetService
    from voice_gateway.services.costs import CostService
    from voice_gateway.services.personalities import PersonalityService
    from voice_gateway.services.speech import SpeechService
    from voice_gateway.services.usage import UsageService
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
def account_services() -> tuple[ApiKeyService, UsageService]:
    """Of the account function."""
    from voice_gateway.adapters.dynamodb_api_keys import DynamoApiKeys
    from voice_gateway.adapters.dynamodb_tenants import DynamoTenants
    from voice_gateway.adapters.dynamodb_usage import DynamoUsage
    from voice_gateway.services.api_keys import ApiKeyService
    from voice_gateway.services.usage import UsageService
    from voice_gateway.settings import AccountSettings

    table = _table(AccountSettings().table_name)
    clock = SystemClock()
    return (
        ApiKeyService(DynamoApiKeys(table), clock),
        UsageService(DynamoTenants(table), DynamoUsage(table), clock),
    )


@cache
def authorization_service() -> AuthorizationService:
    """Of the authorizer."""
    from voice_gateway.adapters.dynamodb_api_keys import DynamoApiKeys
    from voice_gateway.adapters.jwt_verifier import JwtVerifier, RemoteKeySet
    from voice_gateway.observability import AuthorizationTelemetry
    from voice_gateway.services.authorization import AuthorizationService, PeopleClaims
    from voice_gateway.settings import AuthorizerSettings

    settings = AuthorizerSettings()
    clock = SystemClock()
    observer = AuthorizationTelemetry()
    tokens = None
    if settings.people_sign_in:
        tokens = JwtVerifier(
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            keys=RemoteKeySet(settings.jwt_jwks_url, clock, observer),
        )
    return AuthorizationService(
        DynamoApiKeys(_table(settings.table_name)),
        clock,
        observer,
        tokens=tokens,
        claims=PeopleClaims(tenant=settings.jwt_tenant_claim, role=settings.jwt_role_claim),
    )


@cache
def cost_service() -> CostService:
    """Of the costs function."""
    from voice_gateway.adapters.dynamodb_ledger import DynamoLedger
    from voice_gateway.services.costs import CostService
    from voice_gateway.settings import CostsSettings

    settings = CostsSettings()
    clock = SystemClock()
    ledger = DynamoLedger(_table(settings.table_name), clock)
    return CostService(ledger, ledger, budget_service(settings), clock)


@cache
def speech_service() -> SpeechService:
    """Of the speech function."""
    from voice_gateway.adapters.audio_codec import audio_encoder
    from voice_gateway.adapters.dynamodb_personalities import DynamoPersonalities
    from voice_gateway.adapters.dynamodb_tenants import DynamoTenants
    from voice_gateway.adapters.dynamodb_usage import DynamoUsage
    from voice_gateway.adapters.redis_levels import RedisVoiceLevels
    from voice_gateway.adapters.shared_hedges import SharedHedges
    from voice_gateway.observability import SpeechTelemetry
    from voice_gateway.providers.cached import CachedProvider
    from voice_gateway.providers.fallback import FallbackProvider
    from voice_gateway.services.quota import CharacterQuota
    from voice_gateway.services.speech import SpeechService
    from voice_gateway.settings import SpeechSettings

    settings = SpeechSettings()
    clock = SystemClock()
    table = _table(settings.table_name)
    registry = provider_registry(settings)
    health = provider_health(settings.redis_url)
    hedges = SharedHedges(redis_connection(settings.redis_url), settings.hedge_percent)
    router = FallbackProvider(registry, clock, health=health, hedges=hedges)
    return SpeechService(
        personalities=DynamoPersonalities(table, clock),
        receipts=receipt_store(settings),
        budgets=budget_service(settings),
        quota=CharacterQuota(DynamoTenants(table), DynamoUsage(table), clock),
        router=CachedProvider(router, registry, audio_cache(settings.redis_url), clock),
        providers=registry,
        cache=audio_cache(settings.redis_url),
        encoders=audio_encoder,
        levels=RedisVoiceLevels(redis_connection(settings.redis_url)),
        observer=SpeechTelemetry(),
        clock=clock,
        health=health,
    )


@cache
def audio_cache(redis_url: str) -> AudioCache:
    """Where spoken sentences are kept; without Redis, nowhere."""
    from voice_gateway.adapters.redis_audio_cache import RedisAudioCache

    return RedisAudioCache(redis_connection(redis_url), SystemClock())


def provider_registry(settings: SpeechSettings) -> ProviderRegistry:
    """Every provider of this deployment, none of them built yet."""
    from voice_gateway.adapters.credentials import SecretCredentials
    from voice_gateway.adapters.voice_shifter import StretchShifter
    from voice_gateway.providers.azure import AzureProvider
    from voice_gateway.providers.espeak import EspeakProvider
    from voice_gateway.providers.google import GoogleProvider
    from voice_gateway.providers.piper import piper_on_triton
    from voice_gateway.providers.registry import ProviderRegistry
    from voice_gateway.providers.watson import WatsonProvider

    factories: dict[str, Callable[[], SpeechProvider]] = {
        "piper": lambda: piper_on_triton(settings.triton_url, tls=settings.triton_tls),
        "espeak": EspeakProvider,
    }
    # A vendor without credentials is not there; one with wrong ones is there, and fails.
    for name, provider, reference in (
        ("google", GoogleProvider, settings.google_credentials.get_secret_value()),
        ("azure", AzureProvider, settings.azure_credentials.get_secret_value()),
        ("watson", WatsonProvider, settings.watson_credentials.get_secret_value()),
    ):
        if reference:
            factories[name] = partial(provider, SecretCredentials(name, reference))
    shifter = StretchShifter()
    return ProviderRegistry(
        {name: partial(_shaped, make, shifter) for name, make in factories.items()}
    )


@cache
def receipt_store(settings: FunctionSettings) -> ReceiptStore:
    """Where receipts wait for whoever asks after the stream."""
    from voice_gateway.adapters.dynamodb_receipts import DynamoReceipts

    return DynamoReceipts(_table(settings.table_name), SystemClock())


def _shaped(make: Callable[[], SpeechProvider], shifter: VoiceShifter) -> SpeechProvider:
    from voice_gateway.providers.shaped import ShapedProvider

    return ShapedProvider(make(), shifter)


@cache
def budget_service(settings: FunctionSettings) -> BudgetService:
    """What tenants may spend, and what they have spent."""
    from voice_gateway.adapters.dynamodb_budgets import DynamoBudgets
    from voice_gateway.adapters.dynamodb_ledger import DynamoLedger
    from voice_gateway.services.budgets import BudgetService

    table = _table(settings.table_name)
    clock = SystemClock()
    return BudgetService(DynamoBudgets(table), DynamoLedger(table, clock), clock)


@cache
def provider_health(redis_url: str) -> ProviderHealth:
    """What all functions know of the providers; this process alone, where there is no Redis."""
    from voice_gateway.adapters.health_store import (
        EitherHealthStore,
        MemoryHealthStore,
        RedisHealthStore,
    )
    from voice_gateway.adapters.stored_health import StoredHealth

    shared = RedisHealthStore(redis_connection(redis_url))
    return StoredHealth(EitherHealthStore(shared, MemoryHealthStore()), SystemClock())


@cache
def redis_connection(url: str) -> RedisConnection:
    """The one way of this process to Redis; whoever uses it shares its patience."""
    from voice_gateway.adapters.redis_connection import RedisConnection

    return RedisConnection(url, SystemClock())


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
