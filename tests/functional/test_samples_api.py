"""The samples API and the queue's function, from their events to their answers."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from fakes.events import REQUEST_ID, lambda_context, rest_event
from fakes.hostile import hostile_recordings
from fakes.sample_house import SampleHouse, bad_recording, bucket_event, good_recording, personality
from voice_gateway.domain.chain import PROVIDER_NAMES
from voice_gateway.domain.samples.consent import CONSENT_TEXTS
from voice_gateway.domain.samples.sample import SampleState, original_path
from voice_gateway.domain.samples.upload import MAX_DIRECT_BYTES
from voice_gateway.domain.tiers import Overrides, Plan, Tier
from voice_gateway.handlers.rest import serve
from voice_gateway.handlers.sample_validation import handle
from voice_gateway.handlers.voice_samples import create_app
from voice_gateway.observability import logger

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOP = {
    "tenant": "shop",
    "scopes": "personalities:read personalities:write consent:revoke",
    "key_id": "key-1",
}
OTHER = {**SHOP, "tenant": "other"}
VOICE = "/api/personalities/marcel/voice"
SAMPLES = "/api/personalities/marcel/samples"
SPEAKER = "Zoé Unsagbar"
CONSENT = {"speaker": SPEAKER, "attested_by": "Max Mustermann"}
NOWHERE = "f" * 32
ROUTES = [
    ("POST", VOICE, b"RIFF"),
    ("DELETE", VOICE, None),
    ("POST", f"{VOICE}/uploads", None),
    ("PUT", f"{VOICE}/sample", json.dumps({"id": NOWHERE})),
    ("GET", f"{VOICE}/consent", None),
    ("POST", f"{VOICE}/consent", json.dumps(CONSENT)),
    ("DELETE", f"{VOICE}/consent", None),
    ("GET", SAMPLES, None),
    ("GET", f"{SAMPLES}/{NOWHERE}", None),
    ("DELETE", f"{SAMPLES}/{NOWHERE}", None),
]


HOSTILE = hostile_recordings()


class Client:
    def __init__(self) -> None:
        self.house = SampleHouse()
        self._app = create_app(self.house.api, self.house.consents)

    def send(
        self,
        method: str,
        url: str,
        body: str | bytes | None = None,
        *,
        authorizer: Mapping[str, object] | None = SHOP,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        event = rest_event(method, url, body=body, authorizer=authorizer, headers=headers)
        raw = serve(self._app, event, lambda_context())
        self.headers = {k.lower(): v[0] for k, v in raw["multiValueHeaders"].items()}
        assert self.headers["x-request-id"] == REQUEST_ID
        answer = json.loads(raw["body"])
        if raw["statusCode"] >= 400:
            assert self.headers["content-type"] == "application/problem+json"
            assert answer["status"] == raw["statusCode"]
        return raw["statusCode"], answer

    def json(self, method: str, url: str, body: object, **kwargs: Any) -> tuple[int, Any]:
        return self.send(method, url, json.dumps(body), **kwargs)

    def bucket_tells(self, sample_id: str, tenant_id: str = "shop") -> None:
        handle(self.house.care, bucket_event(original_path(tenant_id, sample_id)))

    def validated(self, data: bytes | None = None, query: str = "") -> str:
        """Uploads a recording and has it validated; returns its id."""
        status, sample = self.send("POST", f"{VOICE}{query}", data or good_recording())
        assert (status, sample["state"]) == (202, "received")
        self.bucket_tells(sample["id"])
        return str(sample["id"])


@pytest.fixture
def client() -> Client:
    return Client()


class TestDoor:
    @pytest.mark.parametrize(("method", "url", "body"), ROUTES)
    def test_nobody_gets_in_without_a_right(
        self, client: Client, method: str, url: str, body: str | bytes | None
    ) -> None:
        assert client.send(method, url, body, authorizer=None)[0] == 401
        weak = {**SHOP, "scopes": "speech:write speech:read"}
        assert client.send(method, url, body, authorizer=weak)[0] == 403
        if method != "GET":
            reader = {**SHOP, "scopes": "personalities:read"}
            assert client.send(method, url, body, authorizer=reader)[0] == 403
        if url.endswith("/consent"):
            editor = {**SHOP, "scopes": "personalities:read personalities:write"}
            refused = client.send(method, url, body, authorizer=editor)[0] == 403
            assert refused == (method == "DELETE")

    @pytest.mark.parametrize(("method", "url", "body"), ROUTES)
    def test_another_tenant_s_is_as_one_that_is_not_there(
        self, client: Client, method: str, url: str, body: str | bytes | None
    ) -> None:
        sample = client.validated()
        client.json("POST", f"{VOICE}/consent", CONSENT)
        url = url.replace(NOWHERE, sample)
        body = body.replace(NOWHERE, sample) if isinstance(body, str) else body
        theirs = client.send(method, url, body, authorizer=OTHER)
        nobody = client.send(method, url.replace("marcel", "nobody"), body)
        assert theirs[0] == nobody[0] == 404
        assert theirs == nobody

    def test_a_sample_is_found_under_its_own_personality_only(self, client: Client) -> None:
        sample = client.validated()
        client.house.repository.create(personality("zac"))
        other = f"/api/personalities/zac/samples/{sample}"
        assert client.send("GET", other)[0] == 404
        assert client.send("DELETE", other)[0] == 404
        assert client.json("PUT", "/api/personalities/zac/voice/sample", {"id": sample})[0] == 404
        body = {**CONSENT, "sample_id": sample}
        assert client.json("POST", "/api/personalities/zac/voice/consent", body)[0] == 404


class TestUpload:
    def test_is_taken_validated_and_shown(self, client: Client) -> None:
        status, taken = client.send("POST", VOICE, good_recording())
        assert (status, taken["state"], taken["report"]) == (202, "received", None)
        where = f"/prod{SAMPLES}/{taken['id']}"
        assert client.headers["location"] == where
        client.bucket_tells(taken["id"])
        status, shown = client.send("GET", f"{SAMPLES}/{taken['id']}")
        assert (status, shown["state"], shown["refusal"]) == (200, "validated", "consent_missing")
        assert shown["report"]["content_hash"] == hashlib.sha256(good_recording()).hexdigest()
        assert {w["provider"] for w in shown["windows"]} <= set(PROVIDER_NAMES)
        assert client.send("GET", SAMPLES)[1] == {"samples": [shown]}
        assert "tenant_id" not in shown

    def test_a_rejected_one_says_what_to_do(self, client: Client) -> None:
        sample = client.validated(bad_recording())
        _, shown = client.send("GET", f"{SAMPLES}/{sample}")
        assert shown["state"] == "rejected"
        assert shown["report"]["findings"][0]["advice"] == shown["report"]["reason"]

    def test_empty(self, client: Client) -> None:
        for body in (None, b"", ""):
            status, problem = client.send("POST", VOICE, body)
            assert (status, problem["errors"][0]["field"]) == (422, "body")

    def test_too_large_for_this_way(self, client: Client) -> None:
        status, problem = client.send("POST", VOICE, bytes(MAX_DIRECT_BYTES + 1))
        assert status == 413
        assert "/voice/uploads" in problem["detail"]
        assert client.send("POST", VOICE, bytes(MAX_DIRECT_BYTES))[0] == 202

    def test_what_came_as_text_is_no_recording(self, client: Client) -> None:
        status, problem = client.send("POST", VOICE, "RIFF\ufffd\ufffd")
        assert (status, problem["errors"][0]["field"]) == (415, "content-type")

    @pytest.mark.parametrize("query", ["?activate=maybe", "?purpose=fun"])
    def test_names_the_wrong_field(self, client: Client, query: str) -> None:
        for url in (VOICE, f"{VOICE}/uploads"):
            status, problem = client.send("POST", url + query, b"RIFF")
            assert status == 422
            assert problem["errors"][0]["field"] in query

    def test_a_form_for_more(self, client: Client) -> None:
        status, given = client.send("POST", f"{VOICE}/uploads?activate=false")
        assert (status, given["sample"]["state"]) == (201, "awaiting_upload")
        path = original_path("shop", given["sample"]["id"])
        assert given["fields"]["key"] == path
        assert given["max_bytes"] == 64 * 2**20
        client.house.files.write(path, good_recording())
        client.bucket_tells(given["sample"]["id"])
        _, shown = client.send("GET", f"{SAMPLES}/{given['sample']['id']}")
        assert (shown["state"], shown["activate"]) == ("validated", False)

    def test_the_tier_s_limits(self, client: Client) -> None:
        client.house.tenants.put("shop", Plan(tier=Tier.FREE))
        status, problem = client.send("POST", VOICE, good_recording())
        assert (status, problem["tier"], problem["limit"]) == (402, "free", 0)
        # Without becoming a voice it may be looked at.
        sample = client.validated(query="?activate=false")
        assert client.json("PUT", f"{VOICE}/sample", {"id": sample})[0] == 402
        assert client.json("POST", f"{VOICE}/consent", CONSENT)[0] == 402
        status, problem = client.send("POST", f"{VOICE}/uploads?activate=false")
        assert (status, problem["limit"], problem["usage"]) == (402, 1, 1)
        assert client.send("DELETE", f"{SAMPLES}/{sample}")[0] == 200
        assert client.send("POST", f"{VOICE}/uploads?activate=false")[0] == 201
        client.house.tenants.put("shop", Plan(overrides=Overrides(samples=0, cloning=True)))
        assert client.send("POST", VOICE, good_recording())[0] == 402


class TestHostile:
    @pytest.mark.parametrize("name", sorted(HOSTILE))
    def test_ends_in_a_report_that_says_what_is_wrong(self, client: Client, name: str) -> None:
        data, code = HOSTILE[name]
        sample = client.validated(data)
        _, shown = client.send("GET", f"{SAMPLES}/{sample}")
        assert shown["state"] == "rejected"
        assert shown["report"]["findings"][0]["code"] == code
        assert client.house.personalities.get("shop", "marcel").voice_config.sample_path is None

    @pytest.mark.parametrize("sample_id", ["..", "%2e%2e", "0" * 31, "G" * 32, "0" * 2000, "💥"])
    def test_no_id_leads_astray(self, client: Client, sample_id: str) -> None:
        assert client.send("GET", f"{SAMPLES}/{sample_id}")[0] == 404
        assert client.send("DELETE", f"{SAMPLES}/{sample_id}")[0] == 404


class TestChoice:
    def test_another_sample(self, client: Client) -> None:
        first = client.validated()
        second = client.validated(good_recording(180.0), "?activate=false")
        status, voice = client.json("PUT", f"{VOICE}/sample", {"id": second})
        assert (status, voice["sample"]["id"]) == (200, second)
        assert client.headers["etag"] == '"3"'
        stale = {"if-match": '"2"'}
        assert client.json("PUT", f"{VOICE}/sample", {"id": first}, headers=stale)[0] == 412
        fresh = {"if-match": '"3"'}
        assert client.json("PUT", f"{VOICE}/sample", {"id": first}, headers=fresh)[0] == 200

    def test_only_of_voices_that_were_validated(self, client: Client) -> None:
        rejected = client.validated(bad_recording())
        spoken = client.validated(query="?purpose=consent")
        for sample in (rejected, spoken):
            assert client.json("PUT", f"{VOICE}/sample", {"id": sample})[0] == 409
        assert client.json("PUT", f"{VOICE}/sample", {"id": NOWHERE})[0] == 404
        assert client.json("PUT", f"{VOICE}/sample", {"id": "../x"})[0] == 422

    def test_taking_the_voice_away(self, client: Client) -> None:
        sample = client.validated()
        status, voice = client.send("DELETE", VOICE)
        assert (status, voice["sample_path"], voice["sample"]) == (200, None, None)
        assert client.house.samples.get("shop", sample).tombstone is not None
        client.house.work_off()
        assert client.house.files.versions == {}
        assert client.send("GET", SAMPLES)[1] == {"samples": []}
        _, shown = client.send("GET", f"{SAMPLES}/{sample}")
        assert (shown["state"], shown["tombstone"]["by"]) == ("purged", "key-1")
        assert client.send("DELETE", VOICE)[0] == 404

    def test_deleting_one_that_was_chosen(self, client: Client) -> None:
        sample = client.validated()
        assert client.send("DELETE", f"{SAMPLES}/{sample}")[1]["state"] == "purging"
        client.house.work_off()
        assert client.house.personalities.get("shop", "marcel").voice_config.sample_path is None
        assert client.send("DELETE", f"{SAMPLES}/{sample}")[1]["state"] == "purged"

    def test_a_queue_that_is_away_is_told_and_asked_again(self, client: Client) -> None:
        sample = client.validated()
        client.house.queue.broken = True
        assert client.send("DELETE", f"{SAMPLES}/{sample}")[0] == 503
        # It is unusable all the same.
        assert client.house.samples.get("shop", sample).refusal == "sample_gone"
        client.house.queue.broken = False
        assert client.send("DELETE", f"{SAMPLES}/{sample}")[0] == 200
        assert client.house.queue.waiting == [("shop", sample)]


class TestConsent:
    def test_lets_the_voice_be_cloned(self, client: Client) -> None:
        sample = client.validated()
        status, consent = client.json("POST", f"{VOICE}/consent", CONSENT)
        assert (status, consent["sample_id"], consent["valid"]) == (201, sample, True)
        # The personality speaks French, so the text is French, and holds the speaker's name.
        assert consent["language"] == "fr-CA"
        assert consent["text"] == CONSENT_TEXTS["fr"].format(speaker=SPEAKER)
        assert consent["text_hash"] == hashlib.sha256(consent["text"].encode()).hexdigest()
        assert client.send("GET", f"{VOICE}/consent") == (200, consent)
        assert client.send("GET", f"{SAMPLES}/{sample}")[1]["refusal"] is None

    def test_keeps_the_words_as_they_were_given(self, client: Client) -> None:
        client.validated()
        words = "Ja, ich will, dass der Laden mit meiner Stimme spricht. {speaker} 100 %"
        body = {**CONSENT, "language": "de", "text": words}
        assert client.json("POST", f"{VOICE}/consent", body)[1]["text"] == words

    def test_is_given_once(self, client: Client) -> None:
        client.validated()
        client.json("POST", f"{VOICE}/consent", CONSENT)
        again = {**CONSENT, "attested_by": "Somebody Else"}
        assert client.json("POST", f"{VOICE}/consent", again)[0] == 409
        assert client.send("GET", f"{VOICE}/consent")[1]["attested_by"] == "Max Mustermann"

    def test_is_about_one_recording(self, client: Client) -> None:
        """Whoever still has the form uploads somebody else under the same id."""
        sample = client.validated()
        client.json("POST", f"{VOICE}/consent", CONSENT)
        client.house.files.write(original_path("shop", sample), good_recording(180.0))
        client.bucket_tells(sample)
        shown = client.send("GET", f"{SAMPLES}/{sample}")[1]
        assert (shown["state"], shown["refusal"]) == ("validated", "consent_missing")
        assert client.send("GET", f"{VOICE}/consent")[1]["valid"] is False
        assert client.json("POST", f"{VOICE}/consent", CONSENT)[0] == 201

    def test_of_what_was_validated_only(self, client: Client) -> None:
        assert client.json("POST", f"{VOICE}/consent", CONSENT)[0] == 409
        rejected = client.validated(bad_recording())
        body = {**CONSENT, "sample_id": rejected}
        assert client.json("POST", f"{VOICE}/consent", body)[0] == 409
        body = {**CONSENT, "sample_id": NOWHERE}
        assert client.json("POST", f"{VOICE}/consent", body)[0] == 404

    def test_a_language_without_a_text_of_ours(self, client: Client) -> None:
        client.validated()
        body = {**CONSENT, "language": "tlh"}
        status, problem = client.json("POST", f"{VOICE}/consent", body)
        assert (status, problem["errors"][0]["field"]) == (422, "text")

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"speaker": " "}, "speaker"),
            ({"speaker": "a\nb"}, "speaker"),
            ({"speaker": "a\0b"}, "speaker"),
            ({"attested_by": "a\u2028b"}, "attested_by"),
            ({"attested_by": None}, "attested_by"),
            ({"text": "yes"}, "text"),
            ({"language": "english!"}, "language"),
            ({"sample_id": "../x"}, "sample_id"),
            ({"ok": True}, "ok"),
        ],
    )
    def test_names_the_wrong_field(
        self, client: Client, change: dict[str, Any], field: str
    ) -> None:
        status, problem = client.json("POST", f"{VOICE}/consent", {**CONSENT, **change})
        assert (status, problem["errors"][0]["field"]) == (422, field)

    def test_the_recording_of_it(self, client: Client) -> None:
        voice = client.validated()
        spoken = client.validated(good_recording(180.0), "?purpose=consent")
        wrong = {**CONSENT, "recording_id": voice}
        assert client.json("POST", f"{VOICE}/consent", wrong)[0] == 422
        body = {**CONSENT, "recording_id": spoken}
        assert client.json("POST", f"{VOICE}/consent", body)[1]["recording_id"] == spoken
        # It goes with the voice.
        client.send("DELETE", VOICE)
        client.house.work_off()
        assert client.house.samples.get("shop", spoken).state is SampleState.PURGED
        assert client.house.files.versions == {}

    def test_revoking_ends_everything_at_once(self, client: Client) -> None:
        samples = [client.validated(), client.validated(good_recording(180.0))]
        client.json("POST", f"{VOICE}/consent", CONSENT)
        status, gone = client.send("DELETE", f"{VOICE}/consent")
        assert status == 200
        assert {s["id"] for s in gone["samples"]} == set(samples)
        # Before anybody has worked anything off:
        for sample in samples:
            buried = client.house.samples.get("shop", sample)
            assert buried.refusal == "sample_gone"
            assert SPEAKER not in buried.model_dump_json()
        client.house.work_off()
        assert client.house.files.versions == {}
        assert client.send("DELETE", f"{VOICE}/consent")[0] == 404
        assert client.send("GET", f"{VOICE}/consent")[0] == 404

    def test_is_taken_back_of_a_deleted_personality_too(self, client: Client) -> None:
        """It could be restored, with its voice."""
        sample = client.validated()
        client.json("POST", f"{VOICE}/consent", CONSENT)
        client.house.personalities.delete("shop", "marcel")
        assert client.send("DELETE", f"{VOICE}/consent")[0] == 200
        client.house.work_off()
        client.house.personalities.restore("shop", "marcel")
        assert client.house.files.versions == {}
        assert client.house.samples.get("shop", sample).refusal == "sample_gone"

    def test_one_personality_decides_nothing_of_another_s_sample(self, client: Client) -> None:
        sample = client.validated()
        client.house.repository.create(personality("zac"))
        client.house.personalities.speak_from("shop", "zac", original_path("shop", sample))
        zac = "/api/personalities/zac/voice"
        assert client.json("POST", f"{zac}/consent", CONSENT)[0] == 409
        assert client.send("DELETE", f"{zac}/consent")[0] == 404
        assert client.send("DELETE", zac)[0] == 200
        assert client.house.samples.get("shop", sample).state is SampleState.VALIDATED
        assert client.send("GET", VOICE.removesuffix("/voice") + "/samples")[1]["samples"]

    def test_our_texts(self, client: Client) -> None:
        status, answer = client.send("GET", "/api/consent-texts")
        assert (status, answer["texts"]) == (200, CONSENT_TEXTS)
        assert len(CONSENT_TEXTS) == 17
        for text in CONSENT_TEXTS.values():
            assert text.count("{speaker}") == text.count("{") == text.count("}") == 1


class TestQueue:
    def test_what_is_not_ours_is_passed_over(self, client: Client) -> None:
        for path in ("x", "tenants/shop/samples/short/original", "tenants/shop/speech/1/original"):
            assert handle(client.house.care, bucket_event(path)) == {"attended": 0}
        test = {
            "Records": [{"body": json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"})}]
        }
        assert handle(client.house.care, test) == {"attended": 0}

    def test_keys_come_as_urls_write_them(self, client: Client) -> None:
        sample = client.send("POST", VOICE, good_recording())[1]["id"]
        path = original_path("shop", sample).replace("/", "%2F")
        assert handle(client.house.care, bucket_event(path)) == {"attended": 1}
        assert client.house.samples.get("shop", sample).state is SampleState.VALIDATED

    def test_the_clock_sweeps(self, client: Client) -> None:
        client.send("POST", f"{VOICE}/uploads")
        client.house.clock.advance(7200)
        assert handle(client.house.care, {"source": "aws.events"}) == {"swept": 1}


def test_names_and_words_reach_no_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    logger().addHandler(caplog.handler)
    with caplog.at_level(logging.DEBUG):
        client.validated()
        client.json("POST", f"{VOICE}/consent", {**CONSENT, "text": SPEAKER * 3})
        client.json("POST", f"{VOICE}/consent", {**CONSENT, "text": SPEAKER * 3})
        client.send("DELETE", f"{VOICE}/consent")
        client.house.work_off()
    logger().removeHandler(caplog.handler)
    assert SPEAKER not in caplog.text
