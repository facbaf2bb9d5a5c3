"""Prepared samples of a voice, as they come in a request."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import numpy as np

from voice_serving.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def decode_sample(sample: bytes, sample_id: str, index: int) -> tuple[NDArray[np.float32], int]:
    """Reads one WAV.

    Args:
        sample: The file's bytes.
        sample_id: Their SHA-256, in lower-case hex.
        index: Place in the request, for the error.

    Returns:
        Mono samples, shape [n], and their rate in Hz.

    Raises:
        InvalidInputError: It is another file than its id says, no audio, or not all numbers.
    """
    import soundfile

    field = f"samples[{index}]"
    if hashlib.sha256(sample).hexdigest() != sample_id:
        raise InvalidInputError(field, "is not what its id says")
    try:
        audio, rate = soundfile.read(io.BytesIO(sample), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        raise InvalidInputError(field, "must be a WAV") from None
    if not np.isfinite(audio).all():
        raise InvalidInputError(field, "has values that are not numbers")
    return audio.mean(axis=1), rate
