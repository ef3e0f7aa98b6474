"""The adaptive search for a break point: the least x at which the probability of breaking exceeds a named p.

A pure function of what has been counted so far says what to sample next, so that an interrupted study goes on where it
stopped, and points and batches can be sampled in any order, on any number of cores.

Confidence. A point is *below* (*above*) once its exact Clopper-Pearson interval lies below (above) p. Looking again
after every batch and at many points would spoil the level of a single interval, so the error 1 - confidence is divided
evenly over all looks at all points (Bonferroni): with probability >= confidence every point is classified rightly, and
then the bracket holds a crossing.

Shape. The probability need not be monotone in x: splits vanish again at extreme jitter, where every swap aborts at both
ends. The search looks for the least crossing that its grid can see; a rise and fall between two neighbouring points
of the coarse grid stays unseen, so the grid is part of the answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from testbed.study.statistics import clopper_pearson


class Count(NamedTuple):
    """Broken among sampled at one point."""

    broken: int
    rounds: int


class Request(NamedTuple):
    """Sample at ``x`` until ``rounds`` rounds have been counted there in all."""

    x: float
    rounds: int


class Side(StrEnum):
    """What is known of a point: its probability lies below or above p, neither within the budget, or not yet."""

    BELOW = "below"
    ABOVE = "above"
    UNDECIDED = "undecided"
    SAMPLING = "sampling"


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """What to look for and what it may cost.

    probability: p. confidence: of the whole bracket. grid: the coarse points, ascending. batch: rounds of the first
    look at a point; each further look doubles it. max_rounds: the budget of one point. resolution: bisection stops
    when the bracket is narrower than this fraction of its upper end. max_points: of grid and bisection together.
    integral: x takes whole numbers only (nanoseconds, depths).
    """

    probability: float
    confidence: float
    grid: tuple[float, ...]
    batch: int = 500
    max_rounds: int = 20_000
    resolution: float = 0.02
    max_points: int = 40
    integral: bool = True

    @property
    def looks(self) -> int:
        """How often one point is looked at, at the most."""
        return 1 + max(0, math.ceil(math.log2(self.max_rounds / self.batch)))

    @property
    def look_confidence(self) -> float:
        """The level of a single look's interval, see the module's text."""
        return 1 - (1 - self.confidence) / (self.looks * max(self.max_points, len(self.grid)))

    def next_look(self, rounds: int) -> int:
        """The number of rounds at which a point with ``rounds`` is looked at next."""
        size = self.batch
        while size <= rounds:
            size *= 2
        return min(size, self.max_rounds)


@dataclass(frozen=True, slots=True)
class BreakPoint:
    """The answer. status: bracketed (lo below p, hi above), always (the first grid point is above already), never (no
    point is above), open (budget or points ran out before the least crossing was certain).

    lo, hi: the bracket, holding the break point at ``confidence``; None where open. estimate: where the interpolated
    probability crosses p, None when it does not.
    """

    status: str
    probability: float
    confidence: float
    lo: float | None
    hi: float | None
    estimate: float | None


def classify(spec: SearchSpec, count: Count) -> Side:
    """Which side of p the point with this count lies on."""
    return _classify(count.broken, count.rounds, spec.probability, spec.look_confidence, spec.batch, spec.max_rounds)


@lru_cache(maxsize=100_000)
def _classify(broken: int, rounds: int, p: float, confidence: float, batch: int, max_rounds: int) -> Side:
    if rounds < batch:
        return Side.SAMPLING
    low, high = clopper_pearson(broken, rounds, confidence)
    if high < p:
        return Side.BELOW
    if low > p:
        return Side.ABOVE
    return Side.UNDECIDED if rounds >= max_rounds else Side.SAMPLING


def next_requests(spec: SearchSpec, counts: Mapping[float, Count]) -> list[Request]:
    """What to sample next, given what has been counted; empty when the search is over.

    First one look at the whole grid, then certainty from the left up to the first point above p, then bisection.
    """
    unseen = [Request(x, spec.batch) for x in spec.grid if counts.get(x, Count(0, 0)).rounds < spec.batch]
    if unseen:
        return unseen
    points = sorted(counts)
    sides = [classify(spec, counts[x]) for x in points]
    first_above = sides.index(Side.ABOVE) if Side.ABOVE in sides else len(points)
    unsure = [
        Request(x, spec.next_look(counts[x].rounds))
        for x, side in zip(points[:first_above], sides, strict=False)
        if side is Side.SAMPLING
    ]
    if unsure or first_above in (0, len(points)):
        return unsure
    room = spec.max_points - len(points)
    return [Request(x, spec.batch) for x in _midpoints(spec, points, sides, first_above)[: max(0, room)]]


def _midpoints(spec: SearchSpec, points: list[float], sides: list[Side], above: int) -> list[float]:
    """Where to bisect: between the last point that is surely below, with all before it, and the first one above,
    leaving out what stays undecided."""
    below = _last_below(sides)
    if below is None:
        return []
    gaps = [(points[below], points[below + 1]), (points[above - 1], points[above])]
    limit = spec.resolution * points[above]
    found = []
    for lo, hi in dict.fromkeys(gaps):
        middle = (lo + hi) / 2
        if spec.integral:
            middle = float(round(middle))
        if hi - lo > limit and lo < middle < hi:
            found.append(middle)
    return found


def _last_below(sides: list[Side]) -> int | None:
    """The last of the leading points below p: behind one that stays undecided, the least crossing may be passed."""
    leading = next((index for index, side in enumerate(sides) if side is not Side.BELOW), len(sides))
    return leading - 1 if leading else None


def break_point(spec: SearchSpec, counts: Mapping[float, Count]) -> BreakPoint:
    """The break point as far as the counts tell it."""
    points = [x for x in sorted(counts) if counts[x].rounds]
    sides = [classify(spec, counts[x]) for x in points]
    answer = (spec.probability, spec.confidence)
    below = _last_below(sides)
    lo = points[below] if below is not None else None
    if Side.ABOVE not in sides:
        certain = bool(points) and lo == points[-1]
        return BreakPoint("never" if certain else "open", *answer, lo, None, None)
    above = sides.index(Side.ABOVE)
    if below is None:
        return BreakPoint("open" if above else "always", *answer, None, points[above], None)
    estimate = _interpolate(spec.probability, points[below : above + 1], counts)
    return BreakPoint("bracketed", *answer, points[below], points[above], estimate)


def _interpolate(p: float, points: list[float], counts: Mapping[float, Count]) -> float:
    """Where a straight line through the points' log-odds, weighted by what each weighs there, crosses p.

    Half a round is added to either outcome, so that a point without breaks has log-odds too.
    """
    weights, odds = [], []
    for x in points:
        broken, rounds = counts[x]
        odds.append(math.log((broken + 0.5) / (rounds - broken + 0.5)))
        weights.append(1 / (1 / (broken + 0.5) + 1 / (rounds - broken + 0.5)))
    total = sum(weights)
    mean_x = sum(w * x for w, x in zip(weights, points, strict=True)) / total
    mean_odds = sum(w * o for w, o in zip(weights, odds, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, x in zip(weights, points, strict=True))
    slope = sum(w * (x - mean_x) * (o - mean_odds) for w, x, o in zip(weights, points, odds, strict=True)) / spread
    if slope <= 0:
        return (points[0] + points[-1]) / 2
    crossing = mean_x + (math.log(p / (1 - p)) - mean_odds) / slope
    return min(max(crossing, points[0]), points[-1])
