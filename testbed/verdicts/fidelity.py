"""Whether the measurement can be trusted: what each link direction did to frames, against what was asked of it.

Delay of a direction: from a frame's entry (its send, or its arrival at the switch) to its arrival at the other end.
The fixed cost is the median excess over the asked median (in ``sim`` it is 0 by construction and not removed); after
it is taken off, the whole distribution function must lie within a DKW band around the asked one, moved sideways by no
more than the engine's stamp tolerance. Losses must lie within an exact binomial interval. Both bands together hold at
99.9 % over the whole run (their error is divided evenly over all directions), so a good run is called bad once in a
thousand runs. Frames that a fault touched (NICs cut off, nodes down or paused, impairments changed) are left out.

Directions whose delays are not independent draws (FIFO order, rate, correlation) are only checked not to be too fast.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodes.core.record import Dropped, Received, Refused, Sent, TimerFired
from nodes.frames import FrameKey
from testbed.history import History, Hop
from testbed.plan import Plan
from testbed.verdicts.bands import binomial_range, bursts_range, dkw_band
from testbed.verdicts.bisynchrony import timer_tolerance_ns
from testbed.verdicts.delays import Law, convolve, lattice_of, law_of
from testbed.verdicts.model import DirectionFidelity, Fidelity
from testbed.verdicts.paths import Direction, NoPathError, Paths
from testbed.verdicts.timeline import Timeline

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)
CONFIDENCE = 0.999
LATE_TIMERS_ALLOWED = 0.001  # the fraction of timers that may lag by more than the tolerance
STAMP_TOLERANCE_NS = 1_000  # how far stamps of a real kernel may be off; History.meta["stamp_tolerance_ns"] overrides
LEAST_SAMPLES = 10  # below this, nothing is said of a direction's delays
_LATTICE_CELLS = 1 << 14
_CHECKS = 3  # of a direction: delays, losses, duplicates

Way = tuple[Direction, ...]


@dataclass(slots=True)
class _Samples:
    """Of one way (one direction, or several in a row when nothing was captured between). lost: or unreadable from there
    on. doubled: of those entered, how many came out twice."""

    delays_ns: list[int] = field(default_factory=list)
    entered: int = 0
    lost: int = 0
    doubled: int = 0


def judge_fidelity(plan: Plan, history: History, paths: Paths, timeline: Timeline) -> Fidelity:
    """The verdict on the run as a measurement. Near linear in events and hops."""
    reasons = []
    if not history.complete:
        reasons.append(f"the run is not complete: {history.why or 'cut short'}")
    reasons += _late_starts(plan, timeline)
    lag_ns, lag_reasons = _timer_lag(history, timeline)
    limit_drops, drop_reasons = _drops(history)
    reasons += lag_reasons + drop_reasons + _failed_sends(history, paths, timeline)
    samples = _Gatherer(plan, history, paths, timeline).samples()
    confidence = 1 - (1 - CONFIDENCE) / (_CHECKS * max(1, len(samples)))
    directions = []
    for way, found in samples.items():
        if found.entered:
            verdict, why = _judge_way(way, found, history, confidence)
            directions.append(verdict)
            reasons += why
    costs = [direction.fixed_cost_ns for direction in directions if direction.n >= LEAST_SAMPLES]
    return Fidelity(
        trusted=not reasons,
        reasons=tuple(reasons),
        fixed_cost_ns=max(costs, default=0.0),
        timer_lag_max_ns=lag_ns,
        limit_drops=limit_drops,
        directions=tuple(directions),
    )


# -- one way -------------------------------------------------------------------------------------------------------


def _judge_way(way: Way, found: _Samples, history: History, confidence: float) -> tuple[DirectionFidelity, list[str]]:
    name = _name(way)
    delays = np.sort(np.array(found.delays_ns, dtype=np.int64))
    asked = _asked(way)
    bound_only = _bound_only(way)
    remarks = [bound_only]
    fixed_cost_ns, reasons = 0.0, []
    if len(delays) >= LEAST_SAMPLES:
        slack_ns = asked.grain_ns + _stamp_tolerance_ns(history)
        if history.engine != "sim" and not bound_only:
            fixed_cost_ns = float(np.median(delays)) - asked.quantile(0.5)
        reasons += _delay_reasons(name, delays, asked, fixed_cost_ns, slack_ns, confidence, bool(bound_only))
    else:
        remarks.append(f"fewer than {LEAST_SAMPLES} delays: not compared")
    unchecked = _loss_unchecked(way)
    if unchecked:
        remarks.append(f"{unchecked}: losses are not checked")
    else:
        reasons += _loss_reasons(name, way, found, confidence)
    verdict = DirectionFidelity(
        direction=name,
        n=len(delays),
        at=QUANTILES,
        asked_ns=tuple(float(asked.quantile(p)) for p in QUANTILES),
        realised_ns=tuple(_quantile(delays, p) for p in QUANTILES) if len(delays) else (),
        fixed_cost_ns=fixed_cost_ns,
        loss_asked=_asked_loss(way),
        loss_realised=found.lost / found.entered,
        ok=not reasons,
        remark="; ".join(filter(None, remarks)),
    )
    return verdict, reasons


def _loss_reasons(name: str, way: Way, found: _Samples, confidence: float) -> list[str]:
    """One sentence each when frames were lost, or came out twice, more or less often than asked."""
    reasons = []
    loss, burst = _asked_loss(way), way[0].impairment.burst_loss
    if burst is None:
        least, greatest = binomial_range(found.entered, loss, confidence)
    else:
        least, greatest = bursts_range(found.entered, loss, burst.p, burst.r, confidence)
    if not least <= found.lost <= greatest:
        reasons.append(
            f"{name} lost {found.lost} of {found.entered} frames; at a loss of {loss:.4g} it should be "
            f"{least} to {greatest}"
        )
    twice = _asked_twice(way)
    if twice is not None:
        least, greatest = binomial_range(found.entered, twice, confidence)
        if not least <= found.doubled <= greatest:
            reasons.append(
                f"{name} doubled {found.doubled} of {found.entered} frames; it should be {least} to {greatest}"
            )
    return reasons


def _delay_reasons(
    name: str,
    delays: NDArray[np.int64],
    asked: _Asked,
    fixed_cost_ns: float,
    slack_ns: int,
    confidence: float,
    bound_only: bool,
) -> list[str]:
    """One sentence per way in which the delays are not what was asked."""
    reasons = []
    if delays[0] < asked.least_ns - slack_ns:
        reasons.append(f"{name}: a frame took {delays[0]} ns, though {asked.least_ns} ns is the least that was asked")
    band = dkw_band(len(delays), confidence)
    shifted = delays - round(fixed_cost_ns)
    points, counts = np.unique(shifted, return_counts=True)
    after = np.cumsum(counts) / len(delays)
    too_fast = float(np.max(after - asked.cdf(points + slack_ns)))
    too_slow = float(np.max(asked.cdf(points - slack_ns - 1) - (after - counts / len(delays))))
    if too_fast > band:
        reasons.append(f"{name}: delays are too short: {too_fast:.4f} off the asked distribution, {band:.4f} allowed")
    if too_slow > band and not bound_only:
        reasons.append(f"{name}: delays are too long: {too_slow:.4f} off the asked distribution, {band:.4f} allowed")
    return reasons


class _Asked:
    """The law of a way's delay: exact for one direction, on a lattice of ``grain_ns`` per direction for several."""

    def __init__(self, way: Way) -> None:
        laws = [law_of(direction.impairment) for direction in way]
        self.least_ns = sum(law.least_ns for law in laws)
        self.law: Law | None = laws[0] if len(laws) == 1 else None
        self.grain_ns = 0
        if self.law is None:
            spread = sum(law.greatest_ns - law.least_ns for law in laws)
            step_ns = max(1, spread // _LATTICE_CELLS)
            total = convolve([lattice_of(direction.impairment, step_ns) for direction in way])
            self.grain_ns = len(laws) * step_ns if step_ns > 1 else 0
            self._values = (np.arange(len(total.p)) + total.offset) * step_ns
            self._cumulated = np.minimum(np.cumsum(total.p), 1.0)

    def cdf(self, x_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """P(delay <= x)."""
        if self.law is not None:
            return self.law.cdf(x_ns)
        place = np.searchsorted(self._values, x_ns, side="right")
        return np.where(place > 0, self._cumulated[np.maximum(place, 1) - 1], 0.0)

    def quantile(self, p: float) -> int:
        """The least x with P(delay <= x) >= p."""
        if self.law is not None:
            return self.law.quantile(p)
        place = int(np.searchsorted(self._cumulated, p - 1e-12))
        return int(self._values[min(place, len(self._values) - 1)])


_asked_laws: dict[tuple[object, ...], _Asked] = {}


def _asked(way: Way) -> _Asked:
    """Computed once per kind of way: many directions of a fabric are alike."""
    kind = tuple(direction.impairment.with_seed(0) for direction in way)
    if kind not in _asked_laws:
        if len(_asked_laws) > 256:
            _asked_laws.clear()
        _asked_laws[kind] = _Asked(way)
    return _asked_laws[kind]


def _quantile(ordered: NDArray[np.int64], p: float) -> float:
    """The least sample with at least the share p of all at or below it."""
    return float(ordered[min(len(ordered) - 1, max(0, int(np.ceil(p * len(ordered))) - 1))])


def _name(way: Way) -> str:
    return way[0].name if len(way) == 1 else f"{way[0].tx.node}>..>{way[-1].rx.node}"


def _bound_only(way: Way) -> str:
    """Why only the lower bound of the delays is checked, or empty."""
    found = []
    for direction in way:
        impairment = direction.impairment
        if impairment.rate_bps:
            found.append("rate")
        if impairment.order == "fifo" and impairment.jitter_ns:
            found.append("FIFO order")
        if impairment.correlation:
            found.append("correlation")
    return f"{' and '.join(dict.fromkeys(found))}: only checked that delays are not too short" if found else ""


def _asked_loss(way: Way) -> float:
    """Frames lost, or unreadable from here on; a duplicated frame that is lost leaves its copy (netem_enqueue)."""
    passed = 1.0
    for direction in way:
        impairment = direction.impairment
        loss, burst = impairment.loss, impairment.burst_loss
        if burst is not None:
            bad = burst.p / (burst.p + burst.r) if burst.p + burst.r else 0.0
            loss = bad * burst.loss_bad + (1 - bad) * burst.loss_good
        passed *= (1 - loss * (1 - impairment.duplicate)) * (1 - impairment.corrupt)
    return 1 - passed


def _asked_twice(way: Way) -> float | None:
    """How many frames come out twice, of those that came in alone; None where that is not one plain probability."""
    if len(way) > 1 or way[0].impairment.burst_loss or way[0].impairment.corrupt:
        return None
    impairment = way[0].impairment
    return impairment.duplicate * (1 - impairment.loss) ** 2


def _loss_unchecked(way: Way) -> str:
    """Why nothing is said of this way's losses, or empty."""
    impairments = [direction.impairment for direction in way]
    if any(impairment.loss_correlation for impairment in impairments):
        return "correlated loss"
    if any(impairment.burst_loss for impairment in impairments):
        burst = impairments[0].burst_loss
        if len(way) > 1 or impairments[0].duplicate or not burst or not burst.r:
            return "loss in bursts, of several directions, with duplicates or without end"
    if any(impairment.duplicate for impairment in impairments) and (len(way) > 1 or impairments[0].corrupt):
        return "duplicates with corruption or over several directions"
    return ""


def _stamp_tolerance_ns(history: History) -> int:
    return int(history.meta.get("stamp_tolerance_ns", 0 if history.engine == "sim" else STAMP_TOLERANCE_NS))


# -- the run as a whole --------------------------------------------------------------------------------------------


def _late_starts(plan: Plan, timeline: Timeline) -> list[str]:
    """A node that was not up when round 0 began took no part in it, through no fault of the protocol's."""
    reasons = []
    for name in plan.names:
        lives = timeline.lives.get(name)
        if not lives:
            reasons.append(f"{name} never came up")
        elif lives[0].since_ns > 0:
            reasons.append(f"{name} came up {lives[0].since_ns} ns after round 0 began")
    return reasons


def _timer_lag(history: History, timeline: Timeline) -> tuple[int, list[str]]:
    """The greatest lag of a timer of a node that was up and not paused when it was due, and whether too many lagged.

    A node that restarts with its state kept finds timers that ran out while it was down.
    """
    tolerance_ns = timer_tolerance_ns(history.meta)
    table = history.events.table(TimerFired)
    lags_ns = table.t_ns - table["due_ns"]
    timers, late, worst_ns = len(table), 0, 0
    for row in np.flatnonzero(lags_ns > 0).tolist():  # the others are on time, whatever befell their nodes
        lag_ns, t_ns = int(lags_ns[row]), int(table.t_ns[row])
        due_ns, node = t_ns - lag_ns, history.names[table.node[row]]
        if lag_ns <= worst_ns and lag_ns <= tolerance_ns:
            continue
        if timeline.paused(node, due_ns, t_ns) or not timeline.alive_through(node, due_ns, t_ns):
            continue
        worst_ns = max(worst_ns, lag_ns)
        late += lag_ns > tolerance_ns
    if late <= LATE_TIMERS_ALLOWED * timers:
        return worst_ns, []
    return worst_ns, [
        f"{late} of {timers} timers were late by more than {tolerance_ns} ns (up to {worst_ns} ns); "
        f"{LATE_TIMERS_ALLOWED:.1%} may be"
    ]


def _drops(history: History) -> tuple[int, list[str]]:
    """Frames that full queues and the capture itself dropped."""
    counted = _total(history.meta.get("limit_drops", 0))
    seen = int(np.count_nonzero(history.hops.where("limit")))
    limit_drops = max(counted, seen)
    reasons = [f"full queues (netem's limit) dropped {limit_drops} frames"] if limit_drops else []
    captured = _total(history.meta.get("capture_drops", 0))
    if captured:
        reasons.append(f"the capture missed {captured} frames")
    return limit_drops, reasons


def _total(count: Any) -> int:
    return sum(int(value) for value in count.values()) if isinstance(count, dict) else int(count)


def _failed_sends(history: History, paths: Paths, timeline: Timeline) -> list[str]:
    """Sends that the operating system refused although no fault held the NIC."""
    failed = 0
    for event in history.events.of_kind(Refused):
        nics = {direction.tx.nic for (node, _), direction in paths.by_nic.items() if node == event.node}
        failed += not any(timeline.cut_off(event.node, nic, event.t_ns, event.t_ns) for nic in nics)
    return [f"{failed} sends failed although no fault was in force"] if failed else []


# -- gathering -----------------------------------------------------------------------------------------------------


class _Gatherer:
    """Follows every frame along its way and files what each direction did to it."""

    def __init__(self, plan: Plan, history: History, paths: Paths, timeline: Timeline) -> None:
        self.history, self.paths, self.timeline = history, paths, timeline
        self.captured = bool(history.hops)
        self.found: dict[Way, _Samples] = {}
        self.hops: dict[FrameKey, list[Hop]] = defaultdict(list)
        self.arrivals: dict[FrameKey, tuple[int, bool]] = {}  # when it reached the host, and whether it was readable
        self.received: Counter[FrameKey] = Counter()  # how many copies of it did
        self._filed: dict[tuple[int, int], list[tuple[Way, _Samples, int]]] = {}
        self._disturbed = bool(plan.faults) or any(len(lives) > 1 for lives in timeline.lives.values())

    def samples(self) -> dict[Way, _Samples]:
        """By way, in the order in which they were first used."""
        sends: list[tuple[int, Sent]] = []
        for event in self.history.events.of_kind(Sent, Received, Dropped, Refused):
            what = event.what
            if isinstance(what, Sent):
                sends.append((event.t_ns, what))
            elif isinstance(what, Refused):
                self.arrivals[what.key] = (-1, False)  # it never left
            elif isinstance(what, Received | Dropped) and what.key is not None:
                self.received[what.key] += 1
                if what.key not in self.arrivals:
                    self.arrivals[what.key] = (what.at_ns, isinstance(what, Received))
        for hop in self.history.hops:
            self.hops[hop.key].append(hop)
        for t_ns, sent in sends:
            self._follow(t_ns, sent)
        return self.found

    def _ways(self, src: int, dst: int) -> list[tuple[Way, _Samples, int]]:
        """What the path is divided into, with the samples and the longest delay of each part."""
        parts = self._filed.get((src, dst))
        if parts is None:
            try:
                path = self.paths.path(src, dst)
            except NoPathError:
                path = ()
            ways = [(direction,) for direction in path] if self.captured else ([path] if path else [])
            parts = self._filed[src, dst] = [
                (
                    way,
                    self.found.setdefault(way, _Samples()),
                    sum(law_of(direction.impairment).greatest_ns for direction in way),
                )
                for way in ways
            ]
        return parts

    def _follow(self, sent_ns: int, sent: Sent) -> None:
        """One frame, from part to part, until it arrives, is lost, or what became of it can't be said."""
        key = sent.key
        parts = self._ways(key.src, sent.dst)
        arrival_ns, readable = self.arrivals.get(key, (None, True))
        if not parts or arrival_ns == -1:
            return
        arrivals: dict[tuple[str, str], list[Hop]] = defaultdict(list)
        dropped: dict[tuple[str, str], str] = {}
        for hop in self.hops.get(key, ()):
            if hop.what == "in":
                arrivals[hop.node, hop.nic].append(hop)
            elif hop.what not in ("out", "dup"):
                dropped[hop.node, hop.nic] = hop.what
        entered_ns = sent_ns
        for place, (way, samples, longest_ns) in enumerate(parts):
            tx, rx = way[0].tx, way[-1].rx
            last = place == len(parts) - 1
            seen = arrivals.get((rx.node, rx.nic), [])
            left_ns = seen[0].t_ns if seen else arrival_ns if last else None
            unreadable = any(hop.corrupt for hop in seen) or (last and not readable)
            counts = entered_ns + longest_ns < self.timeline.end_ns and not (
                self._disturbed and self._touched(way, entered_ns, entered_ns + longest_ns)
            )
            if left_ns is None or unreadable:
                vanished = left_ns is None and not self._seen_later(parts[place + 1 :], arrivals, arrival_ns)
                lost = vanished and dropped.get((tx.node, tx.nic), "lost") == "lost"
                if counts and (unreadable or lost):
                    samples.entered += 1
                    samples.lost += 1
                return
            copies = max(len(seen), self.received[key] if last else 0)
            if counts:
                samples.entered += 1
                samples.doubled += copies > 1
                if copies == 1:
                    samples.delays_ns.append(left_ns - entered_ns)
            if copies > 1:
                return
            entered_ns = left_ns

    @staticmethod
    def _seen_later(
        rest: list[tuple[Way, _Samples, int]], arrivals: dict[tuple[str, str], list[Hop]], arrival_ns: int | None
    ) -> bool:
        """Whether the frame turned up further on: then it was the capture that missed it here."""
        if not rest:
            return False
        return arrival_ns is not None or any((way[-1].rx.node, way[-1].rx.nic) in arrivals for way, _, _ in rest)

    def _touched(self, way: Way, since_ns: int, until_ns: int) -> bool:
        """Whether a fault may have had to do with what became of a frame in this part."""
        timeline = self.timeline
        for direction in way:
            if timeline.changed(direction.link, direction.way, since_ns, until_ns):
                return True
            for end in (direction.tx, direction.rx):
                if timeline.cut_off(end.node, end.nic, since_ns, until_ns):
                    return True
        receiver = way[-1].rx.node
        if receiver not in self.paths.number:
            return False
        return bool(timeline.paused(receiver, since_ns, until_ns)) or not timeline.alive_through(
            receiver, since_ns, until_ns
        )
