"""How far counts and distributions may stray by chance, for the fidelity verdict."""

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
    least = _bisect(-1, trials, lambda k: float(special.bdtr(k, trials, p)) > tail)
    greatest = _bisect(-1, trials, lambda k: float(special.bdtrc(k, trials, p)) <= tail)
    return least, greatest


def bursts_range(trials: int, loss: float, p: float, r: float, confidence: float = 0.999) -> tuple[int, int]:
    """The losses (least, greatest) of ``trials`` frames on a Gilbert-Elliott link, with at least ``confidence``.

    loss: the long-run share. p, r: good to bad and back, per frame; r > 0. Hoeffding's bound for reversible Markov
    chains (Leon, Perron, Ann. Appl. Probab. 14, 2004), of the chain of states with their losses, whose second
    eigenvalue is 1 - p - r; it starts in the good state, which costs a factor of 1 / P(good). It is wide.
    """
    if trials <= 0:
        return 0, 0
    memory = max(0.0, 1 - p - r)
    good = r / (p + r)
    off = math.sqrt(math.log(2 / (good * (1 - confidence))) * (1 + memory) / (2 * trials * max(1 - memory, 1e-300)))
    return max(0, math.ceil(trials * (loss - off))), min(trials, math.floor(trials * (loss + off)))


def _bisect(below: int, above: int, holds: Callable[[int], bool]) -> int:
    """The least k in (below, above] for which ``holds(k)``, given that it holds from there on and at ``above``."""
    while above - below > 1:
        middle = (below + above) // 2
        if holds(middle):
            above = middle
        else:
            below = middle
    return above
