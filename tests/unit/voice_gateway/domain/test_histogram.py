from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.domain.histogram import RELATIVE_ERROR, SMALLEST, bin_of, percentile, value_of

latencies = st.floats(min_value=SMALLEST, max_value=900_000)
shares = st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0])


@given(latencies)
def test_a_bin_stands_for_its_values(value: float) -> None:
    assert value_of(bin_of(value)) == pytest.approx(value, rel=RELATIVE_ERROR + 1e-9)


@given(st.lists(latencies, min_size=1, max_size=300), shares)
def test_percentiles_are_as_exact_as_promised(values: list[float], share: float) -> None:
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    told = percentile(Counter(map(bin_of, values)), share)
    assert told == pytest.approx(exact, rel=RELATIVE_ERROR + 1e-9, abs=0.0005)


@given(st.lists(st.lists(latencies, min_size=1), min_size=2, max_size=8), shares)
def test_merged_is_as_if_one_had_counted_all(parts: list[list[float]], share: float) -> None:
    merged: Counter[int] = Counter()
    for part in parts:
        merged.update(Counter(map(bin_of, part)))
    together = Counter(bin_of(value) for part in parts for value in part)
    assert percentile(merged, share) == percentile(together, share)


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_agrees_with_numpy_on_a_long_tail(share: float) -> None:
    values = np.random.default_rng(4).lognormal(mean=5.5, sigma=0.9, size=20_000)
    exact = float(np.quantile(values, share, method="inverted_cdf"))
    told = percentile(Counter(map(bin_of, values.tolist())), share)
    assert told == pytest.approx(exact, rel=RELATIVE_ERROR)


def test_the_ends() -> None:
    assert percentile({}, 0.5) is None
    assert bin_of(0) == bin_of(-1) == bin_of(SMALLEST) == 0
    assert bin_of(900_000) < 330
