"""The matrix of faults: no cell is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakes.fault_matrix import TRITON_REASONS, Matrix, cases
from fakes.triton import TritonStandIn
from voice_gateway.domain.speech import ProviderCapabilities
from voice_gateway.providers.triton import TritonProvider

if TYPE_CHECKING:
    from fakes.faults import Order

pytestmark = pytest.mark.integration


class FaultyTriton:
    """One model on the stand-in."""

    reasons = TRITON_REASONS

    def __init__(self, stand_in: TritonStandIn, name: str, url: str) -> None:
        self._stand_in = stand_in
        self.provider = TritonProvider(
            name=name,
            model=name,
            url=url,
            tls=False,
            capabilities=ProviderCapabilities(languages=frozenset({"en"})),
        )

    async def give(self, order: Order | None) -> None:
        self._stand_in.order = order
        self._stand_in.asked.clear()

    async def asked(self) -> list[str]:
        return list(self._stand_in.asked)


@pytest.mark.parametrize("name", ["piper", "xtts_v2", "styletts2"])
async def test_models_on_triton(name: str) -> None:
    stand_in = TritonStandIn()
    url = await stand_in.start()
    faulty = FaultyTriton(stand_in, name, url)
    try:
        verdicts = await Matrix(faulty).run()
    finally:
        await faulty.provider.aclose()
        await stand_in.stop()
    assert len(verdicts) == len(list(cases(name))) == 13 * 3 * 2 * 2
    broken = [f"{v.case}: {'; '.join(v.broken)} [{v.told}]" for v in verdicts if v.broken]
    assert not broken, "\n".join(broken)
