"""CloudFormation's intrinsic functions, as far as the template uses them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from layout import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Mapping

PSEUDO_PARAMETERS: Final = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "local",
    "AWS::URLSuffix": "amazonaws.com",
}
_VARIABLE: Final = re.compile(r"\$\{(!?)([^}]+)\}")


class UnresolvedError(Exception):
    """The template says something that the local stack cannot work out."""


@dataclass(frozen=True)
class Resolver:
    """Turns a template's values into plain ones."""

    resources: Mapping[str, Mapping[str, Any]]
    """Logical id → resource, from the translated template."""
    parameters: Mapping[str, str]
    physical: Mapping[str, str] = field(default_factory=dict)
    """Logical id → physical id; a resource without one goes by its logical id."""

    def __call__(self, value: Any) -> Any:
        """Resolves a value and everything in it.

        Raises:
            UnresolvedError: It names something unknown, or uses a function that is not known here.
        """
        if isinstance(value, list):
            return [self(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), *_ = value.items()
            if name == "Ref":
                return self._ref(argument)
            if name == "Fn::GetAtt":
                return self._attribute(
                    *(argument if isinstance(argument, list) else argument.split(".", 1))
                )
            if name == "Fn::Sub":
                return self._substitute(argument)
            if name.startswith("Fn::"):
                raise UnresolvedError(f"{name} is not known to the local stack")
        return {key: self(item) for key, item in value.items()}

    def _ref(self, name: str) -> str:
        for known in (PSEUDO_PARAMETERS, self.parameters):
            if name in known:
                return known[name]
        if name in self.resources:
            return self.physical.get(name, name)
        raise UnresolvedError(f"nothing is called {name}")

    def _attribute(self, name: str, attribute: str) -> str:
        resource = self.resources.get(name)
        if resource is None:
            raise UnresolvedError(f"nothing is called {name}")
        physical = self._ref(name)
        match resource["Type"], attribute:
            case "AWS::Lambda::Function", "Arn":
                return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{physical}"
            case "AWS::DynamoDB::Table", "Arn":
                return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{physical}"
            case "AWS::S3::Bucket", "Arn":
                return f"arn:aws:s3:::{physical}"
            case "AWS::SQS::Queue", "Arn":
                return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{_last_segment(physical)}"
            case "AWS::SQS::Queue", "QueueName":
                return _last_segment(physical)
        raise UnresolvedError(f"{attribute} of {name} is not known to the local stack")

    def _substitute(self, argument: str | list[Any]) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else argument

        def value_of(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return f"${{{name}}}"
            if name in own:
                return str(self(own[name]))
            if "." in name:
                return self._attribute(*name.split(".", 1))
            return self._ref(name)

        return _VARIABLE.sub(value_of, text)


def _last_segment(url: str) -> str:
    return url.rsplit("/", 1)[-1]
