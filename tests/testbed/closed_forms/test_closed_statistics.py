"""Intervals cover what they promise, computed exactly where that is possible."""

import math
import random

import pytest
from scipy import stats

from testbed.study.statistics import (
    Decision,
    SamplingPlan,
    binomial_range,
    clopper_pearson,
    difference,
    dkw_band,
    quantile_interval,
    ratio,
    wilson,
)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (1, 10), (5, 10), (10, 10), (3, 10_000), (0, 1)])
def test_clopper_pearson_is_scipys(successes: int, trials: int) -> None:
    theirs = stats.binomtest(successes, trials).proportion_ci(0.99, "exact")
    assert clopper_pearson(successes, trials, 0.99) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (5, 10), (10, 10), (3, 10_000)])
def test_wilson_is_scipys(successes: int, trials: int) -> None:
    theirs = stats.binomtest(successes, trials).proportion_ci(0.99, "wilson")
    assert wilson(successes, trials, 0.99) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_no_trials_no_knowledge() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("p", [0.001, 0.05, 0.3, 0.5, 0.97])
@pytest.mark.parametrize("n", [20, 100])
def test_clopper_pearson_covers_exactly_computed(n: int, p: float) -> None:
    covered = sum(stats.binom.pmf(k, n, p) for k in range(n + 1) if clopper_pearson(k, n, 0.95).holds(p))
    assert covered >= 0.95


def test_differences_and_ratios_cover() -> None:
    p, q, n = 0.3, 0.2, 60
    weights = [(k, m, stats.binom.pmf(k, n, p) * stats.binom.pmf(m, n, q)) for k in range(61) for m in range(61)]
    likely = [(k, m, w) for k, m, w in weights if w > 1e-7]
    assert sum(w for k, m, w in likely if difference((k, n), (m, n), 0.95).holds(p - q)) > 0.94
    assert sum(w for k, m, w in likely if ratio((k, n), (m, n), 0.95).holds(p / q)) > 0.95
    assert ratio((3, 10), (0, 10)).high == math.inf


def test_the_dkw_band() -> None:
    assert dkw_band(1_000, 0.999) == pytest.approx(math.sqrt(math.log(2_000) / 2_000))
    assert dkw_band(0) == 1


def test_quantile_intervals_cover_exactly_computed() -> None:
    """With samples 1..n the ends are their own ranks, and the law of a rank is binomial."""
    n, q = 200, 0.9
    low, high = quantile_interval(range(1, n + 1), q, 0.95)
    covered = stats.binom.cdf(high - 1, n, q) - stats.binom.cdf(low - 1, n, q)
    assert 0.95 <= covered < 0.975
    assert quantile_interval([1.0, 2.0], 0.5) == (-math.inf, math.inf)


def test_the_binomial_range_is_as_narrow_as_it_may_be() -> None:
    for n, p in ((1_000, 0.1), (50, 0.5), (10_000, 0.0003)):
        least, greatest = binomial_range(n, p, 0.999)
        assert stats.binom.cdf(least - 1, n, p) <= 0.0005 < stats.binom.cdf(least, n, p)
        assert stats.binom.sf(greatest, n, p) <= 0.0005 < stats.binom.sf(greatest - 1, n, p)
    assert binomial_range(10, 0.0) == (0, 0)
    assert binomial_range(10, 1.0) == (10, 10)


class TestSamplingPlan:
    plan = SamplingPlan.doubling(0.1, 0.95, 50, 1_600)

    def test_looks(self) -> None:
        assert self.plan.looks == (50, 100, 200, 400, 800, 1_600)
        assert sum(self.plan.spent(look) for look in range(9)) == pytest.approx(0.05)
        assert self.plan.next_look(0) == 50
        assert self.plan.next_look(100) == 200
        assert self.plan.next_look(1_600) is None

    def test_decisions(self) -> None:
        assert self.plan.decide(40, 50) is Decision.ABOVE
        assert self.plan.decide(0, 100) is Decision.BELOW
        assert self.plan.decide(5, 50) is Decision.MORE
        assert self.plan.decide(160, 1_600) is Decision.UNDECIDED

    @pytest.mark.parametrize("truth", [0.1, 0.08, 0.12])
    def test_its_error_rate_is_true_exactly_computed(self, truth: float) -> None:
        """The whole walk over all looks by convolution: P(wrong at any look) <= 5 %, though it looks six times."""
        states, wrong, before = {0: 1.0}, 0.0, 0
        for look in self.plan.looks:
            steps = [stats.binom.pmf(k, look - before, truth) for k in range(look - before + 1)]
            reached: dict[int, float] = {}
            for count, weight in states.items():
                for k, p in enumerate(steps):
                    if p * weight > 1e-12:
                        reached[count + k] = reached.get(count + k, 0.0) + weight * p
            states, before = {}, look
            for count, weight in reached.items():
                decision = self.plan.decide(count, look)
                wrong += weight * (
                    (decision is Decision.ABOVE and truth <= 0.1) or (decision is Decision.BELOW and truth >= 0.1)
                )
                if decision is Decision.MORE:
                    states[count] = weight
        assert wrong <= 0.05
        if truth == 0.1:
            assert wrong > 0.005  # and it is not absurdly careful

    def test_an_unplanned_look_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no look of this plan"):
            self.plan.decide(1, 51)

    @pytest.mark.parametrize("looks", [(), (5, 5), (0, 3), (9, 3)])
    def test_bad_plans_are_refused(self, looks: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="looks must be"):
            SamplingPlan(0.1, 0.9, looks)


@pytest.mark.parametrize(("successes", "trials", "confidence"), [(5, 4, 0.9), (-1, 4, 0.9), (1, 4, 1.0)])
def test_nonsense_is_refused(successes: int, trials: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"successes|confidence"):
        clopper_pearson(successes, trials, confidence)


def test_quantile_interval_by_simulation() -> None:
    """400 samples of 100 exponentials, seed 3: of 99 % intervals for the median at least 97 % cover it."""
    rng = random.Random(3)
    hits = sum(
        quantile_interval(sorted(rng.expovariate(1) for _ in range(100)), 0.5).holds(math.log(2)) for _ in range(400)
    )
    assert hits >= 388
