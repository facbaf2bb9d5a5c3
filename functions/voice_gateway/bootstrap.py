"""The composition root: the only place that knows both the ports and what implements them."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from voice_gateway.adapters.system_clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.config import Config
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sqs.client import SQSClient
    from pydantic import SecretStr

    from voice_gateway.adapters.redis_connection import RedisConnection
    from voice_gateway.ports import (
        AudioCache,
        ProviderHealth,
        ReceiptStore,
        SpeechProvider,
        VoiceMatchStore,
        VoiceShifter,
    )
    from voice_gateway.providers.registry import ProviderRegistry
    from voice_gateway.services.api_keys import ApiKeyService
    from voice_gateway.services.authorization import AuthorizationService
    from voice_gateway.services.budgets import BudgetService
    from voice_gateway.services.chosen_samples import ChosenSamples
    from voice_gateway.services.costs import CostService
    from voice_gateway.services.personalities import PersonalityService
    from voice_gateway.services.sample_burial import SampleBurial
    from voice_gateway.services.sample_care import SampleCare
    from voice_gateway.services.speech import SpeechService
    from voice_gateway.services.usage import UsageService
    from voice_gateway.services.voice_consents import VoiceConsentService
    from voice_gateway.services.voice_samples import VoiceSampleService
    from voice_gateway.settings import FunctionSettings, SpeechSettings


@cache
def personality_service() -> PersonalityService:
    """Of the personalities function."""
    from voice_gateway.settings import PersonalitiesSettings

    return _personalities(_table(PersonalitiesSettings().table_name))


@cache
def chosen_samples() -> ChosenSamples:
    """Of the personalities function."""
    from voice_gateway.adapters.dynamodb_samples import DynamoSamples
    from voice_gateway.services.chosen_samples import ChosenSamples
    from voice_gateway.settings import PersonalitiesSettings

    return ChosenSamples(DynamoSamples(_table(PersonalitiesSettings().table_name)))


@cache
def voice_matches() -> VoiceMatchStore:
    """Of the personalities function."""
    from voice_gateway.adapters.dynamodb_voice_matches import DynamoVoiceMatches
    from voice_gateway.settings import PersonalitiesSettings

    return DynamoVoiceMatches(_table(PersonalitiesSettings().table_name))


@cache
def voice_sample_service() -> VoiceSampleService:
    """Of the samples function."""
    from voice_gateway.adapters.dynamodb_samples import DynamoSamples
    from voice_gateway.adapters.dynamodb_tenants import DynamoTenants
    from voice_gateway.adapters.s3_sample_files import S3SampleFiles
    from voice_gateway.services.voice_samples import VoiceSampleService
    from voice_gateway.settings import SamplesSettings

    settings = SamplesSettings()
    table = _table(settings.table_name)
    clock = SystemClock()
    return VoiceSampleService(
        samples=DynamoSamples(table),
        files=S3SampleFiles(_s3(), settings.samples_bucket, clock),
        burial=_burial(table, settings.sample_queue_url),
        personalities=_personalities(table),
        tenants=DynamoTenants(table),
        clock=clock,
    )


@cache
def voice_consent_service() -> VoiceConsentService:
    """Of the samples function."""
    from voice_gateway.adapters.dynamodb_samples import DynamoSamples
    from voice_gateway.adapters.dynamodb_tenants import DynamoTenants
    from voice_gateway.services.voice_consents import VoiceConsentService
    from voice_gateway.settings import SamplesSettings

    settings = SamplesSettings()
    table = _table(settings.table_name)
    return VoiceConsentService(
        samples=DynamoSamples(table),
        burial=_burial(table, settings.sample_queue_url),
        personalities=_personalities(table),
        tenants=DynamoTenants(table),
        clock=SystemClock(),
    )


@cache
def sample_care() -> SampleCare:
    """Of the function that looks after samples."""
    from voice_gateway.adapters.audio_decoder import SoundfileDecoder
    from voice_gateway.adapters.dynamodb_samples import DynamoSamples
    from voice_gateway.adapters.redis_voice_audio import RedisVoiceAudio
    from voice_gateway.adapters.s3_sample_files import S3SampleFiles
    from voice_gateway.adapters.sample_converter import SoxrConverter
    from voice_gateway.adapters.sqs_sample_queue import SqsSampleQueue
    from voice_gateway.observability import SampleTelemetry
    from voice_gateway.providers.conditioning import TritonConditioning
    from voice_gateway.services.sample_care import SampleCare
    from voice_gateway.services.sample_purge import SamplePurger
    from voice_gateway.services.samples import SampleService
    from voice_gateway.settings import SampleValidationSettings

    settings = SampleValidationSettings()
    table = _table(settings.table_name)
    clock = SystemClock()
    samples = DynamoSamples(table)
    files = S3SampleFiles(_s3(), settings.samples_bucket, clock)
    personalities = _personalities(table)
    observer = SampleTelemetry()
    purger = SamplePurger(
        samples=samples,
        files=files,
        conditioning=TritonConditioning(
            url=settings.triton_url,
            tls=settings.triton_tls,
            models=settings.cloners,
        ),
        audio=RedisVoiceAudio(settings.redis_url, clock),
        personalities=personalities,
        observer=observer,
        clock=clock,
    )
    return SampleCare(
        samples=samples,
        files=files,
        queue=SqsSampleQueue(_sqs(), settings.sample_queue_url),
        inspector=SampleService(SoundfileDecoder(), SoxrConverter()),
        purger=purger,
        personalities=personalities,
        observer=observer,
        clock=clock,
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
    from voice_gateway.adapters.dynamodb_samples import DynamoSamples
    from voice_gateway.adapters.dynamodb_tenants import DynamoTenants
    from voice_gateway.adapters.dynamodb_usage import DynamoUsage
    from voice_gateway.adapters.dynamodb_voice_matches import DynamoVoiceMatches
    from voice_gateway.adapters.redis_levels import RedisVoiceLevels
    from voice_gateway.adapters.shared_hedges import SharedHedges
    from voice_gateway.observability import SpeechTelemetry
    from voice_gateway.providers.cached import CachedProvider
    from voice_gateway.providers.fallback import FallbackProvider
    from voice_gateway.services.chosen_samples import ChosenSamples
    from voice_gateway.services.quota import CharacterQuota
    from voice_gateway.services.speech import SpeechService
    from voice_gateway.services.voice_matching import VoiceMatching
    from voice_gateway.settings import SpeechSettings

    settings = SpeechSettings()
    clock = SystemClock()
    table = _table(settings.table_name)
    registry = provider_registry(settings)
    health = provider_health(settings.redis_url)
    hedges = SharedHedges(redis_connection(settings.redis_url), settings.hedge_percent)
    router = FallbackProvider(registry, clock, health=health, hedges=hedges)
    personalities = DynamoPersonalities(table, clock)
    samples = ChosenSamples(DynamoSamples(table))
    cache, levels = (
        audio_cache(settings.redis_url),
        RedisVoiceLevels(redis_connection(settings.redis_url)),
    )
    return SpeechService(
        personalities=personalities,
        samples=samples,
        receipts=receipt_store(settings),
        budgets=budget_service(settings),
        quota=CharacterQuota(DynamoTenants(table), DynamoUsage(table), clock),
        router=CachedProvider(router, registry, cache, levels, clock),
        providers=registry,
        cache=cache,
        encoders=audio_encoder,
        levels=levels,
        observer=SpeechTelemetry(),
        clock=clock,
        health=health,
        matching=VoiceMatching(personalities, samples, registry, DynamoVoiceMatches(table), clock),
    )


@cache
def audio_cache(redis_url: str) -> AudioCache:
    """Where spoken sentences are kept; without Redis, nowhere."""
    from voice_gateway.adapters.redis_audio_cache import RedisAudioCache

    return RedisAudioCache(redis_connection(redis_url), SystemClock())


def provider_registry(settings: SpeechSettings) -> ProviderRegistry:
    """Every provider of this deployment, none of them built yet."""
    from voice_gateway.adapters.credentials import SecretCredentials
    from voice_gateway.adapters.s3_sample_windows import S3SampleWindows
    from voice_gateway.adapters.voice_shifter import StretchShifter
    from voice_gateway.domain.chain import PROVIDER_NAMES
    from voice_gateway.providers.registry import Deployment, ProviderRegistry, deployed

    def credentials(name: str) -> SecretCredentials | None:
        reference: SecretStr | None = getattr(settings, f"{name}_credentials", None)
        # A vendor without credentials is not there; one with wrong ones is there, and fails.
        if reference is None or not reference.get_secret_value():
            return None
        return SecretCredentials(name, reference.get_secret_value())

    here = Deployment(
        triton_url=settings.triton_url,
        triton_tls=settings.triton_tls,
        cloners=settings.cloners,
        samples=lambda: S3SampleWindows(_s3(), settings.samples_bucket),
        credentials=credentials,
    )
    factories = deployed(PROVIDER_NAMES, here)
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


def _personalities(table: Table) -> PersonalityService:
    from voice_gateway.adapters.dynamodb_personalities import DynamoPersonalities
    from voice_gateway.adapters.dynamodb_tenants import DynamoTenants
    from voice_gateway.services.personalities import PersonalityService

    clock = SystemClock()
    return PersonalityService(
        DynamoPersonalities(table, clock), clock, tenants=DynamoTenants(table)
    )


def _burial(table: Table, queue_url: str) -> SampleBurial:
    from voice_gateway.adapters.dynamodb_samples import DynamoSamples
    from voice_gateway.adapters.sqs_sample_queue import SqsSampleQueue
    from voice_gateway.services.sample_burial import SampleBurial

    return SampleBurial(
        samples=DynamoSamples(table), queue=SqsSampleQueue(_sqs(), queue_url), clock=SystemClock()
    )


@cache
def _s3() -> S3Client:
    import boto3

    # Its reads and writes are megabytes long.
    return boto3.client("s3", config=_patience(read_timeout=20))


@cache
def _sqs() -> SQSClient:
    import boto3

    return boto3.client("sqs", config=_patience(read_timeout=5))


@cache
def _table(name: str) -> Table:
    # boto3 takes a third of a second to import: only whoever needs the table pays it.
    import boto3

    return boto3.resource("dynamodb", config=_patience(read_timeout=2)).Table(name)


def _patience(*, read_timeout: float) -> Config:
    from botocore.config import Config

    # boto's own patience is a minute: longer than anybody who waits for a voice.
    return Config(
        connect_timeout=1,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": 3},
    )
