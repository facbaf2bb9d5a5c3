"""API Gateway's REQUEST authorizer: API key or person's token → tenant and scopes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from voice_gateway import bootstrap
from voice_gateway.observability import logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from voice_gateway.services.authorization import AuthorizationService, Identity


def authorize(service: AuthorizationService, event: Mapping[str, Any]) -> dict[str, Any]:
    """Answers API Gateway's question.

    Raises:
        Exception: `Unauthorized`, the very word from which API Gateway makes a 401.
        KeySetUnavailableError: Nobody could say whose token it is; API Gateway makes a 500 of it.
        StorageUnavailableError: The table did not answer; API Gateway makes a 500 of it.
    """
    identity = service.identify(_header(event, "authorization"))
    if identity is None:
        logger().info("caller refused")
        raise Exception("Unauthorized")
    return _policy(identity, str(event["methodArn"]))


@cache
def _service() -> AuthorizationService:
    return bootstrap.authorization_service()


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Lambda's entry."""
    logger().set_correlation_id(event["requestContext"]["requestId"])
    return authorize(_service(), event)


def _header(event: Mapping[str, Any], name: str) -> str | None:
    headers: Mapping[str, str] = event.get("headers") or {}
    return next((value for key, value in headers.items() if key.lower() == name), None)


def _policy(identity: Identity, method_arn: str) -> dict[str, Any]:
    # API Gateway keeps the answer for the header, not for the method: a policy for this method
    # alone would refuse the caller's next call elsewhere. What a caller may do, the scopes say.
    api, stage = method_arn.split("/")[:2]
    return {
        "principalId": identity.tenant_id,
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Action": "execute-api:Invoke",
                    "Effect": "Allow",
                    "Resource": f"{api}/{stage}/*/*",
                }
            ],
        },
        "context": {
            "tenant": identity.tenant_id,
            "scopes": " ".join(sorted(identity.scopes)),
            "key_id": identity.key_id,
        },
    }
