"""The composition root: the only place that knows both the ports and what implements them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from voice_gateway.adapters.system_clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.config import Config
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sqs.client import SQSClient

    from voice_gateway.ports import ReceiptStore, SpeechProvider
    from voice_gateway.providers.registry import ProviderRegistry
    from voice_gateway.services.api_keys import ApiKeyService
    from voice_gateway.services.authorization import AuthorizationService
    from voice_gateway.services.chosen_samples import ChosenSamples
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
    from voice_gateway.adapters.no_audio_cache import NoAudioCache
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
            models=[name for name in settings.cloning_models.split(",") if name],
        ),
        audio=NoAudioCache(),
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
def speech_service() -> SpeechService:
    """Of the speech function."""
    from voice_gateway.adapters.audio_codec import audio_encoder
    from voice_gateway.adapters.dynamodb_personalities import DynamoPersonalities
    from voice_gateway.adapters.dynamodb_samples import DynamoSamples
    from voice_gateway.adapters.dynamodb_tenants import DynamoTenants
    from voice_gateway.adapters.dynamodb_usage import DynamoUsage
    from voice_gateway.observability import SpeechTelemetry
    from voice_gateway.providers.fallback import FallbackProvider
    from voice_gateway.services.chosen_samples import ChosenSamples
    from voice_gateway.services.quota import CharacterQuota
    from voice_gateway.services.speech import SpeechService
    from voice_gateway.settings import SpeechSettings

    settings = SpeechSettings()
    clock = SystemClock()
    table = _table(settings.table_name)
    return SpeechService(
        personalities=DynamoPersonalities(table, clock),
        samples=ChosenSamples(DynamoSamples(table)),
        receipts=receipt_store(settings),
        quota=CharacterQuota(DynamoTenants(table), DynamoUsage(table), clock),
        router=FallbackProvider(provider_registry(settings), clock),
        encoders=audio_encoder,
        observer=SpeechTelemetry(),
        clock=clock,
    )


def provider_registry(settings: SpeechSettings) -> ProviderRegistry:
    """Every provider of this deployment, none of them built yet."""
    from voice_gateway.adapters.s3_sample_windows import S3SampleWindows
    from voice_gateway.providers.espeak import EspeakProvider
    from voice_gateway.providers.piper import piper_on_triton
    from voice_gateway.providers.registry import ProviderRegistry
    from voice_gateway.providers.styletts2 import styletts2_on_triton
    from voice_gateway.providers.xtts_v2 import xtts_v2_on_triton

    def cloning(make: Callable[..., SpeechProvider]) -> Callable[[], SpeechProvider]:
        def made() -> SpeechProvider:
            samples = S3SampleWindows(_s3(), settings.samples_bucket)
            return make(settings.triton_url, tls=settings.triton_tls, samples=samples)

        return made

    known = {"xtts_v2": cloning(xtts_v2_on_triton), "styletts2": cloning(styletts2_on_triton)}
    return ProviderRegistry(
        {
            "piper": lambda: piper_on_triton(settings.triton_url, tls=settings.triton_tls),
            "espeak": EspeakProvider,
            **{name: known[name] for name in settings.cloning_models.split(",") if name},
        }
    )


@cache
def receipt_store(settings: FunctionSettings) -> ReceiptStore:
    """Where receipts wait for whoever asks after the stream."""
    from voice_gateway.adapters.dynamodb_receipts import DynamoReceipts

    return DynamoReceipts(_table(settings.table_name), SystemClock())


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
