"""An observer that remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_gateway.domain.receipt import Attempt, Receipt


class RecordingObserver:
    """Implements `ports.SpeechObserver`.

    Attributes:
        receipts: Tenant and receipt of every answer.
        lost: Request ids of the receipts that could not be stored.
        mute: Request ids of the answers that never were.
        overcounted: Request ids of those whose characters could not be given back.
    """

    def __init__(self) -> None:
        self.receipts: list[tuple[str, Receipt]] = []
        self.lost: list[str] = []
        self.mute: list[str] = []
        self.overcounted: list[str] = []

    def served(self, tenant_id: str, receipt: Receipt) -> None:
        """Remembers it."""
        self.receipts.append((tenant_id, receipt))

    def failed(self, tenant_id: str, request_id: str, attempts: Sequence[Attempt]) -> None:
        """Remembers the request."""
        self.mute.append(request_id)

    def receipt_lost(self, tenant_id: str, receipt: Receipt, error: Exception) -> None:
        """Remembers its request."""
        self.lost.append(receipt.request_id)

    def miscounted(self, tenant_id: str, request_id: str, error: Exception) -> None:
        """Remembers the request."""
        self.overcounted.append(request_id)
