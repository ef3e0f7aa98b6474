"""Bisynchrony round by round: what became of each swap, and which swaps broke it (DESIGN.md section 2).

A node is live in a round when one of its lives reaches from the round's start over its end: a killed node is excluded
from the moment of its death, a restarted one until its next round begins. A NIC fault does not make a node dead, and a
paused node is alive. Swaps with an end that is not live are excluded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from nodes.core import SwapId
from testbed.history import History
from testbed.plan import Plan
from testbed.verdicts.paths import Pair, Paths
from testbed.verdicts.timeline import Timeline

COMMITTED, ABORTED, IN_DOUBT = "committed", "aborted", "in_doubt"


class Ending(NamedTuple):
    """How one end's swap ended. first, t_ns: its first resolution; final: the first that is not ``in_doubt`` or ""."""

    first: str
    t_ns: int
    final: str


class Broken(NamedTuple):
    """A swap that broke bisynchrony. kind as in model.Break; an end is None when it never resolved."""

    swap: SwapId
    kind: str
    start_ns: int
    deadline_ns: int
    low: Ending | None
    high: Ending | None


@dataclass(frozen=True, slots=True)
class Rounds:
    """The judgement before causes are sought. excluded_splits: excluded swaps whose ends differ all the same."""

    judged: int
    broken_rounds: tuple[int, ...]
    swaps: dict[str, int]
    broken: tuple[Broken, ...]
    excluded_splits: int


def judge_rounds(plan: Plan, history: History, paths: Paths, timeline: Timeline) -> Rounds:
    """Every round that some node started and that ended, timer tolerance included, before the run did.

    Linear in events and in rounds x pairs.
    """
    pairs = paths.pairs()
    swaps = {COMMITTED: 0, ABORTED: 0, "split": 0, "blocked": 0, "excluded": 0}
    if not pairs:
        return Rounds(0, (), swaps, (), 0)
    endings = first_endings(history, paths)
    tolerance_ns = timer_tolerance_ns(history.meta)
    broken: list[Broken] = []
    judged = excluded_splits = 0
    for round_, start_ns, deadline_ns in _judged_rounds(plan, history, timeline, tolerance_ns):
        judged += 1
        live = {
            node.node for node in plan.nodes if timeline.alive_through(paths.hosts[node.node], start_ns, deadline_ns)
        }
        for pair in pairs:
            low, high = endings.get((round_, pair.low, pair.high)), endings.get((round_, pair.high, pair.low))
            if pair.low not in live or pair.high not in live:
                swaps["excluded"] += 1
                excluded_splits += _is_split(low, high)
                continue
            kind = _kind(low, high, deadline_ns + tolerance_ns, plan.epsilon_ns)
            swaps[kind if kind in swaps or low is None else low.final] += 1
            if kind:
                broken.append(Broken(SwapId(round_, *pair), kind, start_ns, deadline_ns, low, high))
    rounds = tuple(dict.fromkeys(swap.swap.round for swap in broken))
    return Rounds(judged, rounds, swaps, tuple(broken), excluded_splits)


def first_endings(history: History, paths: Paths) -> dict[tuple[int, int, int], Ending]:
    """(round, node, peer) -> how that node's end ended. A later life telling an ending again changes nothing."""
    endings: dict[tuple[int, int, int], Ending] = {}
    number = paths.number
    for event in history.events:
        if event.kind != "resolve":
            continue
        end = (event.round, number[event.node], number[event.peer])
        known = endings.get(end)
        final = event.info if event.info != IN_DOUBT else ""
        if known is None:
            endings[end] = Ending(event.info, event.t_ns, final)
        elif final and not known.final:
            endings[end] = known._replace(final=final)
    return endings


def timer_tolerance_ns(meta: dict[str, Any]) -> int:
    """How late a timer may be in this run's engine and still count as on time."""
    return int(meta.get("timer_tolerance_ns", 0))


def _judged_rounds(
    plan: Plan, history: History, timeline: Timeline, tolerance_ns: int
) -> Iterator[tuple[int, int, int]]:
    """(round, its start, its deadline) in order."""
    node = plan.nodes[0]
    begun = {event.round for event in history.events if event.kind in ("round", "resolve")}
    for round_ in sorted(begun):
        start_ns = node.start_ns + round_ * node.protocol.period_ns
        deadline_ns = start_ns + node.protocol.window_ns
        if deadline_ns + tolerance_ns <= timeline.end_ns:
            yield round_, start_ns, deadline_ns


def _kind(low: Ending | None, high: Ending | None, latest_ns: int, epsilon_ns: int) -> str:
    """split > blocked > late > skew, or "" when the swap is atomic and in time."""
    if _is_split(low, high):
        return "split"
    if low is None or high is None or IN_DOUBT in (low.first, high.first):
        return "blocked"
    if max(low.t_ns, high.t_ns) > latest_ns:
        return "late"
    return "skew" if abs(low.t_ns - high.t_ns) > epsilon_ns else ""


def _is_split(low: Ending | None, high: Ending | None) -> bool:
    return low is not None and high is not None and {low.final, high.final} == {COMMITTED, ABORTED}


def link_name(pair: Pair | SwapId, paths: Paths) -> str:
    """``host1<->host2``."""
    return f"{paths.hosts[pair.low]}<->{paths.hosts[pair.high]}"
