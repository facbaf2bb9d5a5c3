"""The samples API: what lies below a personality's voice, and the texts of consent."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from voice_gateway import bootstrap
from voice_gateway.domain.access import Scope
from voice_gateway.handlers.conditions import etag, expected_versions
from voice_gateway.handlers.personality_parts import ONE, READ, WRITE
from voice_gateway.handlers.rest import (
    caller_of,
    header,
    new_app,
    read_body,
    read_bytes,
    read_query,
    send,
    serve,
    tenant_of,
)
from voice_gateway.sample_models import (
    ChosenSampleBody,
    ConsentBody,
    ConsentTexts,
    ConsentView,
    SampleList,
    SampleView,
    UploadQuery,
    UploadView,
    VoiceView,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from voice_gateway.domain.personality import Personality
    from voice_gateway.services.voice_consents import VoiceConsentService
    from voice_gateway.services.voice_samples import VoiceSampleService

_VOICE: Final = f"{ONE}/voice"
_SAMPLES: Final = f"{ONE}/samples"
_SAMPLE: Final = f"{_SAMPLES}/<sample_id>"


def create_app(
    service: VoiceSampleService, consents: VoiceConsentService
) -> APIGatewayRestResolver:
    """Binds the routes to the services."""
    app = new_app()
    _bind_uploads(app, service)
    _bind_voice(app, service)
    _bind_samples(app, service)
    _bind_consent(app, consents)
    return app


def _bind_uploads(app: APIGatewayRestResolver, service: VoiceSampleService) -> None:
    @app.post(_VOICE)
    def upload_sample(personality_id: str) -> Response[str]:
        caller = caller_of(app.current_event, WRITE)
        query = read_query(app.current_event, UploadQuery)
        order = query.order(caller.tenant_id, personality_id, caller.id)
        sample = service.upload(order, read_bytes(app.current_event))
        here = app.current_event.request_context.path.rstrip("/").removesuffix("/voice")
        return send(SampleView.of(sample), 202, {"Location": f"{here}/samples/{sample.id}"})

    @app.post(f"{_VOICE}/uploads")
    def request_upload(personality_id: str) -> Response[str]:
        caller = caller_of(app.current_event, WRITE)
        query = read_query(app.current_event, UploadQuery)
        order = query.order(caller.tenant_id, personality_id, caller.id)
        return send(UploadView.of(*service.request_upload(order)), 201)


def _bind_voice(app: APIGatewayRestResolver, service: VoiceSampleService) -> None:
    @app.put(f"{_VOICE}/sample")
    def choose_sample(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, WRITE)
        expected = expected_versions(header(app.current_event, "if-match"))
        body = read_body(app.current_event, ChosenSampleBody)
        return voice(service.choose(tenant_id, personality_id, body.id, expected=expected))

    @app.delete(_VOICE)
    def remove_voice(personality_id: str) -> Response[str]:
        caller = caller_of(app.current_event, WRITE)
        return voice(service.remove_voice(caller.tenant_id, personality_id, caller.id))

    def voice(personality: Personality) -> Response[str]:
        shown = VoiceView.of(personality, service.chosen(personality))
        return send(shown, 200, {"ETag": etag(personality.version)})


def _bind_samples(app: APIGatewayRestResolver, service: VoiceSampleService) -> None:
    @app.get(_SAMPLES)
    def list_samples(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, READ)
        return send(SampleList.of(service.list(tenant_id, personality_id)))

    @app.get(_SAMPLE)
    def get_sample(personality_id: str, sample_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, READ)
        return send(SampleView.of(service.get(tenant_id, personality_id, sample_id)))

    @app.delete(_SAMPLE)
    def delete_sample(personality_id: str, sample_id: str) -> Response[str]:
        caller = caller_of(app.current_event, WRITE)
        buried = service.delete(caller.tenant_id, personality_id, sample_id, caller.id)
        return send(SampleView.of(buried))


def _bind_consent(app: APIGatewayRestResolver, service: VoiceConsentService) -> None:
    @app.get(f"{_VOICE}/consent")
    def get_consent(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, READ)
        return send(ConsentView.of(service.get(tenant_id, personality_id)))

    @app.post(f"{_VOICE}/consent")
    def give_consent(personality_id: str) -> Response[str]:
        caller = caller_of(app.current_event, WRITE)
        statement = read_body(app.current_event, ConsentBody).statement(caller.id)
        agreed = service.give(caller.tenant_id, personality_id, statement)
        return send(ConsentView.of(agreed), 201)

    @app.delete(f"{_VOICE}/consent")
    def revoke_consent(personality_id: str) -> Response[str]:
        caller = caller_of(app.current_event, Scope.CONSENT_REVOKE)
        gone = service.revoke(caller.tenant_id, personality_id, caller.id)
        return send(SampleList.of(gone))

    @app.get("/api/consent-texts")
    def list_consent_texts() -> Response[str]:
        tenant_of(app.current_event, READ)
        return send(ConsentTexts())


@cache
def _app() -> APIGatewayRestResolver:
    return create_app(bootstrap.voice_sample_service(), bootstrap.voice_consent_service())


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry."""
    return serve(_app(), event, context)
