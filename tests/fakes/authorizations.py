"""An authorizer's observer that remembers."""

from __future__ import annotations


class RecordingAuthorizations:
    """Implements `ports.AuthorizationObserver`.

    Attributes:
        not_noted: Ids of the keys whose use could not be stored.
        not_fetched: How often the identity provider's keys did not come.
    """

    def __init__(self) -> None:
        self.not_noted: list[str] = []
        self.not_fetched = 0

    def use_not_noted(self, key_id: str, error: Exception) -> None:
        """Remembers the key."""
        self.not_noted.append(key_id)

    def keys_not_fetched(self, error: Exception) -> None:
        """Counts."""
        self.not_fetched += 1
