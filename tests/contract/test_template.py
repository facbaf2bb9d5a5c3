"""template.yaml and the code agree: handlers, environments, routes, packages."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import layout
import template
from template import Function
from voice_gateway import settings
from voice_gateway.domain.samples.sample import original_path
from voice_gateway.settings import FunctionSettings

ROOT = Path(__file__).parents[2]
TRANSLATED = template.translate()
DEPLOYMENT = template.deployment(TRANSLATED, layout.template_parameters(), {})
RESOURCES: dict[str, Any] = TRANSLATED["Resources"]

# Told to the runtime, the adapter or Powertools; everything else is told to a settings model.
NOT_SETTINGS = re.compile(r"AWS_|POWERTOOLS_|PORT$")
OPEN_ROUTES: set[tuple[str, str]] = set()
"""Routes that anybody may call: none."""
_SAMPLE_KEEPER = {"GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"}
RIGHTS = {
    "SpeechFunction": {
        "Table": {"GetItem", "PutItem", "UpdateItem", "Query"},
        "SamplesBucket/tenants/*/samples/*": {"GetObject"},
    },
    "CostsFunction": {"Table": {"GetItem", "PutItem", "Query"}},
    "PersonalitiesFunction": {"Table": {"GetItem", "PutItem", "UpdateItem", "Query"}},
    "AccountFunction": {"Table": {"GetItem", "PutItem", "UpdateItem", "Query"}},
    "AuthorizerFunction": {"Table": {"GetItem", "UpdateItem"}},
    "SamplesFunction": {
        "Table": _SAMPLE_KEEPER,
        "SamplesBucket/tenants/*/samples/*/original": {"PutObject"},
        "SampleQueue": {"SendMessage"},
    },
    "SampleValidationFunction": {
        "Table": _SAMPLE_KEEPER,
        "SamplesBucket": {"ListBucket", "ListBucketVersions"},
        "SamplesBucket/tenants/*/samples/*": {
            "GetObject",
            "GetObjectVersion",
            "PutObject",
            "DeleteObjectVersion",
        },
        "SampleQueue": {
            "SendMessage",
            "ReceiveMessage",
            "DeleteMessage",
            "GetQueueAttributes",
        },
    },
}
"""What each function may do with what."""
IN_VPC = {"SpeechFunction", "SampleValidationFunction"}
"""Who reaches Redis and Triton."""
SERVICES = {"Table": "dynamodb", "SamplesBucket": "s3", "SampleQueue": "sqs"}
KEPT_OUT = {"torch", "onnxruntime", "piper-tts", "transformers", "scipy", "aiohttp", "pytest"}

each_function = pytest.mark.parametrize(
    "function", DEPLOYMENT.functions.values(), ids=lambda function: function.name
)


def settings_of(function: Function) -> type[FunctionSettings]:
    """By name: `SpeechFunction` reads `SpeechSettings`."""
    found = getattr(settings, function.name.removesuffix("Function") + "Settings")
    assert issubclass(found, FunctionSettings)
    return found


@each_function
def test_handlers_are_there(function: Function) -> None:
    handler = function.handler
    if function.web_adapter:
        script = layout.FUNCTIONS / handler
        assert script.stat().st_mode & 0o111
        match = re.search(r"uvicorn ([\w.]+):(\w+) --factory", script.read_text(encoding="utf-8"))
        assert match
        module, name = match.groups()
    else:
        module, _, name = handler.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


@each_function
def test_environments_are_what_the_settings_read(function: Function) -> None:
    told = {name for name in function.environment if not NOT_SETTINGS.match(name)}
    assert {name.lower() for name in told} == set(settings_of(function).model_fields)


@each_function
def test_settings_accept_what_the_local_stack_tells(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in function.environment.items():
        monkeypatch.setenv(name, value)
    settings_of(function)()


def test_no_settings_are_nobody_s() -> None:
    models = {
        model
        for model in vars(settings).values()
        if isinstance(model, type) and issubclass(model, FunctionSettings)
    } - {FunctionSettings}
    assert models == {settings_of(function) for function in DEPLOYMENT.functions.values()}


@each_function
def test_every_function_is_built_alike(function: Function) -> None:
    properties = RESOURCES[function.name]["Properties"]
    assert properties["Runtime"] == {"Ref": "LambdaRuntime"}
    assert properties["Architectures"] == ["x86_64"]
    assert properties["LoggingConfig"]["LogFormat"] == "JSON"
    retention = RESOURCES[properties["LoggingConfig"]["LogGroup"]["Ref"]]["Properties"]
    assert retention["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_the_default_runtime_is_one_that_the_packages_support() -> None:
    # 3.11's system library is too old for numpy's wheels.
    assert TRANSLATED["Parameters"]["LambdaRuntime"]["Default"] == "python3.12"


def test_nobody_gets_in_without_a_key() -> None:
    routes = [route for route in DEPLOYMENT.api.routes if route.function]
    assert routes
    assert {(r.method, r.path) for r in routes if not r.authorizer} == OPEN_ROUTES
    # A preflight carries no key; it is answered without any function.
    assert all(r.method == "OPTIONS" for r in DEPLOYMENT.api.routes if not r.function)


def test_routes_stream_behind_the_web_adapter_and_only_there() -> None:
    """The adapter answers in the streaming format always, which a buffered integration refuses."""
    for route in DEPLOYMENT.api.routes:
        if route.function:
            assert route.streaming == DEPLOYMENT.functions[route.function].web_adapter, route.path


def test_speech_has_the_time_that_its_function_has() -> None:
    (speech,) = (r for r in DEPLOYMENT.api.routes if (r.method, r.path) == ("POST", "/api/speech"))
    assert speech.timeout == DEPLOYMENT.functions["SpeechFunction"].timeout == 900


def test_the_web_app_has_the_routes_that_lead_to_it() -> None:
    from starlette.routing import Route

    from voice_gateway.handlers.speech import create_app

    served = {
        (method, route.path)
        for route in create_app().routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    function = DEPLOYMENT.functions["SpeechFunction"]
    readiness = ("GET", function.environment["AWS_LWA_READINESS_CHECK_PATH"])
    routed = {(r.method, r.path) for r in DEPLOYMENT.api.routes if r.function == function.name}
    assert served - {readiness} == routed
    assert readiness in served


def _rest_apps() -> dict[str, Any]:
    from fakes.api_keys import FakeApiKeys
    from fakes.clock import FakeClock
    from fakes.personalities import FakePersonalities
    from fakes.sample_house import SampleHouse
    from fakes.tenants import FakeTenants
    from fakes.usage import FakeUsage
    from fakes.voice_matches import FakeVoiceMatches
    from voice_gateway.handlers import account, personalities, voice_samples
    from voice_gateway.services.api_keys import ApiKeyService
    from voice_gateway.services.chosen_samples import ChosenSamples
    from voice_gateway.services.personalities import PersonalityService
    from voice_gateway.services.usage import UsageService

    clock, tenants, samples = FakeClock(), FakeTenants(), SampleHouse()
    service = PersonalityService(FakePersonalities(), clock, tenants=tenants)
    return {
        "PersonalitiesFunction": personalities.create_app(
            service, ChosenSamples(samples.samples), FakeVoiceMatches()
        ),
        "AccountFunction": account.create_app(
            ApiKeyService(FakeApiKeys(), clock), UsageService(tenants, FakeUsage(), clock)
        ),
        "SamplesFunction": voice_samples.create_app(samples.api, samples.consents),
    }


@pytest.mark.parametrize(
    "function", ["PersonalitiesFunction", "AccountFunction", "SamplesFunction"]
)
def test_a_rest_app_has_the_routes_that_lead_to_it(function: str) -> None:
    app = _rest_apps()[function]
    served = {
        (route.method, re.sub(r"<(\w+)>", r"{\1}", route.path))
        for route in (*app._static_routes, *app._dynamic_routes)
        if route.func.__name__ != "refuse"
    }
    routed = {(r.method, r.path) for r in DEPLOYMENT.api.routes if r.function == function}
    assert served == routed


def test_the_costs_app_has_the_routes_that_lead_to_it() -> None:
    from fakes.budgets import FakeBudgets
    from fakes.clock import FakeClock
    from fakes.receipts import FakeReceipts
    from voice_gateway.handlers.costs import create_app
    from voice_gateway.services.budgets import BudgetService
    from voice_gateway.services.costs import CostService

    clock = FakeClock()
    ledger = FakeReceipts(clock)
    budgets = BudgetService(FakeBudgets(), ledger, clock)
    app = create_app(CostService(ledger, ledger, budgets, clock))
    served = {
        (route.method, route.path)
        for route in (*app._static_routes, *app._dynamic_routes)
        if route.func.__name__ != "refuse"
    }
    routed = {(r.method, r.path) for r in DEPLOYMENT.api.routes if r.function == "CostsFunction"}
    assert served == routed


def test_alarms_and_the_dashboard_look_at_figures_that_exist() -> None:
    told = (layout.FUNCTIONS / "voice_gateway" / "observability.py").read_text(encoding="utf-8")
    counted = set(re.findall(r'add_metric\(\s*"(\w+)"', told))
    text = (ROOT / "infrastructure" / "monitoring.yaml").read_text(encoding="utf-8")
    own = r"Namespace: PersonalityVoices\s+MetricName: (\w+)"
    widgets = r'\["PersonalityVoices", "(\w+)"|\[".", "(\w+)"|MetricName=\\"(\w+)'
    shown = {name for match in re.findall(widgets, text) for name in match if name}
    watched = set(re.findall(own, text))
    assert len(watched) >= 6
    assert len(shown) >= 8
    assert watched | shown <= counted


def test_the_authorizer_writes_nothing_but_when_a_key_was_used() -> None:
    (policy,) = RESOURCES["AuthorizerFunctionRole"]["Properties"]["Policies"]
    (writing,) = (
        statement
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == "dynamodb:UpdateItem"
    )
    attributes = writing["Condition"]["ForAllValues:StringEquals"]["dynamodb:Attributes"]
    assert set(attributes) == {"PK", "SK", "last_used_at"}


def test_a_revoked_key_is_out_within_a_minute() -> None:
    """As docs/decisions.md says."""
    assert [each.ttl for each in DEPLOYMENT.api.authorizers.values()] == [60]


def test_a_page_of_another_origin_may_send_what_the_api_reads() -> None:
    methods = {route.method for route in DEPLOYMENT.api.routes}
    paths = TRANSLATED["Resources"]["VoiceApi"]["Properties"]["Body"]["paths"]
    for path in paths.values():
        preflight = path["options"]["x-amazon-apigateway-integration"]["responses"]["default"]
        told = preflight["responseParameters"]
        allowed = told["method.response.header.Access-Control-Allow-Methods"].strip("'")
        assert set(allowed.split(",")) == methods
        headers = told["method.response.header.Access-Control-Allow-Headers"].strip("'").lower()
        assert {"authorization", "if-match", "if-none-match", "idempotency-key"} <= set(
            headers.split(",")
        )


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("UNAUTHORIZED", 401),
        ("ACCESS_DENIED", 403),
        ("MISSING_AUTHENTICATION_TOKEN", 404),
        ("REQUEST_TOO_LARGE", 413),
        ("THROTTLED", 429),
        ("AUTHORIZER_FAILURE", 500),
        ("AUTHORIZER_CONFIGURATION_ERROR", 500),
        ("API_CONFIGURATION_ERROR", 500),
        ("INTEGRATION_TIMEOUT", 504),
        ("DEFAULT_4XX", 400),
        ("DEFAULT_5XX", 502),
    ],
)
def test_the_gateway_itself_answers_with_problems(kind: str, status: int) -> None:
    response = DEPLOYMENT.api.gateway_responses[kind]
    assert response.status == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "Access-Control-Allow-Origin" in response.headers
    body = response.body.replace("$context.error.messageString", '"words"')
    assert json.loads(body)["status"] == status
    assert json.loads(body)["request_id"] == "$context.requestId"


def test_functions_and_gateway_know_one_origin() -> None:
    parameters = {**layout.template_parameters(), "AllowedOrigin": "https://shop.example"}
    told = template.deployment(TRANSLATED, parameters, {})
    for route in told.api.routes:
        if route.function:
            environment = told.functions[route.function].environment
            assert environment["ALLOWED_ORIGIN"] == "https://shop.example"
        else:
            assert route.mock_headers["Access-Control-Allow-Origin"] == "https://shop.example"
    for response in told.api.gateway_responses.values():
        assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"


def test_speech_reads_the_credentials_that_it_is_given_and_no_others() -> None:
    (policy,) = RESOURCES["SpeechFunctionRole"]["Properties"]["Policies"]
    (*_, conditional) = policy["PolicyDocument"]["Statement"]
    condition, statement, otherwise = conditional["Fn::If"]
    assert (condition, otherwise) == ("AsksVendors", {"Ref": "AWS::NoValue"})
    assert set(statement["Action"]) == {"secretsmanager:GetSecretValue", "ssm:GetParameter"}
    assert statement["Resource"] == [
        {"Fn::If": [f"Asks{vendor}", {"Ref": f"{vendor}Credentials"}, {"Ref": "AWS::NoValue"}]}
        for vendor in ("Google", "Azure", "Watson")
    ]


def _resource(named: dict[str, Any]) -> str:
    """`Table` of its ARN, `SamplesBucket/tenants/*` of a part of its ARN."""
    if "Fn::GetAtt" in named:
        logical_id, attribute = named["Fn::GetAtt"]
        assert attribute == "Arn"
        return str(logical_id)
    return re.sub(r"\$\{(\w+)\.Arn\}", r"\1", named["Fn::Sub"])


@each_function
def test_functions_have_the_rights_they_need_and_no_others(function: Function) -> None:
    role = RESOURCES[f"{function.name}Role"]["Properties"]
    # Logs; and a network interface for whoever may be inside a VPC.
    inside = "VpcConfig" in RESOURCES[function.name]["Properties"]
    managed = {arn.rpartition("/")[2] for arn in role["ManagedPolicyArns"]}
    assert managed == {"AWSLambdaBasicExecutionRole"} | (
        {"AWSLambdaVPCAccessExecutionRole"} if inside else set()
    )
    assert inside == (function.name in IN_VPC)
    allowed: dict[str, set[str]] = {}
    for policy in role["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            if "Fn::If" in statement:
                continue  # the vendors' credentials
            resource = _resource(statement["Resource"])
            actions = statement["Action"]
            service = SERVICES[resource.partition("/")[0]]
            for action in [actions] if isinstance(actions, str) else actions:
                assert action.startswith(f"{service}:")
                allowed.setdefault(resource, set()).add(action.partition(":")[2])
    assert allowed == RIGHTS[function.name]


def test_what_the_bucket_says_reaches_who_looks_after_samples() -> None:
    (notification,) = RESOURCES["SamplesBucket"]["Properties"]["NotificationConfiguration"][
        "QueueConfigurations"
    ]
    (source,) = DEPLOYMENT.queues
    assert notification["Queue"] == {"Fn::GetAtt": [source.queue, "Arn"]}
    rules = {r["Name"]: r["Value"] for r in notification["Filter"]["S3Key"]["Rules"]}
    path = original_path("shop", "0" * 32)
    assert path.startswith(rules["prefix"])
    assert path.endswith(rules["suffix"])
    # What is cut from a sample lies beside it, and must not be looked at in its turn.
    assert not "tenants/shop/samples/1/xtts_v2/0.wav".endswith(rules["suffix"])
    assert source.function == "SampleValidationFunction"
    queue = RESOURCES[source.queue]["Properties"]
    assert queue["VisibilityTimeout"] >= 6 * DEPLOYMENT.functions[source.function].timeout
    assert [s.function for s in DEPLOYMENT.schedules] == [source.function]


def test_dead_letters_raise_an_alarm() -> None:
    alarm = RESOURCES["SampleValidationDeadLettersAlarm"]["Properties"]
    (dimension,) = alarm["Dimensions"]
    assert dimension["Value"] == {"Fn::GetAtt": ["SampleValidationDeadLetters", "QueueName"]}
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")


def test_data_outlives_the_stack() -> None:
    for name in ("Table", "SamplesBucket"):
        assert RESOURCES[name]["DeletionPolicy"] == "Retain"
        assert RESOURCES[name]["UpdateReplacePolicy"] == "Retain"


def test_failed_messages_are_kept() -> None:
    queues = {name for name, r in RESOURCES.items() if r["Type"] == "AWS::SQS::Queue"}
    dead_letters = {name for name in queues if name.endswith("DeadLetters")}
    for name in queues - dead_letters:
        redrive = RESOURCES[name]["Properties"]["RedrivePolicy"]
        assert redrive["deadLetterTargetArn"]["Fn::GetAtt"][0] in dead_letters
    for name in queues:
        assert RESOURCES[name]["Properties"]["SqsManagedSseEnabled"] is True


def test_requirements_are_what_the_lock_says() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "export_requirements.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_functions_carry_no_model_runtime() -> None:
    text = (layout.FUNCTIONS / "requirements.txt").read_text(encoding="utf-8")
    packages = {line.split("==")[0] for line in text.splitlines() if not line.startswith("#")}
    assert "pydantic" in packages
    assert not packages & KEPT_OUT
