"""What the models on Triton keep of a voice, and how they are made to forget it."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.errors import StorageUnavailableError
from voice_gateway.providers.triton import string_tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonclient.grpc import InferenceServerClient

_SECONDS: Final = 5.0
"""Forgetting deletes a few small files."""


class TritonConditioning:
    """Implements `ports.ConditioningCache`: every ready version of every model has to confirm.

    Args:
        url: `host:port` of Triton's gRPC endpoint.
        tls: Whether that endpoint speaks TLS.
        models: Those that keep conditioning; none is a deployment without cloning.
    """

    def __init__(self, *, url: str, tls: bool, models: Sequence[str]) -> None:
        self._url = url
        self._tls = tls
        self._models = tuple(models)

    def forget(self, content_hashes: Sequence[str]) -> None:
        """Has every model delete what it made of these; see the port."""
        if not self._models or not content_hashes:
            return
        from tritonclient.grpc import InferenceServerClient

        # A purge is rare: a channel of its own is not kept open for the next one.
        with InferenceServerClient(self._url, ssl=self._tls) as client:
            for model in self._models:
                _tell(client, model, content_hashes)


def _tell(client: InferenceServerClient, model: str, content_hashes: Sequence[str]) -> None:
    told: set[str] = set()
    # Each version is a process with a memory of its own. One that came while the others were told
    # may have read their files before these were deleted, so whoever is there is looked up again.
    while new := _versions(client, model) - told:
        for version in sorted(new):
            _ask(client, model, version, content_hashes)
        told |= new


def _versions(client: InferenceServerClient, model: str) -> set[str]:
    """Those that are ready.

    One that still loads is not told of: it is there when the purge is repeated, which is long after
    the time that Triton gives it to load. The repository's index would show it, but whoever may ask
    for that may load models, too, and needs Triton's key for it.
    """
    from tritonclient.utils import InferenceServerException

    try:
        return set(client.get_model_metadata(model, client_timeout=_SECONDS).versions)
    except InferenceServerException:
        raise StorageUnavailableError(f"{model} is not there to forget") from None


def _ask(
    client: InferenceServerClient, model: str, version: str, content_hashes: Sequence[str]
) -> None:
    from tritonclient.utils import InferenceServerException

    answers: queue.Queue[Exception | None] = queue.Queue()
    answered = False
    # The models are decoupled: they answer on a stream, and on nothing else.
    client.start_stream(callback=lambda result, error: answers.put(error), stream_timeout=_SECONDS)
    try:
        client.async_stream_infer(
            model,
            [
                string_tensor("operation", ["forget"]),
                string_tensor("sample_ids", list(content_hashes)),
            ],
            model_version=version,
            enable_empty_final_response=True,
        )
        error = answers.get(timeout=_SECONDS)
        answered = True
    except (queue.Empty, InferenceServerException):
        raise StorageUnavailableError(f"{model} did not say that it forgot") from None
    finally:
        # Cancelled right after its last answer, this Triton may never let the model go.
        client.stop_stream(cancel_requests=not answered)
    if error is not None:
        # Its words may quote the request.
        raise StorageUnavailableError(f"{model} did not forget")
