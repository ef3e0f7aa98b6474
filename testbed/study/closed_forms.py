"""What theory says of the link: probabilities of the outcomes of a swap, computed from netem's own delay laws.

Notation: W the window, k the handshake's depth, S_i the sum of the first i one-way delays (each the sum over the link
directions of its way), l_i the probability that message i is lost on its way. Message i is acted on by W when none of
the first i was lost and S_i <= W: P_i = (1 - l_1) .. (1 - l_i) P(S_i <= W).

- alternating, abort: committed P_k, split P_(k-1) - P_k, aborted 1 - P_(k-1) (one window over the whole exchange).
- alternating, hold and reconcile: committed P_k, blocked at W 1 - P_k, never split.
- simultaneous: each end misses the other's value with its own q; abort splits when exactly one misses, hold blocks when
  any does.

Assumptions, and NotClosedFormError where a plan breaks them: delays and losses are independent draws (no correlation,
no bursts, no duplicates), no frame waits for another (no rate, no FIFO order under jitter, no full queue), no faults,
no clock drift, computing takes no time beyond ``fixed_ns`` per message, and W <= period, so that a round's swaps depend
on neither other rounds nor each other.

Precision. Delays are convolved on a lattice of at most ``cells`` points: exact to about 1e-14 while that is one
nanosecond; coarser otherwise. A coarse lattice interpolates distribution functions linearly, so its error is of second
order in the step; ``Outcomes.error`` bounds it (n delays, each at most an eighth of the greatest second difference of
the distribution function of the others' sum, taken from the lattice itself). P(split) is summed from positive terms,
sum over s <= W of P(S_(k-1) = s) P(message k lost or later than W - s), not as a difference, so that small
probabilities keep their digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from testbed.nodes.core.clock import PPB
from testbed.nodes.registry import engine_spec
from testbed.plan import Plan
from testbed.topologies.impairment import Impairment
from testbed.verdicts.delays import Lattice, convolve, dot, lattice_of, law_of
from testbed.verdicts.paths import Pair, Paths

CELLS = 1 << 16


class NotClosedFormError(ValueError):
    """No closed form holds for this plan; the text says which assumption fails and where."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of one swap: probabilities of its four outcomes (they sum to 1).

    skew: the part of ``committed`` whose two instants of commitment lie further apart than epsilon. error: how far any
    of them may be off because of the lattice; 0 when it was exact.
    """

    committed: float
    aborted: float
    split: float
    blocked: float
    skew: float = 0.0
    error: float = 0.0

    @property
    def broken(self) -> float:
        """The probability that this swap breaks bisynchrony."""
        return self.split + self.blocked + self.skew


Way = tuple[Impairment, ...]
"""The link directions that a message passes one after another."""


# -- one swap ------------------------------------------------------------------------------------------------------


def loss_of(way: Sequence[Impairment]) -> float:
    """The probability that a message is lost, or arrives unreadable, on this way."""
    return 1 - math.prod((1 - impairment.loss) * (1 - impairment.corrupt) for impairment in way)


def alternating(
    there: Way,
    back: Way,
    depth: int,
    window_ns: int,
    horizon: str = "abort",
    epsilon_ns: int | None = None,
    fixed_ns: int = 0,
    cells: int = CELLS,
) -> Outcomes:
    """An alternating handshake in one window: odd steps go ``there``, even ones ``back``.

    epsilon_ns: the skew allowed between the two commitments (which is message k's flight time); None = any.
    fixed_ns: what every message costs beyond the links' delays.
    """
    step_ns = _lattice_step((there, back), depth, window_ns, cells)
    grid = _Grid(step_ns, window_ns, epsilon_ns)
    flights = {1: _flight(there, grid, fixed_ns), 0: _flight(back, grid, fixed_ns)}
    before = convolve([flights[i % 2].law for i in range(1, depth)], grid.end)
    final = flights[depth % 2]
    losses = [loss_of(there if i % 2 else back) for i in range(1, depth + 1)]
    reached = math.prod(1 - loss for loss in losses[:-1])
    in_time, missed, skewed = _last_step(before, final, grid, losses[-1])
    committed, split, skew = reached * in_time, reached * missed, reached * skewed
    roughness = max(_roughness(flight.law, depth > 2) for flight in flights.values())
    error = grid.error(depth * (max(len(there), len(back)) + 1), roughness)
    if horizon == "abort":
        return Outcomes(committed, max(0.0, 1 - committed - split), split, 0.0, skew, error)
    return Outcomes(committed, 0.0, 0.0, 1 - committed, skew, error)


def last_split(
    transmissions: Sequence[Way], last: int, window_ns: int, fixed_ns: int = 0, cells: int = CELLS
) -> list[float]:
    """Where an alternating handshake under ``abort`` splits that cells carry: per transmission of its last message, the
    probability that this one is lost or too late and none before it was. They sum to P(split).

    transmissions: all of the handshake in order, each the directions that it passes. last: how many of them are those
    of the last message.
    """
    spread = sum(
        max(0, min(law.greatest_ns, window_ns + 1) - law.least_ns) for way in transmissions for law in map(law_of, way)
    )
    step_ns = max(1, -(-min(spread, len(transmissions) * (window_ns + 1)) // cells))
    grid = _Grid(step_ns, window_ns, None)
    flights = [_flight(way, grid, fixed_ns) for way in transmissions]
    losses = [loss_of(way) for way in transmissions]
    found = []
    for place in range(len(transmissions) - last, len(transmissions)):
        before = convolve([flight.law for flight in flights[:place]], grid.end)
        _, missed, _ = _last_step(before, flights[place], grid, losses[place])
        found.append(math.prod(1 - loss for loss in losses[:place]) * missed)
    return found


def recovered(links: int, loss: float, questions: int, cells: bool = True) -> list[float]:
    """Of a swap under ``reconcile`` of which only the last message was lost on its way: the probabilities that it is
    resolved once its receiver has asked 1, 2, .. ``questions`` times.

    links: on the way, on each of which a transmission is lost with probability ``loss``. Over plain switches question
    and answer have all of the way to go. A cell answers what it knows: the first that does not know it is so many links
    from the end that asks, and an answer that is lost on its way back has come nearer.
    """
    kept = 1 - loss
    if not cells:
        return [1 - (1 - kept ** (2 * links)) ** asked for asked in range(1, questions + 1)]
    first = [0.0] + [kept ** (links - far) * loss for far in range(1, links + 1)]  # by links to the nearest that knows
    at = np.array(first) / sum(first)
    step = np.zeros((links + 1, links + 1))  # from so many links to so many, by one question
    step[0, 0] = 1.0
    for far in range(1, links + 1):
        asked = kept**far
        step[far, far] = 1 - asked
        step[far, 0] += asked * kept**far
        for back in range(far):
            step[far, far - back] += asked * kept**back * loss
    found = []
    for _ in range(questions):
        at = at @ step
        found.append(float(at[0]))
    return found


def simultaneous(
    there: Way,
    back: Way,
    window_ns: int,
    horizon: str = "abort",
    epsilon_ns: int | None = None,
    fixed_ns: int = 0,
    cells: int = CELLS,
) -> Outcomes:
    """Both ends send at the round's start and commit on the other's value."""
    step_ns = _lattice_step((there, back), 1, window_ns, cells)
    grid = _Grid(step_ns, window_ns, epsilon_ns)
    one, other = (_flight(way, grid, fixed_ns) for way in (there, back))
    kept, kept_back = 1 - loss_of(there), 1 - loss_of(back)
    hit, hit_back = kept * grid.cdf(one.law), kept_back * grid.cdf(other.law)
    miss, miss_back = 1 - kept + kept * grid.late(one), 1 - kept_back + kept_back * grid.late(other)
    committed = hit * hit_back
    skew = kept * kept_back * grid.apart(one.law, other.law)
    error = grid.error(len(there) + len(back) + 2, max(_roughness(flight.law, False) for flight in (one, other)))
    if horizon == "abort":
        return Outcomes(committed, miss * miss_back, hit * miss_back + hit_back * miss, 0.0, skew, error)
    return Outcomes(committed, 0.0, 0.0, miss + hit * miss_back, skew, error)


def _lattice_step(ways: Sequence[Way], depth: int, window_ns: int, cells: int) -> int:
    """The finest lattice on which the whole exchange fits into ``cells`` points, as far as it lies within W."""
    spread = 0
    for way in ways:
        laws = [law_of(impairment) for impairment in way]
        spread = max(spread, sum(max(0, min(law.greatest_ns, window_ns + 1) - law.least_ns) for law in laws))
    return max(1, -(-min(depth * spread, depth * (window_ns + 1)) // cells))


class _Flight(NamedTuple):
    """The law of one message's flight as far as it lies within W, and the probability that lies beyond."""

    law: Lattice
    beyond: float


@dataclass(frozen=True, slots=True)
class _Grid:
    """The lattice, and W and epsilon on it: between two points everything is interpolated linearly."""

    step_ns: int
    window_ns: int
    epsilon_ns: int | None

    @property
    def end(self) -> int:
        """The last point that any sum needs."""
        return self.window_ns // self.step_ns + 1

    def points(self, x_ns: int) -> list[tuple[int, float]]:
        """The two points to interpolate between for "<= x", with their weights; one on a lattice of 1 ns.

        A point stands for the cell around it, as a nanosecond does: up to and with point i means up to
        (i + 1/2) steps, and up to and with x means up to x + 1/2.
        """
        index, rest = divmod(2 * x_ns + 1 - self.step_ns, 2 * self.step_ns)
        share = rest / (2 * self.step_ns)
        return [(index, 1 - share), (index + 1, share)] if rest else [(index, 1.0)]

    def cdf(self, law: Lattice) -> float:
        """P(in time)."""
        return sum(weight * law.cdf_at(index) for index, weight in self.points(self.window_ns))

    def late(self, flight: _Flight) -> float:
        """P(not in time), from what lies beyond, not as a difference."""
        law = flight.law
        return flight.beyond + sum(
            weight * float(law.p[max(0, index - law.offset + 1) :].sum())
            for index, weight in self.points(self.window_ns)
        )

    def apart(self, one: Lattice, other: Lattice) -> float:
        """P(both in time, and further apart than epsilon)."""
        if self.epsilon_ns is None:
            return 0.0
        total = 0.0
        for end, weight in self.points(self.window_ns):
            if end < max(one.offset, other.offset):
                continue
            a, b = one.cut(end), other.cut(end)
            for epsilon, share in self.points(self.epsilon_ns):
                total += weight * share * (_exceeds(a, b, epsilon) + _exceeds(b, a, epsilon))
        return total

    def error(self, delays: int, roughness: float) -> float:
        """What the lattice may cost: delays x sup |second difference of the rest's distribution function| / 8."""
        return 0.0 if self.step_ns == 1 else (delays + 1) * roughness / 8


def _exceeds(law: Lattice, reference: Lattice, epsilon: int) -> float:
    """P(law > reference + epsilon)."""
    within = np.concatenate([[0.0], np.cumsum(reference.p)])
    below = np.arange(len(law.p)) + law.offset - epsilon - 1  # the greatest value of the reference that counts
    return dot(law.p, within[np.clip(below - reference.offset + 1, 0, len(reference.p))])


def _roughness(law: Lattice, smoothed: bool) -> float:
    """The greatest second difference that the distribution function of the rest of the sum may have.

    Taking one delay out of a sum of several messages leaves at least one message whole (smoothed); out of a single
    message, nothing may be left that smooths.
    """
    if len(law.p) == 1:
        return 0.0
    return float(np.abs(np.diff(law.p, prepend=0.0)).max()) if smoothed else float(law.p.max())


def _flight(way: Way, grid: _Grid, fixed_ns: int) -> _Flight:
    if not way:
        raise ValueError("a message passes at least one link direction")
    laws = [law_of(impairment) for impairment in way]
    parts = [lattice_of(impairment, grid.step_ns).cut(grid.end) for impairment in way]
    if fixed_ns:
        parts.append(_constant(fixed_ns, grid.step_ns))
    least = sum(part.offset for part in parts)
    if least > grid.end:
        return _Flight(Lattice(grid.end, grid.step_ns, np.zeros(1)), 1.0)
    law = convolve(parts, grid.end)
    whole = sum(law.greatest_ns for law in laws) + fixed_ns <= grid.window_ns
    return _Flight(law, 0.0 if whole else max(0.0, 1 - float(law.p.sum())))


def _constant(value_ns: int, step_ns: int) -> Lattice:
    index, rest = divmod(value_ns, step_ns)
    return Lattice(index, step_ns, np.array([1 - rest / step_ns, rest / step_ns] if rest else [1.0]))


def _last_step(before: Lattice, final: _Flight, grid: _Grid, loss: float) -> tuple[float, float, float]:
    """P(the last message is in time), P(the one before is and it is not), P(in time, but it flew longer than epsilon).

    ``before`` is the law of S_(k-1) up to W.
    """
    law = final.law
    within = np.concatenate([[0.0], np.cumsum(law.p)])
    after = np.concatenate([np.cumsum(law.p[::-1])[::-1], [0.0]]) + final.beyond
    in_time = missed = skewed = 0.0
    for end, weight in grid.points(grid.window_ns):
        p = before.cut(end).p
        room = end - (np.arange(len(p)) + before.offset)  # how many steps are left for the last message
        p, room = (p, room) if before.offset <= end else (p[:0], room[:0])
        place = np.clip(room - law.offset + 1, 0, len(law.p))
        in_time += weight * (1 - loss) * dot(p, within[place])
        missed += weight * dot(p, loss + (1 - loss) * after[place])
        for epsilon, share in grid.points(grid.epsilon_ns) if grid.epsilon_ns is not None else ():
            short = np.minimum(place, max(0, epsilon - law.offset + 1))
            skewed += weight * share * (1 - loss) * dot(p, within[place] - within[short])
    return in_time, missed, skewed


# -- clocks --------------------------------------------------------------------------------------------------------


def clock_skew_ns(drift_ppb: int, every_ns: int, within_ns: int = 0) -> int:
    """How far two clocks may lie apart that drift by ``drift_ppb`` at most, either way, and are set every ``every_ns``
    to within ``within_ns`` of true time: 2 rho T, the drift offset, and twice the residual, which a swap's two ends
    begin apart by (H. Kopetz, W. Ochsenreiter, Clock Synchronization in Distributed Real-Time Systems, IEEE ToC 1987:
    precision = convergence + 2 rho R). The nanosecond that each clock may round down by comes on top.
    """
    return 2 * (-(-abs(drift_ppb) * every_ns // PPB) + within_ns) + 2


# -- plans ---------------------------------------------------------------------------------------------------------


def swap_forms(plan: Plan, pair: tuple[int, int], fixed_ns: int = 0, cells: int = CELLS) -> Outcomes:
    """The outcomes of every swap between two members of ``plan``. Raises NotClosedFormError."""
    return _swap_forms(plan, Paths(plan), Pair(*sorted(pair)), fixed_ns, cells)


def split_forms(
    plan: Plan, pair: tuple[int, int], fixed_ns: int = 0, cells: int = CELLS
) -> dict[tuple[int, int], float]:
    """For each link on the way between two members (by its two nodes' numbers, the lower first), the probability that
    their swap splits there, where cells carry it under ``abort``. Raises NotClosedFormError."""
    low, high = sorted(pair)
    paths, protocol = Paths(plan), plan.protocol
    _check_swap(plan, paths, Pair(low, high))
    if not plan.cells:
        raise NotClosedFormError("no cell carries swaps here: they have no link of their own to split on")
    if protocol.horizon != "abort":
        raise NotClosedFormError(f"nothing splits under {protocol.horizon}")
    hops = [hop for step in range(protocol.depth) for hop in paths.hops(*((high, low) if step % 2 else (low, high)))]
    ways = [tuple(direction.impairment.with_seed(0) for direction in paths.path(*hop)) for hop in hops]
    last = len(hops) // protocol.depth
    found = last_split(ways, last, protocol.window_ns, fixed_ns, cells)
    return {(min(hop), max(hop)): p for hop, p in zip(hops[-last:], found, strict=True)}


def round_broken_probability(plan: Plan, fixed_ns: int = 0, cells: int = CELLS) -> float:
    """P(a round breaks) = 1 - prod(1 - P(its swap breaks)), by split, blocking or skew. Raises NotClosedFormError."""
    paths = Paths(plan)
    known: dict[tuple[Way, Way], float] = {}
    log_holds = 0.0
    for pair in paths.pairs():
        ways = _ways(paths, pair)
        if ways not in known:
            # Rounding of the convolutions may leave an impossible outcome some 1e-14 off zero, on either side.
            known[ways] = max(0.0, _swap_forms(plan, paths, pair, fixed_ns, cells).broken)
        log_holds += math.log1p(-min(known[ways], 1 - 1e-300)) if known[ways] < 1 else -math.inf
    return 0.0 - math.expm1(log_holds)  # the minus sign alone would make zero -0.0


def _check_swap(plan: Plan, paths: Paths, pair: Pair) -> None:
    _check_plan(plan)
    for src, dst in (pair, pair[::-1]):
        for direction in paths.route(src, dst):
            _check_direction(direction.name, direction.impairment)


def _swap_forms(plan: Plan, paths: Paths, pair: Pair, fixed_ns: int, cells: int) -> Outcomes:
    _check_swap(plan, paths, pair)
    there, back = _ways(paths, pair)
    protocol = plan.protocol
    if protocol.handshake == "simultaneous":
        return simultaneous(there, back, protocol.window_ns, protocol.horizon, plan.epsilon_ns, fixed_ns, cells)
    return alternating(
        there, back, protocol.depth, protocol.window_ns, protocol.horizon, plan.epsilon_ns, fixed_ns, cells
    )


def _ways(paths: Paths, pair: Pair) -> tuple[Way, Way]:
    """There and back, seeds left out."""
    there, back = (
        tuple(direction.impairment.with_seed(0) for direction in paths.route(src, dst))
        for src, dst in ((pair.low, pair.high), (pair.high, pair.low))
    )
    return there, back


def _check_plan(plan: Plan) -> None:
    protocol = plan.protocol
    if not engine_spec(protocol.consensus).made_of_swaps:
        raise NotClosedFormError(f"{protocol.consensus} is not made of swaps")
    if plan.faults:
        raise NotClosedFormError("the plan has faults")
    if plan.clocks:
        raise NotClosedFormError("nodes have clocks of their own")
    if protocol.window_ns > protocol.period_ns:
        raise NotClosedFormError("the window is longer than the period: rounds overlap")


def _check_direction(name: str, impairment: Impairment) -> None:
    memory = _memory(impairment)
    if memory:
        raise NotClosedFormError(f"{name}: {memory}")
    if impairment.duplicate:
        raise NotClosedFormError(f"{name}: the first of two copies counts")


def rounds_depend(plan: Plan) -> str:
    """Why the rounds of one run of ``plan`` are not independent of each other, or empty when they are."""
    if plan.faults:
        return "the plan has faults"
    if plan.clocks:
        return "nodes have clocks of their own"
    for link in plan.fabric.links:
        for one, other, impairment in ((link.a, link.b, link.ab), (link.b, link.a, link.ba)):
            if memory := _memory(impairment):
                return f"{one.node}>{other.node}: {memory}"
    return ""


def _memory(impairment: Impairment) -> str:
    """How what becomes of a frame depends on those before it, or empty when it does not."""
    if impairment.jitter_ns and impairment.correlation:
        return "successive delays are correlated"
    if impairment.burst_loss is not None or impairment.loss_correlation:
        return "losses come in bursts"
    if impairment.rate_bps:
        return "frames queue for the rate"
    if impairment.jitter_ns and impairment.order == "fifo":
        return "FIFO order makes frames wait for those before them"
    return ""
