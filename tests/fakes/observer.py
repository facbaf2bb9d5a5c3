"""An observer that remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voice_gateway.domain.receipt import Receipt


class RecordingObserver:
    """Implements `ports.SpeechObserver`.

    Attributes:
        receipts: Tenant and receipt of every answer.
        lost: Request ids of the receipts that could not be stored.
    """

    def __init__(self) -> None:
        self.receipts: list[tuple[str, Receipt]] = []
        self.lost: list[str] = []

    def served(self, tenant_id: str, receipt: Receipt) -> None:
        """Remembers it."""
        self.receipts.append((tenant_id, receipt))

    def receipt_lost(self, tenant_id: str, receipt: Receipt, error: Exception) -> None:
        """Remembers its request."""
        self.lost.append(receipt.request_id)
