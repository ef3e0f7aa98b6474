"""Intervals cover what they promise, computed exactly where that is possible."""

import math

import pytest
from scipy import stats

from testbed.study.statistics import clopper_pearson
from testbed.verdicts.bands import binomial_range, dkw_band


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (1, 10), (5, 10), (10, 10), (3, 10_000), (0, 1)])
def test_clopper_pearson_is_scipys(successes: int, trials: int) -> None:
    theirs = stats.binomtest(successes, trials).proportion_ci(0.99, "exact")
    assert clopper_pearson(successes, trials, 0.99) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_no_trials_no_knowledge() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("p", [0.001, 0.05, 0.3, 0.5, 0.97])
@pytest.mark.parametrize("n", [20, 100])
def test_clopper_pearson_covers_exactly_computed(n: int, p: float) -> None:
    covered = sum(stats.binom.pmf(k, n, p) for k in range(n + 1) if clopper_pearson(k, n, 0.95).holds(p))
    assert covered >= 0.95


def test_the_dkw_band() -> None:
    assert dkw_band(1_000, 0.0005) == pytest.approx(math.sqrt(math.log(2_000) / 2_000))
    assert dkw_band(0, 0.001) == 1


def test_the_binomial_range_is_as_narrow_as_it_may_be() -> None:
    for n, p in ((1_000, 0.1), (50, 0.5), (10_000, 0.0003)):
        least, greatest = binomial_range(n, p, 0.001)
        assert stats.binom.cdf(least - 1, n, p) <= 0.0005 < stats.binom.cdf(least, n, p)
        assert stats.binom.sf(greatest, n, p) <= 0.0005 < stats.binom.sf(greatest - 1, n, p)
    assert binomial_range(10, 0.0, 0.001) == (0, 0)
    assert binomial_range(10, 1.0, 0.001) == (10, 10)


@pytest.mark.parametrize(("successes", "trials", "confidence"), [(5, 4, 0.9), (-1, 4, 0.9), (1, 4, 1.0)])
def test_nonsense_is_refused(successes: int, trials: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"successes|confidence"):
        clopper_pearson(successes, trials, confidence)
