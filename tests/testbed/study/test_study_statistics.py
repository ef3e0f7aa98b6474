"""Intervals of quantiles: they miss as seldom as they say whatever the law, and are no wider than that takes."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from testbed.study.statistics import clopper_pearson, quantile_interval

Uniforms = NDArray[np.float64]

LAWS: dict[str, Callable[[Uniforms], Uniforms]] = {
    "uniform": lambda u: u,
    "heavy tail": lambda u: 1 / (1 - u),
    "a few values": lambda u: np.ceil(5 * u),
    "three in ten never": lambda u: np.where(u > 0.7, inf, u),
}
"""Each by the inverse of its distribution function: the p-quantile is its value at p."""

SAMPLES, ACCUSED = 2_000, 1e-6
"""Each end is accused in one of a million draws although it misses as seldom as it says: 120 ends, 1 in 8,000."""


@given(
    n=st.integers(min_value=1, max_value=80),
    p=st.sampled_from([0.05, 0.5, 0.9, 0.99]),
    confidence=st.sampled_from([0.6, 0.9, 0.99]),
    law=st.sampled_from(sorted(LAWS)),
    seed=st.integers(min_value=0, max_value=2**32),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_quantiles_interval_misses_on_neither_side_more_often_than_it_says(
    n: int, p: float, confidence: float, law: str, seed: int
) -> None:
    samples = LAWS[law](np.sort(np.random.default_rng(seed).random((SAMPLES, n)), axis=1))
    truth = LAWS[law](np.array(p))
    places = quantile_interval(range(n), p, confidence)  # which of the samples its ends are
    missed = [
        int((samples[:, int(places.low)] > truth).sum()) if isfinite(places.low) else 0,
        int((samples[:, int(places.high)] < truth).sum()) if isfinite(places.high) else 0,
    ]
    for count in missed:
        assert clopper_pearson(count, SAMPLES, 1 - 2 * ACCUSED).low <= (1 - confidence) / 2
    assert quantile_interval(samples[0], p, confidence) == (
        samples[0, int(places.low)] if isfinite(places.low) else -inf,
        samples[0, int(places.high)] if isfinite(places.high) else inf,
    )


@given(
    n=st.integers(min_value=1, max_value=400),
    p=st.floats(min_value=0.01, max_value=0.99),
    confidence=st.floats(min_value=0.5, max_value=0.9999),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_next_sample_inwards_would_miss_more_often(n: int, p: float, confidence: float) -> None:
    """Exactly, for a law without steps: so many samples below the quantile."""
    low, high = quantile_interval(range(1, n + 1), p, confidence)
    below, tail = stats.binom(n, p), (1 - confidence) / 2
    assert below.cdf(max(low, 0)) > tail
    assert below.sf(min(high, n + 1) - 2) > tail


def test_a_small_sample_says_nothing_of_a_far_quantile() -> None:
    assert quantile_interval([5.0] * 7, 0.5, 0.99) == (-inf, inf)
    assert quantile_interval([1, 2, 3, 4, 5, 6, 7, 8], 0.5, 0.99) == (1, 8)
    assert quantile_interval(range(527), 0.99, 0.99).high == inf
    assert quantile_interval(range(528), 0.99, 0.99).high == 527
    assert quantile_interval([], 0.5) == (-inf, inf)


@pytest.mark.parametrize(("p", "confidence", "words"), [(0.0, 0.9, "share"), (1.0, 0.9, "share"), (0.5, 1, "between")])
def test_what_cannot_be_is_refused(p: float, confidence: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        quantile_interval([1.0], p, confidence)
