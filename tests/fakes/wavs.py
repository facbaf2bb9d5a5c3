"""Recordings as files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import soundfile

if TYPE_CHECKING:
    from numpy.typing import NDArray


def wav_of(samples: NDArray[Any], rate: int, **options: Any) -> bytes:
    """A WAV of mono samples, 16 bits unless `options` say otherwise."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", **options)
    return file.getvalue()
