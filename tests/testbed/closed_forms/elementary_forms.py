"""The link's elementary closed forms, against which the convolutions are held; no code is shared with those."""

from __future__ import annotations

import math
from fractions import Fraction


def miss_probability(loss: float, late: float) -> float:
    """q = loss + (1 - loss) P(delay > W) of one message with a window of its own."""
    return loss + (1 - loss) * late


def simultaneous_split(q: float, q_back: float | None = None) -> float:
    """P(split) when each end sends once and commits on the other's: exactly one direction misses."""
    back = q if q_back is None else q_back
    return q * (1 - back) + back * (1 - q)


def alternating_split(q: float, depth: int) -> float:
    """q (1 - q)^(k-1): the last of k alternating messages is missed, each independently with q."""
    return q * (1 - q) ** (depth - 1)


def irwin_hall_cdf(x: Fraction | int, n: int) -> Fraction:
    """P(U_1 + .. + U_n <= x) for independent uniforms on [0, 1], exactly (Irwin 1927, Hall 1927)."""
    x = Fraction(x)
    if x <= 0:
        return Fraction(0)
    if x >= n:
        return Fraction(1)
    terms = ((-1) ** j * math.comb(n, j) * (x - j) ** n for j in range(math.floor(x) + 1))
    return sum(terms, Fraction(0)) / math.factorial(n)


def discrete_irwin_hall_cdf(x: int, n: int, cells: int) -> Fraction:
    """P(sum <= x) for n independent uniforms on the integers 0 .. cells - 1, exactly, by inclusion and exclusion."""
    if x < 0:
        return Fraction(0)
    terms = ((-1) ** j * math.comb(n, j) * math.comb(x - j * cells + n, n) for j in range(min(n, x // cells) + 1))
    return Fraction(sum(terms), cells**n)


def least_skew_ns(uncertainty_ns: float, n: int = 2) -> float:
    """u (1 - 1/n): no algorithm guarantees less skew between n clocks under delay uncertainty u (Lundelius, Lynch)."""
    return uncertainty_ns * (1 - 1 / n)
