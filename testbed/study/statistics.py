"""Intervals and decisions whose stated error rate is true. Exact where an exact method exists.

Confidence is always given as such (0.99, not 0.01); intervals are two-sided with equal tails unless said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from scipy import special

from testbed.verdicts.bands import binomial_cdf, binomial_range, bisect, dkw_band

__all__ = [
    "Decision",
    "Interval",
    "SamplingPlan",
    "binomial_range",
    "clopper_pearson",
    "difference",
    "dkw_band",
    "quantile_interval",
    "ratio",
    "wilson",
]


class Interval(NamedTuple):
    """Lower and upper end, both included."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in it."""
        return self.low <= value <= self.high


def clopper_pearson(successes: int, trials: int, confidence: float = 0.99) -> Interval:
    """The exact binomial interval (Clopper, Pearson 1934): never covers less often than ``confidence``.

    >>> [round(end, 4) for end in clopper_pearson(0, 100, 0.95)]
    [0.0, 0.0362]
    """
    _check(successes, trials, confidence)
    tail = (1 - confidence) / 2
    return Interval(_lower(successes, trials, tail), _upper(successes, trials, tail))


def wilson(successes: int, trials: int, confidence: float = 0.99) -> Interval:
    """The score interval (Wilson 1927): narrower than the exact one, covers about right on the average. For plots."""
    _check(successes, trials, confidence)
    if trials == 0:
        return Interval(0.0, 1.0)
    z, p = _z(confidence), successes / trials
    centre = p + z * z / (2 * trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low = 0.0 if successes == 0 else max(0.0, (centre - half) / scale)
    high = 1.0 if successes == trials else min(1.0, (centre + half) / scale)
    return Interval(low, high)


def difference(one: tuple[int, int], other: tuple[int, int], confidence: float = 0.99) -> Interval:
    """Of p_one - p_other, each given as (successes, trials): Newcombe's hybrid score interval (1998, method 10)."""
    p, q = _share(*one), _share(*other)
    low_p, high_p = wilson(*one, confidence)
    low_q, high_q = wilson(*other, confidence)
    return Interval(p - q - math.hypot(p - low_p, high_q - q), p - q + math.hypot(high_p - p, q - low_q))


def ratio(one: tuple[int, int], other: tuple[int, int], confidence: float = 0.99) -> Interval:
    """Of p_one / p_other: the quotient of two exact intervals at half the error each, so it never covers too little."""
    each = (1 + confidence) / 2
    low_p, high_p = clopper_pearson(*one, each)
    low_q, high_q = clopper_pearson(*other, each)
    return Interval(low_p / high_q, high_p / low_q if low_q > 0 else math.inf)


def quantile_interval(ordered: Sequence[float], q: float, confidence: float = 0.99) -> Interval:
    """Of the q-quantile, from sorted samples, for any distribution: two order statistics, by the binomial law.

    An end is infinite when there are too few samples to bound it.
    """
    n = len(ordered)
    if not 0 < q < 1:
        raise ValueError(f"a quantile's probability lies between 0 and 1, not {q}")
    tail = (1 - confidence) / 2
    # X_(i) (1-based) lies above the quantile with P(Bin(n, q) < i); below it with P(Bin(n, q) >= i).
    low = _last(n, lambda i: binomial_cdf(i - 1, n, q) <= tail)
    high = n + 1 - _last(n, lambda i: 1 - binomial_cdf(n - i, n, q) <= tail)
    return Interval(ordered[low - 1] if low >= 1 else -math.inf, ordered[high - 1] if high <= n else math.inf)


class Decision(StrEnum):
    """The answer to "is P > p?"."""

    ABOVE = "above"
    BELOW = "below"
    UNDECIDED = "undecided"
    MORE = "more"


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """Is P > p? With looks fixed beforehand, after ``looks[0] < looks[1] < ..`` trials in all.

    Looking again and again until an interval pleases would exceed its error rate. Here the error 1 - confidence is
    spent over the looks: look i may use up ``spent(i)`` of it, split evenly between the two sides, each tested with an
    exact binomial tail. By the union bound a wrong ABOVE or BELOW comes with probability <= 1 - confidence in all.
    The spending is even: error / number of looks.
    """

    p: float
    confidence: float
    looks: tuple[int, ...]

    def __post_init__(self) -> None:
        """Raises ValueError for a plan that cannot be kept."""
        if not 0 < self.p < 1 or not 0 < self.confidence < 1:
            raise ValueError("p and confidence lie between 0 and 1")
        if not self.looks or self.looks[0] < 1 or any(a >= b for a, b in zip(self.looks, self.looks[1:], strict=False)):
            raise ValueError("looks must be positive and rise")

    @staticmethod
    def doubling(p: float, confidence: float, first: int, most: int) -> SamplingPlan:
        """Looks after first, 2 first, 4 first, .. and ``most`` trials."""
        looks = []
        size = first
        while size < most:
            looks.append(size)
            size *= 2
        return SamplingPlan(p, confidence, (*looks, most))

    def spent(self, look: int) -> float:
        """The error that look number ``look`` (from 0) may make, both sides together."""
        return (1 - self.confidence) / len(self.looks) if 0 <= look < len(self.looks) else 0.0

    def next_look(self, trials: int) -> int | None:
        """How many trials in all the next look needs after ``trials``; None after the last."""
        return next((look for look in self.looks if look > trials), None)

    def decide(self, successes: int, trials: int) -> Decision:
        """At one of the looks. Raises ValueError elsewhere: an unplanned look would make the error rate untrue."""
        if trials not in self.looks:
            raise ValueError(f"{trials} trials are no look of this plan: {self.looks}")
        _check(successes, trials, self.confidence)
        tail = self.spent(self.looks.index(trials)) / 2
        if _lower(successes, trials, tail) > self.p:
            return Decision.ABOVE
        if _upper(successes, trials, tail) < self.p:
            return Decision.BELOW
        return Decision.UNDECIDED if trials == self.looks[-1] else Decision.MORE


def _last(n: int, holds: Callable[[int], bool]) -> int:
    """The greatest i in 0..n for which ``holds(i)``, given that it holds up to there; 0 when it holds for none."""
    return bisect(0, n + 1, lambda i: not holds(i)) - 1


def _lower(successes: int, trials: int, tail: float) -> float:
    return 0.0 if successes == 0 else float(special.betaincinv(successes, trials - successes + 1, tail))


def _upper(successes: int, trials: int, tail: float) -> float:
    return 1.0 if successes == trials else float(special.betainccinv(successes + 1, trials - successes, tail))


def _z(confidence: float) -> float:
    return float(special.ndtri((1 + confidence) / 2))


def _share(successes: int, trials: int) -> float:
    return successes / trials if trials else math.nan


def _check(successes: int, trials: int, confidence: float) -> None:
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence lies between 0 and 1, not {confidence}")
