"""What chance may do: exact bounds for counts, distributions and successions, for the fidelity verdict.

Each function is told the share of good runs that it may accuse (``error``); none rests on an approximation for large
numbers, so that the shares hold for a handful of frames as for a million.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]


def dkw_band(n: int, error: float) -> float:
    """How far an empirical distribution function of ``n`` samples may stray to one side of the true one.

    Dvoretzky, Kiefer, Wolfowitz with Massart's constant (1990): P(sup(F_n - F) > eps) <= exp(-2 n eps^2).
    """
    if n <= 0:
        return 1.0
    return min(1.0, math.sqrt(math.log(1 / error) / (2 * n)))


def mean_band(n: int, error: float) -> float:
    """How far the mean of ``n`` uniform numbers on [0, 1] may stray from 1/2 to one side.

    A uniform number's moment generating function lies below a normal one's of the same variance, 1/12 (Chernoff).
    """
    return math.sqrt(math.log(1 / error) / (6 * n)) if n > 0 else 1.0


def binomial_range(trials: int, p: float, error: float) -> tuple[int, int]:
    """The counts (least, greatest) outside which Bin(trials, p) falls with at most ``error``, equal tails."""
    return least_count(trials, p, error / 2), greatest_count(trials, p, error / 2)


def least_count(trials: int, p: float, error: float) -> int:
    """The greatest count below which Bin(trials, p) falls with at most ``error``."""
    if p <= 0 or p >= 1:
        return 0 if p <= 0 else trials
    return _bisect(-1, trials, lambda k: float(special.bdtr(k, trials, p)) > error)


def greatest_count(trials: int, p: float, error: float) -> int:
    """The least count above which Bin(trials, p) falls with at most ``error``."""
    if p <= 0 or p >= 1:
        return 0 if p <= 0 else trials
    return _bisect(-1, trials, lambda k: float(special.bdtrc(k, trials, p)) <= error)


def evidence(hits: int, trials: int, p: float) -> float:
    """The logarithm of the evidence that trials of probability ``p`` have another one; above log(1 / error) it is too
    much, whenever one looks and however the number of trials came about (Ville 1939).

    The likelihood under all other probabilities, weighed by Beta(1/2, 1/2), over that under ``p``: a martingale.
    """
    misses = trials - hits
    if (p <= 0 and hits) or (p >= 1 and misses):
        return math.inf
    if trials == 0 or p <= 0 or p >= 1:
        return 0.0
    mixed = float(special.betaln(hits + 0.5, misses + 0.5) - special.betaln(0.5, 0.5))
    return mixed - hits * math.log(p) - misses * math.log1p(-p)


def thresholds(n: int) -> Floats:
    """1/2, 1/4, 1/8, ...: the shares of ``n`` samples whose tails are counted; the last is met by about one."""
    last = math.ceil(math.log2(max(2, n)))
    return np.asarray(0.5 ** np.arange(1, last + 1), dtype=np.float64)


def _bisect(below: int, above: int, holds: Callable[[int], bool]) -> int:
    """The least k in (below, above] for which ``holds(k)``, given that it holds from there on and at ``above``."""
    while above - below > 1:
        middle = (below + above) // 2
        if holds(middle):
            above = middle
        else:
            below = middle
    return above
