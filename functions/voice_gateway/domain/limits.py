"""Bounds that hold for everyone."""

from __future__ import annotations

from typing import Final

MAX_TEXT_CHARACTERS: Final = 10_000
"""About ten minutes of speech; longer texts are a job, not a stream."""
MAX_SENTENCE_CHARACTERS: Final = 240
"""Longer sentences are cut at clauses: first audio waits for the whole first piece."""
MAX_BODY_BYTES: Final = 2 * 1024 * 1024
OUTPUT_RATE_DEFAULT: Final = 24_000
"""Hz."""
