"""Settings of a model: `parameters` of its config.pbtxt, each overridden by the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import StrEnum

Choice = TypeVar("Choice", bound="StrEnum")


class ParameterError(ValueError):
    """A setting cannot be read; the model must not start with it."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Typed reading of one model's settings.

    `max_pending` of the model `piper` is the parameter `max_pending` in config.pbtxt, and
    `PIPER_MAX_PENDING` in the environment, which wins. An empty string counts as absent.
    """

    model: str
    configured: Mapping[str, str]
    environment: Mapping[str, str]

    @classmethod
    def from_model_config(
        cls, model: str, config: Mapping[str, object], environment: Mapping[str, str]
    ) -> Parameters:
        """Reads Triton's model configuration.

        Args:
            model: The model's name.
            config: The parsed `model_config` JSON.
            environment: The process's environment.
        """
        entries = config.get("parameters")
        configured: dict[str, str] = {}
        if isinstance(entries, dict):
            for key, value in entries.items():
                configured[str(key)] = str(value["string_value"])
        return cls(model=model, configured=configured, environment=environment)

    def variable(self, key: str) -> str:
        """Name of the environment variable that overrides `key`."""
        return f"{self.model}_{key}".upper()

    def text(self, key: str) -> str | None:
        """The setting as written, or None."""
        value = self.environment.get(self.variable(key), "").strip()
        return value or self.configured.get(key, "").strip() or None

    def integer(
        self, key: str, default: int, *, minimum: int = 1, maximum: int | None = None
    ) -> int:
        """A whole number, not below `minimum` and not above `maximum`."""
        text = self.text(key)
        if text is None:
            return default
        try:
            value = int(text)
        except ValueError:
            raise self._error(key, "must be a whole number") from None
        if value < minimum:
            raise self._error(key, f"must be at least {minimum}")
        if maximum is not None and value > maximum:
            raise self._error(key, f"must be at most {maximum}")
        return value

    def choice(self, key: str, default: Choice) -> Choice:
        """One value of `default`'s enumeration."""
        text = self.text(key)
        if text is None:
            return default
        options = type(default)
        try:
            return options(text.lower())
        except ValueError:
            known = ", ".join(option.value for option in options)
            raise self._error(key, f"must be one of: {known}") from None

    def path(self, key: str) -> Path | None:
        """A file or folder, `~` expanded."""
        text = self.text(key)
        return None if text is None else Path(text).expanduser()

    def _error(self, key: str, problem: str) -> ParameterError:
        return ParameterError(f"{key} ({self.variable(key)}) {problem}")
