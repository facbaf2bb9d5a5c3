"""The matrix of faults: no cell is left out. `make faults` prints it."""

from __future__ import annotations

import pytest

from fakes.fault_matrix import cases
from fakes.faulty import MODELS, VENDORS, run_matrix

pytestmark = pytest.mark.integration


async def test_whole_once_or_a_clear_error_and_a_true_receipt() -> None:
    names = (*VENDORS, *MODELS)
    verdicts = await run_matrix(names)
    assert [v.case for v in verdicts] == [case for name in names for case in cases(name)]
    assert len(verdicts) == 6 * 13 * 3 * 2 * 2
    broken = [f"{v.case}: {'; '.join(v.broken)} [{v.told}]" for v in verdicts if v.broken]
    assert not broken, "\n".join(broken)
