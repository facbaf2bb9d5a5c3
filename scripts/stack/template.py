"""Reads template.yaml the way AWS does: through SAM's own translator.

Routes, authorizers, environments and limits are told once, in the template; the local gateway and
the tests take them from here.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from intrinsics import Resolver
from layout import REGION, TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

STORAGE_TYPES: Final = ("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue")
"""What the local AWS keeps; everything else of the template runs outside it."""

_INTEGRATION: Final = "x-amazon-apigateway-integration"
_FUNCTION_IN_URI: Final = re.compile(r":function:([^/]+)/")
_RATE: Final = re.compile(r"rate\((?P<number>\d+) (?P<unit>minute|hour|day)s?\)")
_UNIT_SECONDS: Final = {"minute": 60, "hour": 3600, "day": 86400}
_DEFAULT_INTEGRATION_MS: Final = 29_000
_MANAGED_POLICIES: Final = {
    "AWSLambdaBasicExecutionRole": (
        "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A Lambda function, its environment resolved."""

    name: str
    """The logical id."""
    handler: str
    runtime: str
    environment: Mapping[str, str]
    timeout: float
    """Seconds."""
    memory: int
    """Megabytes."""
    log_level: str

    @property
    def web_adapter(self) -> bool:
        """Whether the Lambda Web Adapter stands before it: the handler is then a start script."""
        return "AWS_LAMBDA_EXEC_WRAPPER" in self.environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorizer:
    """A Lambda REQUEST authorizer."""

    name: str
    function: str
    """The function's logical id."""
    ttl: float
    """Seconds for which an answer holds."""
    identity_headers: tuple[str, ...]
    """Lower case; a request that lacks one is refused unseen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A method on a path."""

    method: str
    path: str
    """With `{names}`."""
    function: str | None
    """The function's logical id; None for a mock, which answers by itself."""
    streaming: bool = False
    authorizer: str | None = None
    timeout: float = _DEFAULT_INTEGRATION_MS / 1000
    """Seconds that the integration may take."""
    mock_status: int = 200
    mock_headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayResponse:
    """What the gateway itself answers in one situation."""

    status: int | None
    """None leaves the situation's own."""
    headers: Mapping[str, str]
    body: str
    """With `$context` variables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The REST API."""

    stage: str
    routes: tuple[Route, ...]
    authorizers: Mapping[str, Authorizer]
    gateway_responses: Mapping[str, GatewayResponse]
    binary_media_types: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSource:
    """A queue whose messages a function gets."""

    queue: str
    """The queue's logical id."""
    url: str
    arn: str
    function: str
    """The function's logical id."""
    batch_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A function that is called by the clock."""

    rule: str
    """The rule's logical id."""
    function: str
    """The function's logical id."""
    seconds: float
    """From one call to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The whole template with nothing left to resolve."""

    functions: Mapping[str, Function]
    api: Api
    queues: tuple[QueueSource, ...] = ()
    schedules: tuple[Schedule, ...] = ()


def translate(path: Path = TEMPLATE) -> dict[str, Any]:
    """Expands the SAM template into plain CloudFormation.

    Raises:
        samtranslator.model.exceptions.InvalidDocumentException: SAM would refuse the template.
    """
    # The translator asks for a region at import, and is quiet only when told to be.
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator
    from samtranslator.yaml_helper import yaml_parse

    source = yaml_parse(path.read_text(encoding="utf-8"))
    # A local folder is what `sam package` would have uploaded by now.
    source.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
    for name, resource in source["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = f"s3://artifacts/{name}.zip"
    translated: dict[str, Any] = Translator(_MANAGED_POLICIES, Parser()).translate(source, {})
    return translated


def storage(translated: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the template that the local AWS creates: tables, buckets and queues."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": translated["Parameters"],
        "Resources": {
            # Without its wait for what is not created here, such as a policy.
            name: {key: value for key, value in resource.items() if key != "DependsOn"}
            for name, resource in translated["Resources"].items()
            if resource["Type"] in STORAGE_TYPES
        },
    }


def deployment(
    translated: Mapping[str, Any], parameters: Mapping[str, str], physical: Mapping[str, str]
) -> Deployment:
    """Resolves the template.

    Args:
        translated: What `translate` gave.
        parameters: Values for the template's parameters; the rest keep their defaults.
        physical: Logical id → physical id of what exists already.

    Raises:
        UnresolvedError: A value cannot be worked out on this machine.
    """
    resources = translated["Resources"]
    defaults = {
        name: str(parameter["Default"])
        for name, parameter in translated["Parameters"].items()
        if "Default" in parameter
    }
    resolve = Resolver(resources, {**defaults, **parameters}, physical)
    functions = {
        name: _function(name, resource["Properties"], resolve)
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    return Deployment(
        functions=functions,
        api=_api(resources, resolve),
        queues=tuple(
            _queue_source(resource["Properties"], resolve)
            for resource in resources.values()
            if resource["Type"] == "AWS::Lambda::EventSourceMapping"
        ),
        schedules=tuple(
            _schedule(name, resource["Properties"])
            for name, resource in resources.items()
            if resource["Type"] == "AWS::Events::Rule"
        ),
    )


def _function(name: str, properties: Mapping[str, Any], resolve: Resolver) -> Function:
    variables = properties.get("Environment", {}).get("Variables", {})
    return Function(
        name=name,
        handler=resolve(properties["Handler"]),
        runtime=resolve(properties["Runtime"]),
        environment={key: str(resolve(value)) for key, value in variables.items()},
        timeout=float(resolve(properties.get("Timeout", 3))),
        memory=int(resolve(properties.get("MemorySize", 128))),
        log_level=resolve(properties.get("LoggingConfig", {}).get("ApplicationLogLevel", "INFO")),
    )


def _queue_source(properties: Mapping[str, Any], resolve: Resolver) -> QueueSource:
    queue = properties["EventSourceArn"]["Fn::GetAtt"][0]
    return QueueSource(
        queue=queue,
        url=resolve({"Ref": queue}),
        arn=resolve(properties["EventSourceArn"]),
        function=properties["FunctionName"]["Ref"],
        batch_size=int(properties.get("BatchSize", 10)),
    )


def _schedule(name: str, properties: Mapping[str, Any]) -> Schedule:
    match = _RATE.fullmatch(properties["ScheduleExpression"])
    if match is None:
        raise ValueError(f"{name}: only rates are known to the local stack")
    (target,) = properties["Targets"]
    return Schedule(
        rule=name,
        function=target["Arn"]["Fn::GetAtt"][0],
        seconds=int(match["number"]) * _UNIT_SECONDS[match["unit"]],
    )


def _api(resources: Mapping[str, Any], resolve: Resolver) -> Api:
    (api,) = (r for r in resources.values() if r["Type"] == "AWS::ApiGateway::RestApi")
    (stage,) = (r for r in resources.values() if r["Type"] == "AWS::ApiGateway::Stage")
    body = resolve(api["Properties"]["Body"])
    schemes = body.get("components", {}).get("securitySchemes", {})
    return Api(
        stage=resolve(stage["Properties"]["StageName"]),
        routes=tuple(_routes(body["paths"])),
        authorizers={name: _authorizer(name, scheme) for name, scheme in schemes.items()},
        gateway_responses={
            name: _gateway_response(response)
            for name, response in body["x-amazon-apigateway-gateway-responses"].items()
        },
        binary_media_types=frozenset(body.get("x-amazon-apigateway-binary-media-types", ())),
    )


def _routes(paths: Mapping[str, Any]) -> Iterator[Route]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            integration = operation[_INTEGRATION]
            if integration["type"] == "mock":
                response = integration["responses"]["default"]
                yield Route(
                    method=method.upper(),
                    path=path,
                    function=None,
                    mock_status=int(response["statusCode"]),
                    mock_headers=_quoted_headers(response.get("responseParameters", {})),
                )
                continue
            security = [name for entry in operation.get("security", ()) for name in entry]
            yield Route(
                method=method.upper(),
                path=path,
                function=_function_in(integration["uri"]),
                streaming=integration.get("responseTransferMode") == "STREAM",
                authorizer=next((name for name in security if name != "NONE"), None),
                timeout=integration.get("timeoutInMillis", _DEFAULT_INTEGRATION_MS) / 1000,
                mock_headers={},
            )


def _authorizer(name: str, scheme: Mapping[str, Any]) -> Authorizer:
    details = scheme["x-amazon-apigateway-authorizer"]
    sources = details.get("identitySource", "")
    return Authorizer(
        name=name,
        function=_function_in(details["authorizerUri"]),
        ttl=float(details.get("authorizerResultTtlInSeconds", 300)),
        identity_headers=tuple(
            source.strip().removeprefix("method.request.header.").lower()
            for source in sources.split(",")
            if source.strip()
        ),
    )


def _gateway_response(response: Mapping[str, Any]) -> GatewayResponse:
    status = response.get("statusCode")
    return GatewayResponse(
        status=int(status) if status else None,
        headers=_quoted_headers(response.get("responseParameters", {})),
        body=response["responseTemplates"]["application/json"],
    )


def _quoted_headers(parameters: Mapping[str, str]) -> dict[str, str]:
    """`method.response.header.Name` → `'value'`, without prefix and quotes."""
    return {name.rpartition(".header.")[2]: value.strip("'") for name, value in parameters.items()}


def _function_in(uri: str) -> str:
    match = _FUNCTION_IN_URI.search(uri)
    if match is None:
        raise ValueError(f"no function in the integration {uri}")
    return match[1]
