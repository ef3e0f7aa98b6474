"""The search for a break point: where P(broken round) crosses a named p, with an answer that chance cannot blame.

What is claimed. The **bracket** has two ends, and of each it is certain on which side of p its probability lies: so a
crossing lies between them, whatever the curve does elsewhere or in between. The **estimate** and its interval come
from a fit to all counts (testbed.study.crossing) and rest on the curve being smooth there.

How. One batch at each point of the grid tells roughly where the least crossing lies, and which way the curve goes.
From then on the fit says where to *aim*: at the nearest point on each side that the rounds left can be expected to
decide. Bets on these points (testbed.study.evidence) may be looked at after every batch, at no cost. A point that
turns out too near to p to be decided is given up for one farther off, and a point decided cheaply is followed by a
nearer one, until the rounds are spent, nothing nearer can be paid, or the bracket is as narrow as was asked.

Confidence. The error is spent on what is tried, not on what might be: a quarter on the points of the grid, the rest on
aims, half on either side, one after the other. An aim stakes a part of what its side has left, and loses it when it is
given up; a claim that is made returns its stake, for the next one is only reached when this one is true, or wrong
already (a fixed sequence of tests). Of the rounds at an aim only those count that came after it was chosen. So the
chance of any wrong claim at all is at most 1 - confidence.

A search is deterministic: fed the same counts it asks for the same rounds, so an interrupted study goes on exactly
where it stopped by going through it again with the trials that are there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from testbed.study.crossing import Crossing, fit_crossing
from testbed.study.evidence import Count, Law, Side, divergence, expecting, log_evidence, wide_law
from testbed.study.statistics import clopper_pearson

_GRID_SHARE = 0.25  # of the error, for all points of the grid together
_AIM_SHARE = 0.6  # of what is left for a side, for one aim
_UNSURE = 0.5  # how far from what the fit expects an aim's bet is spread (one deviation), as a share of the way to p
_LEANS = 4.0  # log-likelihood by which a point leans to a side: good enough to choose where to look, not to claim
_MIXING = 1.0  # log-evidence that a bet loses because it does not know the probability it bets on
_APART = 1.5  # standard errors of the estimate that an aim keeps off it, and those that costs are reckoned nearer
_CAUTION = 0.5
_PLANNED = 0.6  # share of the rounds left that new aims may be expected to take
_GIVEN_UP = 1.1  # aims are dropped when they are expected to take this many times what is left;
_GIVEN_UP_BARE = 0.8  # sooner while their side has no certain point at all
_WORTH = 0.75  # a nearer aim must come this much nearer
_RESERVE = 0.15  # of all rounds, kept for a wide bracket while there is none
_PART = 3  # of an aim's expected rounds, one in so many is sampled before the next look
_DIGITS = 7
_NOTHING = Count(0, 0)


class Request(NamedTuple):
    """Sample at ``x`` until ``rounds`` rounds have been counted there in all."""

    x: float
    rounds: int


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """What to look for and what it may cost.

    probability: p. confidence: of the whole bracket. grid: the coarse points, ascending. batch: rounds of the least
    request. rounds: what all of it may cost. resolution: it ends when the bracket is narrower than this fraction of its
    upper end. integral: x takes whole numbers only (nanoseconds, depths).
    """

    probability: float
    confidence: float
    grid: tuple[float, ...]
    batch: int = 500
    rounds: int = 60_000
    resolution: float = 0.02
    integral: bool = True


@dataclass(frozen=True, slots=True)
class BreakPoint:
    """The answer. status: bracketed, always (above p at every point of the grid), never (below p at every one), open
    (the rounds did not do). rising: whether the curve goes up through p (None: neither was seen).

    lo, hi: the bracket, holding a crossing at ``confidence``; None where there is none. estimate, low, high: the fitted
    crossing with its interval at ``confidence``; None where nothing could be fitted. rounds: what it took. looks: how
    often evidence was looked at; aims: at how many points beside the grid's a claim was tried.
    """

    status: str
    probability: float
    confidence: float
    rising: bool | None = None
    lo: float | None = None
    hi: float | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    rounds: int = 0
    looks: int = 0
    aims: int = 0


class _Aim(NamedTuple):
    """A claim being tried: that the probability at x is on this side of p. before: the rounds that do not count.
    law: how its bet is spread."""

    x: float
    side: Side
    error: float
    before: Count
    law: Law


class Search:
    """``while requests := search.step(counts): ...`` brings the counts up to what is asked; then ``answer(counts)``."""

    def __init__(self, spec: SearchSpec) -> None:
        self.spec = spec
        error = 1 - spec.confidence
        self._grid_error = error * _GRID_SHARE / len(spec.grid)
        self._left = dict.fromkeys(Side, error * (1 - _GRID_SHARE) / 2)
        self._aims: dict[Side, _Aim] = {}
        self._certain: dict[float, Side] = {}
        self._counts: Mapping[float, Count] = {}
        self._rising: bool | None = None
        self._reach = spec.grid[0], spec.grid[-1]
        self._looks = self._tried = 0

    # -- from outside ------------------------------------------------------------------------------------------------

    def step(self, counts: Mapping[float, Count]) -> list[Request]:
        """What to sample next, given all that has been counted; empty when the search is over."""
        self._counts = counts
        wanted = {x: self.spec.batch for x in self.spec.grid if not self._count(x).rounds}
        if not wanted:
            self._look()
            wanted = self._wanted(self.spec.rounds - self._spent())
        return [Request(x, self._count(x).rounds + rounds) for x, rounds in wanted.items()]

    def answer(self, counts: Mapping[float, Count]) -> BreakPoint:
        """The break point as far as the search has found it."""
        self._counts = counts
        found = _answer(self.spec, counts, self._certain)
        return replace(found, rounds=self._spent(), looks=self._looks, aims=self._tried)

    def certainty(self, x: float) -> Side | None:
        """On which side of p the probability at x is certain to lie; None while that is open."""
        return self._certain.get(x)

    # -- looking -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Claim what the evidence allows."""
        self._looks += 1
        for x in self.spec.grid:
            for side in Side:
                if self._evidence(side, x) >= -math.log(self._grid_error):
                    self._certain.setdefault(x, side)
        for side, aim in list(self._aims.items()):
            if self._evidence(side, aim.x, aim.before, aim.law) >= -math.log(aim.error):
                self._certain.setdefault(aim.x, side)
                del self._aims[side]

    def _evidence(self, side: Side, x: float, before: Count = _NOTHING, law: Law | None = None) -> float:
        broken, rounds = self._count(x)
        return log_evidence(side, Count(broken - before.broken, rounds - before.rounds), self.spec.probability, law)

    def _count(self, x: float) -> Count:
        return self._counts.get(x, _NOTHING)

    def _spent(self) -> int:
        return sum(count.rounds for count in self._counts.values())

    # -- choosing where to sample ------------------------------------------------------------------------------------

    def _wanted(self, room: int) -> dict[float, int]:
        if room < self.spec.batch:
            return {}
        bracket = least_change(self._certain)
        if bracket is not None and self._narrow(*bracket):
            return {}
        sides = _leanings(self._counts, self.spec.probability) | self._certain
        region = least_change(sides)
        if region is None:
            return self._everywhere(room)
        rising = sides[region[0]] is Side.BELOW
        if rising is not self._rising:
            self._rising = rising
            for side in list(self._aims):
                self._give_up(side)
        crossing = _fitted(self.spec, self._counts, sides, region, bracket)
        near = _around(region, self._counts, sides)
        self._stay_within(min(near), max(near), sides)
        lo, hi = region
        saving = bracket is None and room < _RESERVE * self.spec.rounds
        if not self._narrow(lo, hi) and not saving and (middle := self._halved(lo, hi, crossing)) is not None:
            return {middle: self.spec.batch}
        if crossing is None or self._narrow(lo, hi):
            self._aim_at_ends(region)
        else:
            self._aim(crossing, room)
        wanted = self._pursue(crossing, room)
        if crossing is None and not wanted:
            wanted = self._undecided(lo, hi, room)
        return self._secure(region, near, sides, room) if bracket is None and (saving or not wanted) else wanted

    def _narrow(self, lo: float, hi: float) -> bool:
        return hi - lo <= self.spec.resolution * abs(hi) or (self.spec.integral and hi - lo <= 1)

    def _everywhere(self, room: int) -> dict[float, int]:
        """No change of side in sight: make sure of every point of the grid, but at none for ever."""
        most = max(self.spec.batch, self.spec.rounds // 4)
        wanted: dict[float, int] = {}
        for x in sorted(self.spec.grid, key=lambda x: (self._count(x).rounds, x)):
            rounds = min(self._count(x).rounds, most - self._count(x).rounds)
            if x not in self._certain and self.spec.batch <= rounds <= room:
                wanted[x] = rounds
                room -= rounds
        return wanted

    def _halved(self, lo: float, hi: float, crossing: Crossing | None) -> float | None:
        """The middle, when the curve changes side between lo and hi and nothing, or no fit, tells where."""
        middle = self._snapped((lo + hi) / 2)
        if not lo < middle < hi or self._count(middle).rounds:
            return None
        seen = any(lo < x < hi for x, count in self._counts.items() if count.rounds)
        return middle if not seen or crossing is None or crossing.error > (hi - lo) / 3 else None

    def _undecided(self, lo: float, hi: float, room: int) -> dict[float, int]:
        """No fit tells where: as many rounds again at the point between that leans to no side yet and has the fewest,
        but at none for ever."""
        between = [x for x, count in self._counts.items() if lo < x < hi and count.rounds]
        x = min(between, key=lambda x: (self._count(x).rounds, x), default=None)
        if x is None or self._count(x).rounds > min(room, self.spec.rounds // 8):
            return {}
        return {x: self._count(x).rounds}

    def _secure(
        self, region: tuple[float, float], near: Mapping[float, Count], sides: Mapping[float, Side], room: int
    ) -> dict[float, int]:
        """Rather a wide bracket than none: make sure of the nearest points of the grid that are easy to be sure of."""
        p = self.spec.probability
        wanted: dict[float, int] = {}
        for side in Side:
            leaning = [x for x in self.spec.grid if x in near and sides.get(x) is side]
            if leaning and not any(x in self._certain for x in leaning):
                speed = {x: divergence(self._count(x).broken / self._count(x).rounds, p) for x in leaning}
                quick = [x for x in leaning if speed[x] >= max(speed.values()) / 2]
                x = min(quick, key=lambda x: abs(x - sum(region) / 2))
                if room >= self.spec.batch:
                    wanted[x] = self.spec.batch
                    room -= self.spec.batch
        return wanted

    def _aim_at_ends(self, region: tuple[float, float]) -> None:
        """No fit, or none needed any more: claim the two points between which the change is seen, and nothing else."""
        for side in Side:
            x = region[0] if self._way(side) < 0 else region[1]
            aim = self._aims.get(side)
            if aim is not None and aim.x == x:
                continue
            if aim is not None:
                self._give_up(side)
            if x not in self._certain:
                self._take(self._made(side, x, None))

    def _stay_within(self, least: float, greatest: float, sides: Mapping[float, Side]) -> None:
        """Aim at nothing behind another hill, nor go on with an aim whose own counts lean to the wrong side."""
        self._reach = least, greatest
        for side, aim in list(self._aims.items()):
            if not least <= aim.x <= greatest or sides.get(aim.x, side) is not side:
                self._give_up(side)

    def _made(self, side: Side, x: float, crossing: Crossing | None) -> _Aim:
        """An aim at x, its bet spread around what the fit, if there is one, expects there."""
        p = self.spec.probability
        q = p if crossing is None else crossing.probability(x)
        expected = q != p and (q < p) is (side is Side.BELOW)
        law = expecting(q, _UNSURE * abs(q - p), p) if expected else wide_law(p)
        return _Aim(x, side, self._left[side] * _AIM_SHARE, self._count(x), law)

    def _take(self, aim: _Aim) -> None:
        self._aims[aim.side] = aim
        self._tried += 1

    def _give_up(self, side: Side) -> None:
        """An aim that was not decided has cost its error; a decided one has not."""
        self._left[side] -= self._aims.pop(side).error

    def _aim(self, crossing: Crossing, room: int) -> None:
        """Give up aims that cannot be paid, and choose new ones where there are none."""
        costs = {side: self._cost(crossing, aim) for side, aim in self._aims.items()}
        bare = any(self._end(side) is None for side in self._aims)
        while costs and sum(costs.values()) > (_GIVEN_UP_BARE if bare else _GIVEN_UP) * room:
            dearest = max(costs, key=lambda side: (costs[side], side))
            self._give_up(dearest)
            del costs[dearest]
        free = [side for side in Side if side not in self._aims]
        spare = room - sum(costs.values())
        for side in free:
            self._aim_at(side, crossing, _PLANNED * spare / len(free), spare)

    def _aim_at(self, side: Side, crossing: Crossing, planned: float, spare: float) -> None:
        """The nearest point that can be decided with the planned rounds, if it is worth them."""
        if planned < self.spec.batch:
            return
        aim = self._nearest(side, crossing, planned)
        cost, end = self._cost(crossing, aim), self._end(side)
        if cost > 2 * planned or cost > spare or aim.x in self._certain:
            return
        if end is not None and abs(aim.x - crossing.x) > _WORTH * abs(end - crossing.x):
            return
        self._take(aim)

    def _nearest(self, side: Side, crossing: Crossing, planned: float) -> _Aim:
        grid = self.spec.grid
        wide = self.spec.resolution * abs(crossing.x)
        enough = max(0.0, min(0.45 * wide, wide / 2 - 1)) if self.spec.integral else 0.45 * wide  # ends move outwards
        least = max(_APART * crossing.error, enough)
        near, far = math.log(max(least, 1e-12 * abs(grid[-1]))), math.log(2 * (grid[-1] - grid[0]))

        def at(distance: float) -> _Aim:
            return self._made(side, self._placed(side, crossing.x, distance), crossing)

        if near >= far or self._cost(crossing, at(math.exp(near))) <= planned:
            return at(math.exp(near))
        for _ in range(40):
            middle = (near + far) / 2
            near, far = (near, middle) if self._cost(crossing, at(math.exp(middle))) <= planned else (middle, far)
        return at(math.exp(far))

    def _cost(self, crossing: Crossing | None, aim: _Aim) -> float:
        """About how many rounds it still takes to decide this aim, were the crossing somewhat nearer to it."""
        p = self.spec.probability
        if crossing is None:
            broken, rounds = self._count(aim.x)
            q = (broken + 0.5) / (rounds + 1)
        else:
            q = crossing.probability(aim.x - self._way(aim.side) * _CAUTION * crossing.error)
        if (q < p) is not (aim.side is Side.BELOW):
            return math.inf
        begun = self._aims.get(aim.side) is aim
        needed = -math.log(aim.error) + (-self._evidence(aim.side, aim.x, aim.before, aim.law) if begun else _MIXING)
        gain = divergence(q, p)
        return max(needed, 0.5) / gain if gain > 0 else math.inf

    def _pursue(self, crossing: Crossing | None, room: int) -> dict[float, int]:
        """A part of the rounds that the aims are expected to take, in whole batches."""
        batch = self.spec.batch
        wanted: dict[float, int] = {}
        for aim in self._aims.values():
            batches = max(1, int(min(self._cost(crossing, aim), room) / _PART / batch))
            rounds = min(batches, max(1, room // batch // len(self._aims))) * batch
            if rounds <= room:
                wanted[aim.x] = wanted.get(aim.x, 0) + rounds
                room -= rounds
        return wanted

    def _end(self, side: Side) -> float | None:
        """The bracket's end on this side, if there is a bracket."""
        bracket = least_change(self._certain)
        return next((x for x in bracket if self._certain[x] is side), None) if bracket else None

    def _way(self, side: Side) -> int:
        """Where this side lies from the crossing: to the left or to the right."""
        return -1 if (side is Side.BELOW) is self._rising else 1

    def _placed(self, side: Side, x: float, distance: float) -> float:
        """A point at this distance or the next one beyond that the parameter can take, inside the sweep."""
        way = self._way(side)
        least, greatest = self._reach
        place = min(max(x + way * distance, least), greatest)  # a distance may be infinite
        if self.spec.integral:
            place = float(math.floor(place) if way < 0 else math.ceil(place))
        return self._inside(place)

    def _snapped(self, x: float) -> float:
        return self._inside(float(round(x)) if self.spec.integral else x)

    def _inside(self, x: float) -> float:
        """Inside the sweep, and short enough to be read."""
        grid = self.spec.grid
        short = x if self.spec.integral else float(f"{x:.{_DIGITS}g}")
        return min(max(short, grid[0]), grid[-1])


def fixed_answer(spec: SearchSpec, counts: Mapping[float, Count]) -> BreakPoint:
    """The break point from counts whose places and rounds were chosen beforehand, each looked at once."""
    certain: dict[float, Side] = {}
    for x, count in counts.items():
        interval = clopper_pearson(*count, 1 - (1 - spec.confidence) / len(counts))
        if not interval.holds(spec.probability):
            certain[x] = Side.BELOW if interval.high < spec.probability else Side.ABOVE
    rounds = sum(count.rounds for count in counts.values())
    return replace(_answer(spec, counts, certain), rounds=rounds, looks=len(counts))


def least_change(sides: Mapping[float, Side]) -> tuple[float, float] | None:
    """The first two neighbours that lie on different sides, or None."""
    return next((pair for pair in pairwise(sorted(sides)) if sides[pair[0]] is not sides[pair[1]]), None)


def _leanings(counts: Mapping[float, Count], p: float) -> dict[float, Side]:
    """The side of every point whose counts lean to one."""
    sides: dict[float, Side] = {}
    for x, (broken, rounds) in counts.items():
        if rounds and rounds * divergence(broken / rounds, p) >= _LEANS:
            sides[x] = Side.ABOVE if broken / rounds > p else Side.BELOW
    return sides


def _around(
    region: tuple[float, float], counts: Mapping[float, Count], sides: Mapping[float, Side]
) -> dict[float, Count]:
    """The counts of the curve's way through p alone: not those from where, outwards of the region, it changes side
    again or turns back, for they tell of a hill or of another crossing."""
    lo, hi = region
    seen = sorted(x for x, count in counts.items() if count.rounds)
    above = sides[hi] is Side.ABOVE
    left = _straight_on([x for x in reversed(seen) if x <= lo], counts, sides, not above)
    right = _straight_on([x for x in seen if x >= hi], counts, sides, above)
    return {x: counts[x] for x in seen if left <= x <= right}


def _straight_on(
    outwards: Sequence[float], counts: Mapping[float, Count], sides: Mapping[float, Side], up: bool
) -> float:
    """The last of these points up to which the curve goes on the way it should, as far as the counts can tell."""
    last = outwards[0]
    for place, x in enumerate(outwards):
        nearer = [counts[y] for y in outwards[:place]]
        turned = any(_lean_apart(*((counts[x], count) if up else (count, counts[x]))) for count in nearer)
        if turned or sides.get(x, sides[outwards[0]]) is not sides[outwards[0]]:
            break
        last = x
    return last


def _lean_apart(less: Count, more: Count) -> bool:
    """Whether the first breaks less often than the second, as clearly as a point leans to a side."""
    both = (less.broken + more.broken) / (less.rounds + more.rounds)
    low, high = less.broken / less.rounds, more.broken / more.rounds
    return low < high and less.rounds * divergence(low, both) + more.rounds * divergence(high, both) >= _LEANS


def _fitted(
    spec: SearchSpec,
    counts: Mapping[float, Count],
    sides: Mapping[float, Side],
    region: tuple[float, float],
    bracket: tuple[float, float] | None,
) -> Crossing | None:
    """The fitted crossing, unless it denies what is known: it must lie in the bracket, or nearly in the region to whose
    ends the counts lean."""
    lo, hi = region
    crossing = fit_crossing(_around(region, counts, sides), spec.probability, sides[lo] is Side.BELOW)
    least, greatest = bracket or (2 * lo - hi, 2 * hi - lo)
    return crossing if crossing is not None and least <= crossing.x <= greatest else None


def _answer(spec: SearchSpec, counts: Mapping[float, Count], certain: Mapping[float, Side]) -> BreakPoint:
    p, confidence, grid = spec.probability, spec.confidence, spec.grid
    bracket = least_change(certain)
    if bracket is None and all(x in certain for x in grid):
        return BreakPoint("never" if certain[grid[0]] is Side.BELOW else "always", p, confidence)
    sides = _leanings(counts, p) | dict(certain)
    region = bracket or least_change(sides)
    if region is None:
        return BreakPoint("open", p, confidence)
    rising = sides[region[0]] is Side.BELOW
    lo, hi = bracket or (None, None)
    found = BreakPoint("bracketed" if bracket else "open", p, confidence, rising, lo, hi)
    crossing = _fitted(spec, counts, sides, region, bracket)
    if crossing is None or not grid[0] <= crossing.x <= grid[-1]:
        return replace(found, estimate=sum(bracket) / 2 if bracket else None)
    low, high = crossing.interval(confidence, *(bracket or (grid[0], grid[-1])))
    return replace(found, estimate=crossing.x, low=low, high=high)
