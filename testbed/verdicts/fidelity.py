"""Whether the measurement can be trusted: three answers, and the least deviation that the run would have shown.

*Not trusted*: the record contradicts itself, the plan or the engine's own counts (testbed.verdicts.record), or a way
did to frames what was not asked of it (testbed.verdicts.deviations). *Not checked*: nothing of that, but something
could not be held against what was asked; it says what and why. *Trusted*: all was checked.

Chance is allowed for: a good run is accused at most once in 1 / ERROR runs, all of its tests together. The error is
divided evenly over all stretches of all ways; what directions that are alike have in common is tested once more, on all
their frames together, where a small deviation of all shows first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from testbed.history import History
from testbed.plan import Plan
from testbed.quantiles import quantile
from testbed.topologies.draw import describe
from testbed.verdicts.bands import evidence, mean_band
from testbed.verdicts.columns import Columns
from testbed.verdicts.delays import packet_ns
from testbed.verdicts.deviations import MISSED, Counts, Deviations, Shows, deviations, shows
from testbed.verdicts.facts import facts_of
from testbed.verdicts.flights import Flights, Stretch, Way
from testbed.verdicts.laws import delay_law, lost_or_hurt
from testbed.verdicts.model import DirectionFidelity, Fidelity, Power, answer
from testbed.verdicts.paths import Paths
from testbed.verdicts.record import Record
from testbed.verdicts.timeline import Timeline

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)
ERROR = 0.001
"""The share of good runs that may be accused."""

_TOGETHER = 0.1
"""How much of that goes to the tests of all directions together."""

_ALIKE = 12
"""So many sentences of one kind are told; the others are counted."""


def judge_fidelity(plan: Plan, history: History, paths: Paths, timeline: Timeline, accused: float = ERROR) -> Fidelity:
    """The verdict on the run as a measurement. Near linear in events and hops. accused: the share of good runs that may
    be."""
    columns = Columns(history, paths)
    flights = Flights(columns, paths, timeline)
    facts = facts_of(plan, history, paths, columns)
    record = Record(plan, history, paths, timeline, flights, facts)
    reasons = record.reasons()
    stretches = list(flights.stretches(facts.timer_ns))
    error = accused * (1 - _TOGETHER) / max(1, len(stretches))
    judged = []
    for found in stretches:
        hidden = flights.spoilt and found.way[0].tx.node not in paths.number
        judged.append(deviations(_name(found), found, facts, error, flights.captured, hidden))
    reasons += [reason for one in judged for reason in one.reasons]
    reasons += _together(judged, accused * _TOGETHER)
    unchecked = [what for one in judged for what in one.unchecked]
    if not len(columns.sends.frame):
        unchecked.append("delays and losses: no frame's sending is in the record")
    elif not any(found.entered for found in stretches) and not unchecked:
        unchecked.append("delays and losses: no frame was on its way without a fault or the run's end in between")
    shown = [shows(found, facts, error, flights.captured) for found in stretches]
    directions = [
        _direction(found, one, power)
        for found, one, power in zip(stretches, judged, shown, strict=True)
        if found.entered
    ]
    return Fidelity(
        answer=answer(reasons, unchecked),
        reasons=tuple(reasons),
        unchecked=_grouped(unchecked),
        fixed_cost_ns=max((direction.fixed_cost_ns for direction in directions if direction.n), default=0.0),
        timer_lag_max_ns=record.timer_lag_max_ns,
        limit_drops=record.limit_drops,
        left_waiting=record.left_waiting,
        overrun=record.overrun,
        power=_power(stretches, shown),
        directions=tuple(directions),
    )


def _together(judged: Sequence[Deviations], error: float) -> list[str]:
    """What directions have in common: all their delays a little off, or all that were asked the same losing a little
    more."""
    found = []
    for uniforms, sign, word in (
        ([one.slow for one in judged], 1, "long"),
        ([one.fast for one in judged], -1, "short"),
    ):
        n = sum(map(len, uniforms))
        if n:
            off = sign * (sum(float(part.sum()) for part in uniforms) / n - 0.5)
            if off > mean_band(n, error / 4):
                found.append(f"all directions together: {n} delays are too {word} on the whole")
    alike: dict[tuple[str, float], list[Counts]] = defaultdict(list)
    for one in judged:
        for counts in one.counts:
            alike[counts.what, counts.p].append(counts)
    for (what, p), counts_of in alike.items():
        hits, trials = sum(counts.hits for counts in counts_of), sum(counts.trials for counts in counts_of)
        if evidence(hits, trials, p) > np.log(2 * len(alike) / error):
            found.append(
                f"{len(counts_of)} directions together: {hits} of {trials} frames were {what}; {trials * p:.6g} were "
                f"to be expected"
            )
    return found


def _direction(found: Stretch, judged: Deviations, power: Shows) -> DirectionFidelity:
    law, delays = delay_law(found.impairments), np.sort(found.delays_ns).tolist()
    known = len(judged.slow) > 0
    took_ns = packet_ns(found.impairments[0], found.sizes)
    asked = tuple(float(law.quantile(p, took_ns)) for p in QUANTILES)
    return DirectionFidelity(
        direction=_name(found),
        n=len(delays),
        at=QUANTILES,
        asked_ns=asked,
        realised_ns=tuple(float(quantile(delays, p)) for p in QUANTILES) if len(delays) else (),
        fixed_cost_ns=float(quantile(delays, 0.5)) - asked[QUANTILES.index(0.5)] if known else 0.0,
        loss_asked=lost_or_hurt(found.impairments),
        loss_realised=(found.entered - found.arrived + found.corrupt) / found.entered,
        ok=not judged.reasons,
        remark="; ".join(what.partition(": ")[2] for what in judged.unchecked),
        shows_shift_ns=power.shift_ns if np.isfinite(power.shift_ns) else None,
        shows_late=power.late,
        shows_lost=power.lost,
    )


def _power(stretches: Sequence[Stretch], shown: Sequence[Shows]) -> Power | None:
    """See Power. What all frames have in common shows at the latest where it shows most."""
    compared = [place for place, found in enumerate(stretches) if found.entered]
    if not compared:
        return None
    place = max(compared, key=lambda place: (shown[place].late, shown[place].shift_ns, shown[place].lost))
    shift = shown[place].shift_ns
    everywhere = min(shown[place].shift_ns for place in compared)
    return Power(
        direction=_name(stretches[place]),
        frames=stretches[place].entered,
        shift_ns=shift if np.isfinite(shift) else None,
        late=shown[place].late,
        lost=shown[place].lost,
        everywhere_ns=everywhere if np.isfinite(everywhere) else None,
    )


def _name(found: Stretch) -> str:
    name = way_name(found.way)
    return f"{name} ({'; '.join(map(describe, found.impairments))})" if found.changed else name


def way_name(way: Way) -> str:
    """``host1>leaf1``, or ``host1>..>host3`` for several directions in a row."""
    return way[0].name if len(way) == 1 else f"{way[0].tx.node}>..>{way[-1].rx.node}"


def _grouped(unchecked: Iterable[str]) -> tuple[str, ...]:
    """``delays of a>b: why`` of many directions in one sentence."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for sentence in unchecked:
        what, _, why = sentence.partition(": ")
        kind, of, whose = what.partition(" of ")
        groups[kind + of, why].append(whose)
    sentences = []
    for (whats, reason), all_of in groups.items():
        more = f" and {len(all_of) - _ALIKE} more" if len(all_of) > _ALIKE else ""
        sentences.append(f"{whats}{', '.join(all_of[:_ALIKE])}{more}: {reason}")
    return tuple(sentences)


__all__ = ["ERROR", "MISSED", "QUANTILES", "judge_fidelity", "way_name"]
