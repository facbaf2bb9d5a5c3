from __future__ import annotations

import json

from gateway_responses import gateway_response
from template import GatewayResponse

RESPONSES = {
    "UNAUTHORIZED": GatewayResponse(
        status=401, headers={"Content-Type": "application/problem+json"}, body='{"a":1}'
    ),
    "MISSING_AUTHENTICATION_TOKEN": GatewayResponse(status=404, headers={}, body="{}"),
    "DEFAULT_5XX": GatewayResponse(
        status=None,
        headers={},
        body='{"m":$context.error.messageString,"id":"$context.requestId","x":"$context.stage"}',
    ),
}


def test_says_it_in_the_template_s_words() -> None:
    response = gateway_response(RESPONSES, "UNAUTHORIZED", 401, "id")
    assert (response.status, response.body) == (401, b'{"a":1}')
    assert response.headers["Content-Type"] == "application/problem+json"


def test_the_template_may_change_the_status() -> None:
    assert gateway_response(RESPONSES, "MISSING_AUTHENTICATION_TOKEN", 403, "id").status == 404


def test_falls_back_to_the_default_of_the_kind() -> None:
    response = gateway_response(RESPONSES, "INTEGRATION_TIMEOUT", 504, "id-1")
    assert response.status == 504
    assert response.body == b'{"m":"Endpoint request timed out","id":"id-1","x":"-"}'


def test_falls_back_to_api_gateway_s_own() -> None:
    response = gateway_response({}, "ACCESS_DENIED", 403, "id")
    assert response.status == 403
    assert isinstance(response.body, bytes)
    assert "not authorized" in json.loads(response.body)["message"]
