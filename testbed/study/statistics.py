"""Exact intervals: of a probability, and of a quantile. The stated error rate is true at any number of trials, however
small, and of a quantile whatever the distribution is.

Confidence is given as such (0.99, not 0.01); intervals are two-sided with equal tails.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from scipy import special


class Interval(NamedTuple):
    """Lower and upper end, both included."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in it."""
        return self.low <= value <= self.high


def clopper_pearson(successes: int, trials: int, confidence: float = 0.99) -> Interval:
    """The exact binomial interval (Clopper, Pearson 1934): never covers less often than ``confidence``.

    Raises ValueError for counts or a confidence that cannot be.

    >>> [round(end, 4) for end in clopper_pearson(0, 100, 0.95)]
    [0.0, 0.0362]
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    tail = _tail(confidence)
    low = special.betaincinv(successes, trials - successes + 1, tail) if successes else 0.0
    high = special.betainccinv(successes + 1, trials - successes, tail) if successes < trials else 1.0
    return Interval(float(low), float(high))


def quantile_interval(ordered: Sequence[float], p: float, confidence: float = 0.99) -> Interval:
    """The interval of the ``p``-quantile of what ``ordered`` is a sorted sample of, independent and of one law, between
    two of the samples themselves (Thompson 1936): no law makes it miss more often than 1 - ``confidence``.

    A sample lies at or below the quantile with probability ``p`` at least, and below it with ``p`` at most. So each end
    is the innermost sample that the quantile is on the wrong side of with half the error at most, by the binomial law.
    Where there is none the sample is too small for that end, which is then infinite. Raises ValueError for a p or a
    confidence that cannot be.

    >>> quantile_interval([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], 0.5), quantile_interval([1, 2, 3], 0.5)
    (Interval(low=2, high=11), Interval(low=-inf, high=inf))
    """
    if not 0 < p < 1:
        raise ValueError(f"a quantile's share lies between 0 and 1, not {p}")
    tail, n = _tail(confidence), len(ordered)
    below = sum(special.bdtr(k, n, p) <= tail for k in range(n))  # P(so many at or below the quantile, or fewer)
    above = sum(special.bdtrc(n - 1 - k, n, p) <= tail for k in range(n))  # P(n - k below it, or more)
    return Interval(ordered[below - 1] if below else -inf, ordered[n - above] if above else inf)


def _tail(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence lies between 0 and 1, not {confidence}")
    return (1 - confidence) / 2
