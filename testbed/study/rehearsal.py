"""Searches on curves whose break point is known: how often the answer holds it, and how narrow it is.

The measure of width is the **ideal** local estimator: all rounds at the break point itself and the slope there known,
so that an interval at ``confidence`` is 2 z sqrt(p (1 - p) / rounds) / |P'| wide. Nobody can do that who does not know
the answer; a ratio of 1 is what no honest method reaches.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from statistics import NormalDist, fmean, median

from testbed.study.closed_forms import alternating
from testbed.study.evidence import Count
from testbed.study.search import BreakPoint, Search, SearchSpec
from testbed.study.statistics import Interval, clopper_pearson
from testbed.topologies.impairment import Impairment

GRID = tuple(1000.0 * x for x in range(2, 15))  # that of the default study: a jitter of 2 to 14 µs
CONFIDENCE = 0.99
_STEPS = 10_000
_STEP_NS, _LAST_NS = 250, 20_000


@dataclass(frozen=True)
class Curve:
    """P(broken round) against x in ns, and the p that is looked for."""

    name: str
    p: float
    probability: Callable[[float], float]

    @cached_property
    def crossings(self) -> tuple[float, ...]:
        """Every whole x of the grid's range before which the curve changes side."""
        above = [self.probability(x) > self.p for x in range(int(GRID[0]), int(GRID[-1]) + 1)]
        return tuple(GRID[0] + place + 1 for place, (a, b) in enumerate(pairwise(above)) if a != b)

    @cached_property
    def slope(self) -> float:
        """At the least crossing, per ns."""
        x = self.crossings[0]
        return abs(self.probability(x + 5) - self.probability(x - 5)) / 10


@cache
def _default_study_table() -> list[float]:
    """Log-odds of the default study's closed form every _STEP_NS: three swaps of 4 messages over 4 links of 15 µs +-
    jitter, W = 300 µs."""
    table = []
    for place in range(_LAST_NS // _STEP_NS + 1):
        way = (Impairment(15_000, place * _STEP_NS),) * 4
        broken = 1 - (1 - alternating(way, way, depth=4, window_ns=300_000).broken) ** 3
        table.append(log_odds(max(1e-12, broken)))
    return table


def default_study(jitter_ns: float) -> float:
    """P(broken round) of the default study, its log-odds joined by straight lines."""
    place, rest = divmod(min(max(jitter_ns, 0.0), _LAST_NS - 1.0) / _STEP_NS, 1.0)
    low, high = _default_study_table()[int(place) : int(place) + 2]
    return logistic(low + rest * (high - low))


def log_odds(x: float) -> float:
    """ln x / (1 - x)."""
    return math.log(x / (1 - x))


def logistic(at: float) -> float:
    """The inverse of log_odds."""
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, at))))


def _bump(x: float) -> float:
    """The default study's with a hill before the break point that stays below p, and a fall to nothing at the end."""
    hill = 0.004 * math.exp(-(((x - 6_000) / 700) ** 2))
    return (default_study(x) + hill) * (1.0 if x < 12_000 else math.exp((12_000 - x) / 300))


CURVES = {
    curve.name: curve
    for curve in (
        Curve("default study", 0.01, default_study),
        Curve("steep", 0.01, lambda x: logistic(log_odds(0.01) + (x - 9_700) / 60)),
        Curve("shallow", 0.01, lambda x: logistic(log_odds(0.01) + (x - 9_700) / 3_500)),
        Curve("p = 0.1", 0.1, lambda x: default_study(1.4 * x)),
        Curve("falling", 0.01, lambda x: default_study(16_000 - x)),
        Curve("bumps", 0.01, _bump),
        Curve("waves", 0.01, lambda x: default_study(x) * (1 + 0.35 * math.sin((x - 9_720) / 250))),
    )
}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One search. Ratios are widths over the ideal one for the rounds that it took; None where there is no such end."""

    found: BreakPoint
    bracket_holds: bool
    interval_holds: bool
    bracket_ratio: float | None
    interval_ratio: float | None


def rehearse(curve: Curve, seed: int, rounds: int = 60_000, batch: int = 600, resolution: float = 0.0005) -> Rehearsal:
    """Search for the curve's break point on rounds drawn from ``seed``. A bracket holds when any crossing is in it."""
    spec = SearchSpec(curve.p, CONFIDENCE, GRID, batch, rounds, resolution)
    search, draw = Search(spec), random.Random(seed)
    counts: dict[float, Count] = {}
    for _ in range(_STEPS):
        requests = search.step(counts)
        if not requests:
            break
        for x, wanted in requests:
            broken, have = counts.get(x, Count(0, 0))
            counts[x] = Count(broken + binomial(draw, wanted - have, curve.probability(x)), wanted)
    else:
        raise AssertionError("the search does not end")
    found = search.answer(counts)
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    ideal = 2 * z * math.sqrt(curve.p * (1 - curve.p) / found.rounds) / curve.slope
    return Rehearsal(
        found,
        _holds(curve, found.lo, found.hi),
        _holds(curve, found.low, found.high),
        _over(ideal, found.lo, found.hi),
        _over(ideal, found.low, found.high),
    )


def binomial(draw: random.Random, rounds: int, p: float) -> int:
    """So many of ``rounds`` break: by the gaps between them, which is quick where breaks are rare."""
    if p <= 0:
        return 0
    if p >= 1:
        return rounds
    broken, at, log_holds = 0, 0, math.log1p(-p)
    while True:
        gap = math.log(1 - draw.random()) / log_holds  # infinite where p is all but 0
        if gap >= rounds - at:
            return broken
        at += int(gap) + 1
        broken += 1


def _holds(curve: Curve, low: float | None, high: float | None) -> bool:
    """No answer claims nothing, and so is not wrong."""
    return low is None or high is None or any(low <= x <= high for x in curve.crossings)


def _over(ideal: float, low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None else (high - low) / ideal


@dataclass(frozen=True, slots=True)
class Score:
    """Many rehearsals of one curve. Coverages with their exact 99 % intervals; mean and median ratios of widths."""

    curve: str
    searches: int
    bracketed: int
    rounds: float
    bracket: Interval
    bracket_coverage: float
    bracket_ratio: float
    bracket_median: float
    interval: Interval
    interval_coverage: float
    interval_ratio: float


def score(curve: Curve, rehearsals: Iterable[Rehearsal]) -> Score:
    """What these rehearsals show."""
    done = list(rehearsals)
    held = sum(item.bracket_holds for item in done)
    interval_held = sum(item.interval_holds for item in done)
    brackets = [item.bracket_ratio for item in done if item.bracket_ratio is not None]
    intervals = [item.interval_ratio for item in done if item.interval_ratio is not None]
    return Score(
        curve.name,
        len(done),
        len(brackets),
        fmean(item.found.rounds for item in done),
        clopper_pearson(held, len(done)),
        held / len(done),
        _mean(brackets),
        median(brackets) if brackets else math.nan,
        clopper_pearson(interval_held, len(done)),
        interval_held / len(done),
        _mean(intervals),
    )


def _mean(ratios: Sequence[float]) -> float:
    return fmean(ratios) if ratios else math.nan
