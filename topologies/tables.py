"""Delay distributions as netem draws them: tables of deviates, and the exact probabilities that its arithmetic gives.

A table holds 4096 sorted deviates in units of sigma / 8192 (NETEM_DIST_SCALE); netem picks one by ``rnd % size``
(Linux 6.12, net/sched/sch_netem.c, tabledist). Entries are signed 16-bit numbers, so a deviate ends at +-4 sigma.

The tables are our own, made from quantile functions at the middles of 4096 equal slices of probability. A tail that
would reach beyond 4 sigma is cut off (not piled up at the end): only the lower share of the distribution is kept,
standardised to mean 0 and standard deviation 1, with the share chosen so that its end lies at 4 sigma. Realised, with
the 16-bit rounding:

============  =========  ======  =============  ===========================================================
distribution  mean       sd      range (sigma)  what it is
============  =========  ======  =============  ===========================================================
normal        < 1e-6     1.0000  -3.67 .. 3.67  all of it (the outermost slices' middles)
pareto        < 1e-6     1.0000  -0.97 .. 4.00  bounded Pareto, alpha 3, the lower 96.2 % kept
paretonormal  < 1e-6     1.0000  -2.04 .. 4.00  quantile = 0.25 normal + 0.75 pareto, cut likewise
============  =========  ======  =============  ===========================================================

So ``jitter`` is the standard deviation that comes out (iproute2's own pareto table realises only 0.82 of it). Nothing
in here imports numpy until probabilities are asked for: the guest of the virtual-time kernel must start quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from math import fsum, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

from testbed.topologies.impairment import WIRE_OVERHEAD_BYTES, Impairment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCALE = 8192  # NETEM_DIST_SCALE: one sigma
TABLE_SIZE = 4096
CLIP = 32767  # the greatest entry of an s16 table: just below 4 sigma
PARETO_ALPHA = 3.0
SLOT_BYTES_IN_SOFTWARE = 60  # a slot without its FCS, as a qdisc counts it
FIFO_RATE_BYTES_PER_S = 10**15  # every frame below 1 MB takes 0 ns: keeps the order and costs no time
LEAST_DELAY_NS = 1
"""No frame crosses a link in less, whatever was drawn: nothing arrives at the instant at which it left."""
MAX_GRID = 1 << 26  # the most one-nanosecond cells a probability mass function may have


def deviates(distribution: str) -> tuple[int, ...] | None:
    """The sorted table for ``normal``, ``pareto`` or ``paretonormal``; None for ``uniform``, which needs none.

    >>> deviates("normal")[0], deviates("normal")[-1]
    (-30056, 30056)
    """
    if distribution == "uniform":
        return None
    quantile = _QUANTILES.get(distribution)
    if quantile is None:
        raise ValueError(f"no table for the distribution {distribution!r}; there are {', '.join(_QUANTILES)}")
    return _table(distribution)


def table_of(impairment: Impairment) -> tuple[int, ...] | None:
    """The table a link direction draws from, None when it draws uniformly."""
    if impairment.distribution != "table":
        return deviates(impairment.distribution)
    if not impairment.table:
        raise ValueError("distribution 'table' without a table")
    return impairment.table


def table_from_samples(delays_ns: Sequence[float]) -> tuple[float, float, tuple[int, ...]]:
    """Mean (ns), standard deviation (ns) and table of measured delays: what they say, up to netem's +-4 sigma.

    Needs two different values at least. The table's entries are the samples' quantiles (linear between neighbours) in
    units of sigma / 8192; a delay direction with ``delay = mean``, ``jitter = sd`` and this table repeats the samples'
    distribution.
    """
    values = sorted(float(value) for value in delays_ns)
    if len(values) < 2 or values[0] == values[-1]:
        raise ValueError("a delay table needs at least two different delays")
    mean = fsum(values) / len(values)
    deviation = sqrt(fsum((value - mean) ** 2 for value in values) / len(values))
    table = tuple(
        _clipped((_sample_quantile(values, (index + 0.5) / TABLE_SIZE) - mean) / deviation * SCALE)
        for index in range(TABLE_SIZE)
    )
    return mean, deviation, table


def tabledist(mu_ns: int, sigma_ns: int, rnd: int, table: Sequence[int] | None) -> int:
    """netem's delay for the 32-bit draw ``rnd``: the same integer arithmetic, may be negative (tabledist)."""
    if sigma_ns == 0:
        return mu_ns
    if table is None:
        return rnd % (2 * sigma_ns) + mu_ns - sigma_ns
    deviate = table[rnd % len(table)]
    x = sigma_ns % SCALE * deviate
    # C divides towards zero; adding half first rounds half away from zero.
    rounded = (x + SCALE // 2) // SCALE if x >= 0 else -((-x + SCALE // 2) // SCALE)
    return rounded + sigma_ns // SCALE * deviate + mu_ns


def packet_time_ns(impairment: Impairment, frame_bytes: int = SLOT_BYTES_IN_SOFTWARE) -> int:
    """How long the rate makes a frame take, with preamble, FCS and gap; 0 without a rate."""
    rate = impairment.rate_bps // 8
    return (frame_bytes + WIRE_OVERHEAD_BYTES) * 1_000_000_000 // rate if rate else 0


def delay_values(impairment: Impairment) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Sorted distinct delays (ns) of one slot on an idle direction, and their exact probabilities.

    What lies below LEAST_DELAY_NS counts as that. Loss is left out (it is the caller's q). Holds for uncorrelated
    draws exactly. With ``correlation`` it holds to within about (2 sigma or the table's size) / 2^32, because netem's
    modulo scrambles the correlated draw (see testbed.topologies.netem.correlation_remark).
    """
    import numpy as np

    drawn, weights = drawn_values(impairment)
    values, index = np.unique(np.maximum(drawn + packet_time_ns(impairment), LEAST_DELAY_NS), return_inverse=True)
    return values, np.bincount(index, weights=weights, minlength=len(values)).astype(np.float64)


def drawn_values(impairment: Impairment) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Sorted distinct delays (ns) as they are drawn, and their probabilities: before the rate adds what a frame of
    this size takes, and may be negative."""
    import numpy as np

    sigma = impairment.jitter_ns
    if sigma == 0:
        return np.array([impairment.delay_ns], dtype=np.int64), np.ones(1)
    table = table_of(impairment)
    cells = 2 * sigma if table is None else len(table)
    if cells > MAX_GRID:
        raise ValueError(f"a jitter of {sigma} ns is too wide for an exact grid of {MAX_GRID} cells")
    counts = np.full(cells, (1 << 32) // cells, dtype=np.int64)
    counts[: (1 << 32) % cells] += 1
    if table is None:
        raw = np.arange(cells, dtype=np.int64) + (impairment.delay_ns - sigma)
    else:
        raw = np.array([tabledist(impairment.delay_ns, sigma, rnd, table) for rnd in range(cells)], dtype=np.int64)
    values, index = np.unique(raw, return_inverse=True)
    weights = np.bincount(index, weights=counts.astype(np.float64), minlength=len(values))
    return values, weights / float(1 << 32)


def delay_pmf(impairment: Impairment) -> tuple[int, NDArray[np.float64]]:
    """``(offset_ns, probabilities)``: probabilities[i] = P(delay = offset_ns + i) of one frame on an idle direction.

    Exactly what netem's integers give, see ``delay_values``, which is the compact form. A one-nanosecond grid of at
    most 2^26 cells, else ValueError.
    """
    import numpy as np

    values, weights = delay_values(impairment)
    offset = int(values[0])
    width = int(values[-1]) - offset + 1
    if width > MAX_GRID:
        raise ValueError(f"delays spread over {width} ns: too wide for an exact grid of {MAX_GRID} cells")
    pmf = np.zeros(width)
    pmf[values - offset] = weights
    return offset, pmf


def greatest_delay_ns(impairment: Impairment) -> int:
    """The longest delay that can be drawn for one frame on an idle direction."""
    return max(LEAST_DELAY_NS, _delay_range(impairment)[1] + packet_time_ns(impairment))


def least_delay_ns(impairment: Impairment, clip: bool = True) -> int:
    """The shortest delay that a frame can have; ``clip=False`` shows how far below 0 the jitter reaches."""
    least = _delay_range(impairment)[0] + packet_time_ns(impairment)
    return max(LEAST_DELAY_NS, least) if clip else least


def _delay_range(impairment: Impairment) -> tuple[int, int]:
    delay, sigma = impairment.delay_ns, impairment.jitter_ns
    if sigma == 0:
        return delay, delay
    table = table_of(impairment)
    if table is None:
        return delay - sigma, delay + sigma - 1
    least, greatest = _extremes(table)
    return tabledist(delay, sigma, least, table), tabledist(delay, sigma, greatest, table)


@lru_cache(maxsize=32)
def _extremes(table: tuple[int, ...]) -> tuple[int, int]:
    """Places of the least and the greatest entry."""
    return min(range(len(table)), key=table.__getitem__), max(range(len(table)), key=table.__getitem__)


_NORMAL = NormalDist()


def _normal(p: float) -> float:
    return _NORMAL.inv_cdf(p)


def _pareto(p: float) -> float:
    alpha = PARETO_ALPHA
    mean = alpha / (alpha - 1)
    deviation = sqrt(alpha / (alpha - 2)) / (alpha - 1)
    return (float((1 - p) ** (-1 / alpha)) - mean) / deviation


def _paretonormal(p: float) -> float:
    return 0.25 * _normal(p) + 0.75 * _pareto(p)


_QUANTILES: dict[str, Callable[[float], float]] = {
    "normal": _normal,
    "pareto": _pareto,
    "paretonormal": _paretonormal,
}


@cache
def _table(distribution: str) -> tuple[int, ...]:
    quantile = _QUANTILES[distribution]
    # The share of probability that stays below 4 sigma, found by bisection: the longer the tail is left, the further
    # out its end lies. A fixed number of steps, so that all machines agree.
    kept, too_much = 0.5, 1.0
    values = _standardised(quantile, too_much)
    if values[-1] <= CLIP / SCALE:
        return tuple(_clipped(value * SCALE) for value in values)
    for _ in range(30):
        share = (kept + too_much) / 2
        if _standardised(quantile, share)[-1] <= CLIP / SCALE:
            kept = share
        else:
            too_much = share
    return tuple(_clipped(value * SCALE) for value in _standardised(quantile, kept))


def _standardised(quantile: Callable[[float], float], share: float) -> list[float]:
    """The quantiles of the lower ``share`` of a distribution, with mean 0 and standard deviation 1."""
    values = [quantile(share * (index + 0.5) / TABLE_SIZE) for index in range(TABLE_SIZE)]
    mean = fsum(values) / TABLE_SIZE
    deviation = sqrt(fsum((value - mean) ** 2 for value in values) / TABLE_SIZE)
    return [(value - mean) / deviation for value in values]


def _clipped(entry: float) -> int:
    return max(-CLIP, min(CLIP, round(entry)))


def _sample_quantile(ordered: Sequence[float], p: float) -> float:
    place = p * len(ordered) - 0.5
    if place <= 0:
        return ordered[0]
    if place >= len(ordered) - 1:
        return ordered[-1]
    low = int(place)
    return ordered[low] + (ordered[low + 1] - ordered[low]) * (place - low)
