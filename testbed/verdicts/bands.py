"""How far counts and distributions may stray by chance. Shared by the fidelity verdict and testbed.study.statistics."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import special


def dkw_band(n: int, confidence: float = 0.999) -> float:
    """How far an empirical distribution function of ``n`` samples may stray anywhere from the true one.

    Dvoretzky, Kiefer, Wolfowitz with Massart's constant (1990): P(sup |F_n - F| > eps) <= 2 exp(-2 n eps^2).
    """
    if n <= 0:
        return 1.0
    return min(1.0, math.sqrt(math.log(2 / (1 - confidence)) / (2 * n)))


def binomial_range(trials: int, p: float, confidence: float = 0.999) -> tuple[int, int]:
    """The counts (least, greatest) between which Bin(trials, p) falls with at least ``confidence``, equal tails."""
    tail = (1 - confidence) / 2
    if p <= 0 or p >= 1:
        return (0, 0) if p <= 0 else (trials, trials)
    least = bisect(-1, trials, lambda k: binomial_cdf(k, trials, p) > tail)
    greatest = bisect(-1, trials, lambda k: float(special.bdtrc(k, trials, p)) <= tail)
    return least, greatest


def bisect(below: int, above: int, holds: Callable[[int], bool]) -> int:
    """The least k in (below, above] for which ``holds(k)``, given that it holds from there on and at ``above``."""
    while above - below > 1:
        middle = (below + above) // 2
        if holds(middle):
            above = middle
        else:
            below = middle
    return above


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(Bin(n, p) <= k)."""
    return 0.0 if k < 0 else float(special.bdtr(k, n, p))
