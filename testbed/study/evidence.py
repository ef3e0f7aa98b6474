"""Evidence on a probability that may be looked at after every round: docs/break-points.md has the mathematics.

A bet against "P >= p" that pays what a mixture of smaller probabilities would make of the rounds seen is worth at most
1 on average while the claim is true, however long one goes on. So it is worth 1/error or more, at any time at all, with
probability ``error`` at most (Ville), and then the claim may be given up, whenever one chose to look.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from scipy import special

from testbed.study.statistics import Interval

_BISECTIONS = 60


class Count(NamedTuple):
    """Broken among counted rounds at one point."""

    broken: int
    rounds: int


class Side(StrEnum):
    """On which side of p a probability lies."""

    BELOW = "below"
    ABOVE = "above"


class Law(NamedTuple):
    """A beta law: how a bet is spread over the probabilities, before it is cut to one side of p."""

    a: float
    b: float


def wide_law(p: float) -> Law:
    """Of mean p, as wide as one broken round tells: for who knows nothing."""
    return Law(1.0, (1 - p) / p) if p <= 0.5 else Law(p / (1 - p), 1.0)


def expecting(q: float, deviation: float, p: float) -> Law:
    """Of mean q and this standard deviation: for who has an idea of the probability. A wrong idea costs rounds, never
    truth. Where no hump is that wide, so near to 0 or 1, the wide law."""
    known = q * (1 - q) / deviation**2 - 1
    law = Law(q * known, (1 - q) * known)
    return law if min(law) >= 1 else wide_law(p)


def log_evidence(side: Side, count: Count, p: float, law: Law | None = None) -> float:
    """The logarithm of the bet that the probability lies on this side of p; 0 before the first round.

    law: how the bet is spread, chosen before the first of these rounds; the wide one unless told otherwise.
    """
    broken, rounds = count
    if not rounds:
        return 0.0
    a, b = law or wide_law(p)
    left = _share(side, a + broken, b + rounds - broken, p)
    if left <= 0:
        return -math.inf
    weight = float(special.betaln(a + broken, b + rounds - broken)) + math.log(left)
    return weight - _log_norm(side, a, b, p) - broken * math.log(p) - (rounds - broken) * math.log1p(-p)


def divergence(q: float, p: float) -> float:
    """How fast the best bet against p grows a round while q is true, in natural logarithms (Kullback, Leibler)."""
    broken = q * math.log(q / p) if q > 0 else 0.0
    held = (1 - q) * math.log((1 - q) / (1 - p)) if q < 1 else 0.0
    return broken + held


def confidence_sequence(count: Count, confidence: float, p: float) -> Interval:
    """The probabilities that no bet has refuted: with probability >= ``confidence`` it holds the truth at every number
    of rounds at once, unlike an interval for one number fixed before. p: about where it should be narrowest."""
    broken, rounds = count
    a, b = wide_law(p)
    weight = float(special.betaln(a + broken, b + rounds - broken) - special.betaln(a, b)) + math.log1p(-confidence)

    def refuted(q: float) -> bool:
        likelihood = float(special.xlogy(broken, q) + special.xlog1py(rounds - broken, -q))
        return weight >= likelihood

    best = broken / rounds if rounds else 0.5
    low = _edge(refuted, best, 0.0) if refuted(0.0) else 0.0
    high = _edge(refuted, best, 1.0) if refuted(1.0) else 1.0
    return Interval(low, high)


def _edge(refuted: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where refutation begins, from the refuted side."""
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2
        if refuted(middle):
            outside = middle
        else:
            inside = middle
    return outside


@lru_cache(maxsize=64)
def _log_norm(side: Side, a: float, b: float, p: float) -> float:
    """Of what a beta law has on this side of p."""
    return float(special.betaln(a, b)) + math.log(_share(side, a, b, p))


def _share(side: Side, a: float, b: float, p: float) -> float:
    """How much of a beta law lies on this side of p."""
    return float(special.betainc(a, b, p) if side is Side.BELOW else special.betaincc(a, b, p))
