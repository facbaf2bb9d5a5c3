"""What the personalities API has below one personality: its voice and its history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voice_gateway.api_models import PageQuery, PersonalityView, VersionPage
from voice_gateway.domain.access import Scope
from voice_gateway.handlers.conditions import etag, expected_versions, is_known
from voice_gateway.handlers.rest import (
    header,
    read_body,
    read_query,
    refuse_other_methods,
    send,
    send_nothing_new,
    tenant_of,
)
from voice_gateway.sample_models import VoiceBody, VoiceView

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
    from pydantic import BaseModel

    from voice_gateway.domain.personality import Character, Personality
    from voice_gateway.ports import VoiceMatchStore
    from voice_gateway.services.chosen_samples import ChosenSamples
    from voice_gateway.services.personalities import PersonalityService

ONE: Final = "/api/personalities/<personality_id>"
_VOICE: Final = f"{ONE}/voice"
_VERSIONS: Final = f"{ONE}/versions"
_RESTORE: Final = f"{ONE}/restore"
READ: Final = Scope.PERSONALITIES_READ
WRITE: Final = Scope.PERSONALITIES_WRITE


def bind_voice(
    app: APIGatewayRestResolver,
    service: PersonalityService,
    samples: ChosenSamples,
    matches: VoiceMatchStore,
) -> None:
    """Binds the routes of the voice alone."""

    @app.get(_VOICE)
    def get_voice(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, READ)
        found = service.get(tenant_id, personality_id)
        shown = voice_of(found)
        # What becomes of a sample, or who would speak elsewhere, is no version of the personality:
        # then the tag tells nothing.
        if shown.sample is None and shown.matches is None:
            return unless_known(app, found, shown)
        return send_version(found, shown)

    @app.put(_VOICE)
    def replace_voice(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, WRITE)
        expected = expected_versions(header(app.current_event, "if-match"))
        body = read_body(app.current_event, VoiceBody).config()

        def with_voice(present: Character) -> Character:
            return present.model_copy(update={"voice_config": body})

        changed = service.change(tenant_id, personality_id, with_voice, expected=expected)
        return send_version(changed, voice_of(changed))

    def voice_of(personality: Personality) -> VoiceView:
        matched = matches.find(personality.tenant_id, personality.id)
        return VoiceView.of(personality, samples.chosen(personality), matched)

    refuse_other_methods(app, _VOICE, allowed=("GET", "PUT"))


def bind_history(app: APIGatewayRestResolver, service: PersonalityService) -> None:
    """Binds the routes to what was."""

    @app.get(_VERSIONS)
    def list_versions(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, READ)
        query = read_query(app.current_event, PageQuery)
        page, cursor = service.versions(
            tenant_id, personality_id, limit=query.limit, cursor=query.cursor
        )
        return send(VersionPage.of(page, cursor))

    @app.post(_RESTORE)
    def restore_personality(personality_id: str) -> Response[str]:
        tenant_id = tenant_of(app.current_event, WRITE)
        expected = expected_versions(header(app.current_event, "if-match"))
        return send_version(service.restore(tenant_id, personality_id, expected=expected))

    refuse_other_methods(app, _VERSIONS, allowed=("GET",))
    refuse_other_methods(app, _RESTORE, allowed=("POST",))


def send_version(
    personality: Personality, shown: BaseModel | None = None, status: int = 200
) -> Response[str]:
    """A version, or what is shown of it, with its tag."""
    shown = shown or PersonalityView.of(personality)
    return send(shown, status, {"ETag": etag(personality.version)})


def unless_known(
    app: APIGatewayRestResolver, personality: Personality, shown: BaseModel | None = None
) -> Response[str]:
    """The same for a GET, which may know it already."""
    if is_known(header(app.current_event, "if-none-match"), personality.version):
        return send_nothing_new({"ETag": etag(personality.version)})
    return send_version(personality, shown)
