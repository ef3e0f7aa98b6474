"""The exact binomial interval. Its stated error rate is true at any number of trials, however small.

Confidence is given as such (0.99, not 0.01); the interval is two-sided with equal tails.
"""

from __future__ import annotations

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
    if not 0 < confidence < 1:
        raise ValueError(f"confidence lies between 0 and 1, not {confidence}")
    tail = (1 - confidence) / 2
    low = special.betaincinv(successes, trials - successes + 1, tail) if successes else 0.0
    high = special.betainccinv(successes + 1, trials - successes, tail) if successes < trials else 1.0
    return Interval(float(low), float(high))
