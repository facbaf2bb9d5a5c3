"""Vendors' credentials, from Secrets Manager or the Parameter Store."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from voice_gateway.domain.errors import FailureReason, ProviderError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.parameters import BaseProvider

MAX_AGE_SECONDS: Final = 300
"""How long a rotated secret may go on being used."""


class SecretCredentials:
    """The credentials of one vendor: a JSON object, wherever it is kept."""

    def __init__(self, provider: str, reference: str) -> None:
        """Reads nothing yet.

        Args:
            provider: Whose they are, for the errors.
            reference: ARN of a secret or of a parameter; or the JSON object itself, which is for
                machines that have neither.
        """
        self._provider = provider
        self._reference = reference
        self._store: BaseProvider | None = None
        # One, of its own: whoever comes while it fetches finds the answer in the cache, and a store
        # that is away takes none of the threads that the floor speaks in.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="credentials")

    async def read(self) -> Mapping[str, object]:
        """Returns the object's fields, at most `MAX_AGE_SECONDS` old.

        Raises:
            ProviderError: `auth`; it is not there, may not be read, or is no JSON object.
        """
        if self._reference.startswith("{"):
            return self._parsed(self._reference)
        loop = asyncio.get_running_loop()
        return self._parsed(await loop.run_in_executor(self._thread, self._fetch))

    def _fetch(self) -> str:
        from aws_lambda_powertools.utilities import parameters
        from botocore.config import Config

        is_parameter = ":ssm:" in self._reference
        if self._store is None:
            # boto's own patience is a minute: longer than anybody who waits for a voice.
            config = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2})
            kind = parameters.SSMProvider if is_parameter else parameters.SecretsProvider
            self._store = kind(boto_config=config)
        options: dict[str, Any] = {"decrypt": True} if is_parameter else {}
        try:
            found = self._store.get(self._reference, max_age=MAX_AGE_SECONDS, **options)
        except parameters.GetParameterError as error:
            # Its message names the secret, and may hold more: its kind is enough.
            kind_of_failure = type(error.__context__).__name__
            raise self._failure(f"cannot be read ({kind_of_failure})") from None
        return str(found)

    def _parsed(self, text: str) -> Mapping[str, object]:
        try:
            fields = json.loads(text)
        except ValueError:
            # The error would quote the secret.
            fields = None
        if not isinstance(fields, dict):
            raise self._failure("are no JSON object")
        return fields

    def _failure(self, what: str) -> ProviderError:
        return ProviderError(self._provider, FailureReason.AUTH, f"its credentials {what}")
