"""Prepared samples of a voice, as they come in a request: not yet trusted.

A few bytes can ask for much: a compressed file may hold hours, and resampling from a rate that
shares no factor with ours takes gigabytes. Both are refused before they are read.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Final

import numpy as np

from voice_serving.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SAMPLE_SECONDS: Final = 120
"""Of one sample; no model listens to more than half a minute."""
RATES: Final = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000)
"""Hz."""


def decode_sample(sample: bytes, sample_id: str, index: int) -> tuple[NDArray[np.float32], int]:
    """Reads one WAV.

    Args:
        sample: The file's bytes.
        sample_id: Their SHA-256, in lower-case hex.
        index: Place in the request, for the error.

    Returns:
        Mono samples, shape [n], and their rate in Hz.

    Raises:
        InvalidInputError: It is another file than its id says, no WAV, too long, at a strange rate,
            or not all numbers.
    """
    import soundfile

    field = f"samples[{index}]"
    if hashlib.sha256(sample).hexdigest() != sample_id:
        raise InvalidInputError(field, "is not what its id says")
    try:
        with soundfile.SoundFile(io.BytesIO(sample)) as file:
            rate = int(file.samplerate)
            if file.format not in ("WAV", "WAVEX"):
                raise InvalidInputError(field, "must be a WAV")
            if rate not in RATES:
                raise InvalidInputError(field, "must be at a usual rate, 8000 to 48000 Hz")
            if file.frames > MAX_SAMPLE_SECONDS * rate:
                raise InvalidInputError(field, f"must be at most {MAX_SAMPLE_SECONDS} seconds long")
            audio = file.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        raise InvalidInputError(field, "must be a WAV") from None
    if not np.isfinite(audio).all():
        raise InvalidInputError(field, "has values that are not numbers")
    return audio.mean(axis=1), rate
