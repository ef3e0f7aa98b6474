"""Bisynchrony round by round: what became of each swap, and which swaps broke it.

A node is live in a round when one of its lives reaches from the round's start over its end: a killed node is excluded
from the moment of its death, a restarted one until its next round begins. A NIC fault does not make a node dead, and a
paused node is alive. Swaps with an end that is not live are excluded.

A swap is atomic when both ends end alike and hold what they say they hold: an end that ends both ways, or commits
another value of its peer's register than the peer or its other neighbours tell of it, makes the swap split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nodes.core import Resolve, RoundStart, SwapId
from testbed.history import History
from testbed.plan import Plan
from testbed.verdicts.paths import Pair, Paths
from testbed.verdicts.timeline import Timeline

COMMITTED, ABORTED, IN_DOUBT = "committed", "aborted", "in_doubt"
_BOTH_WAYS = "committed and aborted"


_End = tuple[int, int, int]  # round, node, peer
_Register = tuple[int, int]  # round, node


class Ending(NamedTuple):
    """How one end's swap ended. first, t_ns: its first resolution; final: the first that is not ``in_doubt``, ""
    while there is none, and _BOTH_WAYS when a later one contradicts it."""

    first: str
    t_ns: int
    final: str


class Broken(NamedTuple):
    """A swap that broke bisynchrony. kind as in model.Break; an end is None when it never resolved. why: what the
    endings themselves say against it, when no frame need be to blame."""

    swap: SwapId
    kind: str
    start_ns: int
    deadline_ns: int
    low: Ending | None
    high: Ending | None
    why: str = ""


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
    endings, registers = _endings(history)
    tolerance_ns = timer_tolerance_ns(history.meta)
    broken: list[Broken] = []
    judged = excluded_splits = 0
    for round_, start_ns, deadline_ns in _judged_rounds(plan, history, timeline, tolerance_ns):
        judged += 1
        live = {node for node in plan.members if timeline.alive_through(paths.hosts[node], start_ns, deadline_ns)}
        for pair in pairs:
            low, high = endings.get((round_, pair.low, pair.high)), endings.get((round_, pair.high, pair.low))
            if pair.low not in live or pair.high not in live:
                swaps["excluded"] += 1
                excluded_splits += _is_split(low, high)
                continue
            swap = SwapId(round_, *pair)
            why = _contradiction(swap, low, high, registers, paths)
            kind = "split" if why else _kind(low, high, deadline_ns, tolerance_ns, plan.epsilon_ns)
            swaps[kind if kind in swaps or low is None else low.final] += 1
            if kind:
                broken.append(Broken(swap, kind, start_ns, deadline_ns, low, high, why))
    rounds = tuple(dict.fromkeys(swap.swap.round for swap in broken))
    return Rounds(judged, rounds, swaps, tuple(broken), excluded_splits)


def _endings(history: History) -> tuple[dict[_End, Ending], dict[_Register, set[bytes]]]:
    """How each end ended, and every value that was told of a node's register in a round: by itself when it did not
    commit, else by the neighbour that committed it. A later life telling an ending again changes nothing."""
    endings: dict[_End, Ending] = {}
    registers: dict[_Register, set[bytes]] = {}
    table = history.events.table(Resolve)
    rounds, lows, highs = (table[f"swap_{name}"].tolist() for name in ("round", "low", "high"))
    outcomes, values = table["outcome"].tolist(), table["value"].tolist()
    rows = zip(table.t_ns.tolist(), table.node.tolist(), rounds, lows, highs, outcomes, values, strict=True)
    for t_ns, node, round_, low, high, outcome, value in rows:
        peer = high if node == low else low
        if value:
            whose = peer if outcome == COMMITTED else node
            registers.setdefault((round_, whose), set()).add(value)
        end = (round_, node, peer)
        known = endings.get(end)
        final = outcome if outcome != IN_DOUBT else ""
        if known is None:
            endings[end] = Ending(outcome, t_ns, final)
        elif final and known.final != final:
            endings[end] = known._replace(final=_BOTH_WAYS if known.final else final)
    return endings, registers


def timer_tolerance_ns(meta: dict[str, Any]) -> int:
    """How late a timer may be in this run's engine and still count as on time."""
    return int(meta.get("timer_tolerance_ns", 0))


def _judged_rounds(
    plan: Plan, history: History, timeline: Timeline, tolerance_ns: int
) -> Iterator[tuple[int, int, int]]:
    """(round, its start, its deadline) in order."""
    protocol = plan.protocol
    begun = np.union1d(history.events.table(RoundStart)["round"], history.events.table(Resolve)["swap_round"])
    for round_ in begun.tolist():
        start_ns = round_ * protocol.period_ns
        deadline_ns = start_ns + protocol.window_ns
        if deadline_ns + tolerance_ns <= timeline.end_ns:
            yield round_, start_ns, deadline_ns


def _kind(low: Ending | None, high: Ending | None, deadline_ns: int, tolerance_ns: int, epsilon_ns: int) -> str:
    """split > blocked > late > skew, or "" when the swap is atomic and in time."""
    if _is_split(low, high):
        return "split"
    if low is None or high is None or IN_DOUBT in (low.first, high.first):
        return "blocked"
    earlier_ns, later_ns = sorted((low.t_ns, high.t_ns))
    if later_ns > deadline_ns + tolerance_ns:
        return "late"
    # what lags within the tolerance happened at the window's end
    return "skew" if min(later_ns, deadline_ns) - min(earlier_ns, deadline_ns) > epsilon_ns else ""


def _is_split(low: Ending | None, high: Ending | None) -> bool:
    finals = {end.final for end in (low, high) if end is not None}
    return {COMMITTED, ABORTED} <= finals or _BOTH_WAYS in finals


def _contradiction(
    swap: SwapId, low: Ending | None, high: Ending | None, registers: dict[_Register, set[bytes]], paths: Paths
) -> str:
    """What no loss or delay can explain: an end that ended both ways, or that committed what was never offered."""
    for end, node, peer in ((low, swap.low, swap.high), (high, swap.high, swap.low)):
        if end is None:
            continue
        if end.final == _BOTH_WAYS:
            return f"{paths.hosts[node]} ended it both ways"
        told = registers.get((swap.round, peer), ())
        if end.final == COMMITTED and len(told) > 1:
            return f"{paths.hosts[node]} committed, but different values are told of {paths.hosts[peer]}'s register"
    return ""


def link_name(pair: Pair | SwapId, paths: Paths) -> str:
    """``host1<->host2``."""
    return f"{paths.hosts[pair.low]}<->{paths.hosts[pair.high]}"
