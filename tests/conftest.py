"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# The same examples at every run: a test that fails on one machine fails on all. To look for new
# ones: pytest --hypothesis-profile=default
settings.register_profile("fixed", derandomize=True, database=None)
settings.load_profile("fixed")
