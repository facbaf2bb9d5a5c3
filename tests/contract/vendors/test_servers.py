"""The local vendors are what they pretend to be: the vendors' own SDKs, unhelped, talk to them."""

from __future__ import annotations

import gc
import warnings
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from layout import VENDORS_KEY

if TYPE_CHECKING:
    from fakes.vendors import Vendors

pytestmark = pytest.mark.integration

TEXT = "Welcome in."


def test_ibm_s_own_websocket_call(vendors: Vendors) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ibm_watson import TextToSpeechV1
    from ibm_cloud_sdk_core.authenticators import IAMAuthenticator
    from ibm_watson.websocket import SynthesizeCallback

    class Heard(SynthesizeCallback):
        def __init__(self) -> None:
            super().__init__()
            self.audio = b""
            self.kinds: list[str] = []
            self.timings: list[Any] = []

        def on_audio_stream(self, audio_stream: bytes) -> None:
            self.audio += audio_stream

        def on_content_type(self, content_type: str) -> None:
            self.kinds.append(content_type)

        def on_timing_information(self, timing_information: object) -> None:
            self.timings.append(timing_information)

    service = TextToSpeechV1(authenticator=IAMAuthenticator(VENDORS_KEY, url=vendors.http))
    # The SDK makes wss of https, and leaves http alone.
    service.set_service_url(vendors.http.replace("http:", "ws:"))
    heard = Heard()
    with warnings.catch_warnings():
        # The SDK leaves its socket to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        service.synthesize_using_websocket(
            TEXT,
            heard,
            accept="audio/l16;rate=22050",
            voice="en-US_AllisonV3Voice",
            timings=["words"],
        )
        gc.collect()
    assert heard.kinds == ["audio/l16;rate=22050;endianness=little-endian"]
    assert len(heard.audio) > 22_050
    ((first, second),) = (timing["words"] for timing in heard.timings)
    assert (first[0], second[0]) == ("Welcome", "in.")

    service.set_service_url(vendors.http)
    posted = service.synthesize(TEXT, voice="en-US_AllisonV3Voice", accept="audio/l16;rate=22050")
    assert len(posted.get_result().content) == pytest.approx(len(heard.audio), rel=0.02)
    assert len(vendors.calls("watson", "token")) == 1
    service.http_client.close()


def test_azure_s_own_call_that_waits_for_all_of_it(vendors: Vendors) -> None:
    import azure.cognitiveservices.speech as sdk

    config = sdk.SpeechConfig(subscription=VENDORS_KEY, host=vendors.http)
    config.speech_synthesis_voice_name = "en-US-JennyNeural"
    synthesizer = sdk.SpeechSynthesizer(speech_config=config, audio_config=None)
    result = synthesizer.speak_text_async(TEXT).get()
    assert result.reason is sdk.ResultReason.SynthesizingAudioCompleted
    assert result.audio_duration.total_seconds() > 0.5
    assert [call["text"] for call in vendors.calls("azure")] == [TEXT]


def test_google_refuses_what_the_real_one_refuses(vendors: Vendors) -> None:
    import grpc
    from google.api_core.exceptions import InvalidArgument
    from google.cloud import texttospeech_v1 as tts
    from google.cloud.texttospeech_v1.services.text_to_speech.transports import (
        TextToSpeechGrpcTransport,
    )

    with grpc.insecure_channel(vendors.grpc) as channel:
        client = tts.TextToSpeechClient(transport=TextToSpeechGrpcTransport(channel=channel))
        with pytest.raises(InvalidArgument):
            client.synthesize_speech(
                input=tts.SynthesisInput(text=TEXT),
                voice=tts.VoiceSelectionParams(language_code="en-US", name="en-US-Chirp3-HD-Kore"),
                audio_config=tts.AudioConfig(audio_encoding=tts.AudioEncoding.LINEAR16, pitch=2.0),
                metadata=(("x-goog-api-key", VENDORS_KEY),),
            )


@pytest.mark.parametrize(
    "order",
    [
        {"vendor": "polly", "fault": "cut"},
        {"vendor": "azure", "fault": "explode"},
        {"vendor": "azure", "fault": "quota", "contains": "Hello"},
        {"vendor": "azure", "fault": "cut", "operation": "voices"},
        {"vendor": "azure", "fault": "cut", "cal": 1},
    ],
)
def test_an_order_that_nobody_can_obey(vendors: Vendors, order: dict[str, str]) -> None:
    assert httpx.post(f"{vendors.http}/_control/orders", json=order).status_code == 422
